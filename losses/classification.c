#include "losses/classification.h"

dt_tensor *dt_cross_entropy(dt_tensor *logits, dt_tensor *labels, float smoothing)
{
    if (logits->shape.rank != 2)
        return dt_graph_fail(dt_graph_of(logits), "cross_entropy", "expected logits [n, classes], got %s",
                             dt_shape_text(&logits->shape).chars);
    int64_t n = logits->shape.dim[0], classes = logits->shape.dim[1];
    dt_tensor *log_p = dt_log_softmax(logits);
    dt_tensor *of_label = dt_gather(dt_reshape(log_p, dt_dims(n, classes, 1)), labels);
    dt_tensor *loss = dt_scale(dt_mean(of_label, DT_ALL, false), smoothing - 1);
    return smoothing > 0 ? dt_sub(loss, dt_scale(dt_mean(log_p, DT_ALL, false), smoothing)) : loss;
}
