#include "encoders/quantizer.h"

#include "encoders/transformer.h"
#include "kernels/op.h"

/* Of counts: what is added to them, and where they start, such that a code that the first batch does not take is unused. */
#define SMOOTHING 1e-5f
#define START     1e-3f

/* The codebook as its moving averages say it: how often each code is taken [codes, 1], and the sum of what takes it. */
typedef struct averages {
    dt_tensor *counts, *sums;
} averages;

static averages averages_of(dt_scope scope, int64_t codes, int64_t width)
{
    return (averages){.counts = dt_buffer(scope, "counts", dt_dims(codes, 1), dt_filled(START)),
                      .sums = dt_buffer(scope, "sums", dt_dims(codes, width), dt_within(START / (float)codes))};
}

/* sums / ((counts + s) / (total + codes s) total) */
static dt_tensor *codebook(averages a)
{
    float codes = (float)a.counts->shape.dim[0];
    dt_tensor *total = dt_sum(a.counts, DT_ALL, false);
    dt_tensor *share = dt_div(dt_affine(a.counts, 1, SMOOTHING), dt_affine(total, 1, codes * SMOOTHING));
    return dt_div(a.sums, dt_mul(share, total));
}

/* The largest x . e - |e|^2 / 2 is the smallest |x - e|^2. */
static dt_tensor *nearest(dt_tensor *x, dt_tensor *table)
{
    dt_tensor *length = dt_sum(dt_square(table), 1u << 1, false);
    return dt_argmax(dt_linear(x, table, dt_scale(length, -0.5f)));
}

/* Sums rows [m, width] by their codes [m]: [count, width]. That is how a lookup's gradient reaches its table. */
static dt_tensor *by_code(dt_tensor *rows, dt_tensor *codes, int64_t count)
{
    dt_tensor *table = dt_fill(dt_graph_of(rows), dt_dims(count, dt_width(rows)), 0), *sums;
    dt_tensor *found = dt_embedding(table, codes);
    dt_gradient_from(&found, &rows, 1, &table, 1, &sums);
    return sums;
}

/* Rows [m, width] -> [count, width]: the first ones, or all of them again and again. */
static dt_tensor *as_many(dt_tensor *rows, int64_t count)
{
    int64_t m = rows->shape.dim[0], width = dt_width(rows), times = (count + m - 1) / m;
    dt_tensor *repeated = dt_reshape(dt_broadcast_to(rows, dt_dims(times, m, width)), dt_dims(times * m, width));
    return dt_slice(repeated, 0, 0, count);
}

static dt_tensor *mix(dt_tensor *average, dt_tensor *now, float decay)
{
    return dt_add(dt_scale(average, decay), dt_scale(now, 1 - decay));
}

/* Moves the averages, then puts unused codes where a row is, with the weight of having been taken by it alone. */
static void follow(averages a, dt_tensor *counts, dt_tensor *sums, dt_tensor *rows, float decay)
{
    dt_tensor *least = dt_fill(dt_graph_of(rows), (dt_shape){0}, 1 - decay);
    dt_tensor *count = mix(a.counts, counts, decay), *sum = mix(a.sums, sums, decay);
    dt_tensor *fresh = dt_mul(as_many(rows, counts->shape.dim[0]), least);
    dt_update(a.counts, dt_maximum(count, least));
    dt_update(a.sums, dt_add(sum, dt_mul(dt_greater(least, count), dt_sub(fresh, sum))));
}

/* e^entropy of counts [codes, 1]; a code that is not taken has no part in it: 0 log(0 + tiny) = 0. */
static dt_tensor *perplexity(dt_tensor *counts, int64_t rows)
{
    dt_tensor *p = dt_scale(counts, 1 / (float)rows);
    return dt_exp(dt_neg(dt_sum(dt_mul(p, dt_log(dt_affine(p, 1, 1e-30f))), DT_ALL, false)));
}

dt_quantized dt_quantize(dt_scope scope, dt_tensor *x, int codes, float decay, bool training)
{
    dt_shape grid = x->shape;
    if (!dt_graph_error(scope.graph) && (codes < 1 || grid.rank < 1 || x->dtype != DT_F32))
        dt_graph_fail(scope.graph, "quantize", "expected float32 [..., width] and 1 or more codes, got %s %s and %d codes",
                      dt_dtype_name(x->dtype), dt_shape_text(&grid).chars, codes);
    if (dt_graph_error(scope.graph))
        return (dt_quantized){x, x, x, x};
    int64_t width = dt_width(x), m = dt_count(&grid) / width;
    dt_tensor *rows = dt_stop_gradient(dt_reshape(x, dt_dims(m, width)));
    averages a = averages_of(scope, codes, width);
    dt_tensor *table = codebook(a), *taken = nearest(rows, table);
    dt_tensor *counts = by_code(dt_fill(scope.graph, dt_dims(m, 1), 1), taken, codes);
    if (training)
        follow(a, counts, by_code(rows, taken, codes), rows, decay);
    dt_tensor *code = dt_stop_gradient(dt_reshape(dt_embedding(table, taken), grid));
    dt_tensor *zero = dt_sub(x, dt_stop_gradient(x)); /* its gradient goes to x, and it leaves a code as it is to the bit */
    grid.rank--;
    return (dt_quantized){.z = dt_add(code, zero),
                          .codes = dt_reshape(taken, grid),
                          .commitment = dt_mean(dt_square(dt_sub(x, code)), DT_ALL, false),
                          .perplexity = perplexity(counts, m)};
}

dt_tensor *dt_codes_lookup(dt_scope scope, dt_tensor *codes, int count, int width)
{
    return dt_embedding(codebook(averages_of(scope, count, width)), codes);
}
