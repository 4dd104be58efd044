#include "encoders/classifier.h"

dt_tensor *dt_classifier(dt_scope scope, const dt_clip_config *c, const dt_head_config *head, dt_tensor *samples,
                         bool training)
{
    bool text = head->tower == DT_TOWER_TEXT;
    dt_tensor *x = text ? dt_clip_text_features(scope, c, samples) : dt_clip_image_features(scope, c, samples, training);
    if (head->on_embedding) {
        x = text ? dt_clip_project_text(scope, c, x) : dt_clip_project_image(scope, c, x);
        x = dt_l2_normalize(x, 1e-24f);
    }
    dt_scope linear = dt_in(scope, "head");
    int64_t width = x->shape.dim[x->shape.rank - 1];
    dt_tensor *weight = dt_param(linear, "weight", dt_dims(head->classes, width), dt_zeros);
    return dt_linear(x, weight, dt_param(linear, "bias", dt_dims(head->classes), dt_zeros));
}
