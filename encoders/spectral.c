#include "encoders/spectral.h"

/* x [m, n] or its transpose, times a vector that is a row [1, .]; again a row. */
static dt_tensor *times(dt_tensor *matrix, bool transpose, dt_tensor *vector)
{
    return dt_matmul(vector, matrix, false, !transpose);
}

/* Against the square root's zero and torch's 1e-12 for the length. */
static dt_tensor *unit(dt_tensor *vector)
{
    return dt_l2_normalize(vector, 1e-24f);
}

dt_tensor *dt_spectral_normalize(dt_scope scope, dt_tensor *weight, bool training)
{
    int64_t out = weight->shape.dim[0];
    dt_tensor *stored = dt_buffer(scope, "u", dt_dims(out), dt_gaussian(1));
    dt_tensor *matrix = dt_reshape(weight, dt_dims(out, -1)), *constant = dt_stop_gradient(matrix);
    dt_tensor *u = dt_reshape(stored, dt_dims(1, out)), *v = unit(times(constant, true, u));
    u = unit(training ? times(constant, false, v) : u);
    u = dt_stop_gradient(u);
    if (training)
        dt_update(stored, dt_reshape(u, stored->shape));
    dt_tensor *sigma = dt_sum(dt_mul(u, times(matrix, false, dt_stop_gradient(v))), DT_ALL, false);
    return dt_div(weight, sigma);
}
