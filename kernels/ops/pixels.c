#include "kernels/ops/pixels.h"

#include <math.h>

const dt_op dt_op_normalize_pixels = {.name = "normalize_pixels"};

dt_tensor *dt_normalize_pixels(dt_tensor *x, const float *mean, const float *std)
{
    const char *op = dt_op_normalize_pixels.name;
    dt_graph *g = dt_graph_of(x);
    if (dt_graph_error(g))
        return x;
    int64_t channels = x->shape.rank == 4 ? x->shape.dim[3] : 0;
    if (x->dtype != DT_U8 || channels < 1 || channels > DT_PIXEL_CHANNELS)
        return dt_graph_fail(g, op, "expected uint8 [n, h, w, c] with c of 1 to %d, got %s %s", DT_PIXEL_CHANNELS,
                             dt_dtype_name(x->dtype), dt_shape_text(&x->shape).chars);
    dt_pixel_form form = {0};
    for (int64_t c = 0; c < channels; c++) {
        if (!isfinite(mean[c]) || !isfinite(std[c]) || std[c] <= 0)
            return dt_graph_fail(g, op, "mean %g and std %g of channel %d, expected finite numbers and std > 0",
                                 (double)mean[c], (double)std[c], (int)c);
        form.scale[c] = (float)(1 / (255.0 * std[c])); /* as data/transform.c */
        form.bias[c] = (float)(-(double)mean[c] / std[c]);
    }
    return dt_record1(g, &dt_op_normalize_pixels, &form, sizeof form, x->shape, x, NULL, NULL, NULL);
}
