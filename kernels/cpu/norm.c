/* Normalisations over rows of channels. Layer norm works within a row. Group and batch norm share one scheme,
 * because batch norm is group norm of a single sample with a group for each channel: fixed blocks of rows
 * give the moments of every channel (mean and centred squares, taken while the block is in the cache), which
 * are joined in float64 in a fixed order (Chan, Golub & LeVeque, 1983), so that x is read from memory once
 * for the statistics and once for y. */
#include "kernels/ops/norm.h"

#include <math.h>
#include <string.h>

#include "kernels/backend.h"

extern const dt_kernel dt_cpu_norm[];

enum { LANES = 16, PARALLEL = 1 << 14 /* elements from which threads pay */ };

static int64_t at_most(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t at_least(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* ---- Layer norm ---- */

static int64_t width_of(const dt_node *node)
{
    const dt_shape *x = &node->input[0]->shape;
    return x->dim[x->rank - 1];
}

static int64_t rows_of(const dt_node *node)
{
    const dt_shape *x = &node->input[0]->shape;
    return dt_span(x, 0, x->rank - 1);
}

static float sum_lanes(float lane[static 4 * LANES])
{
    for (int half = 2 * LANES; half; half /= 2)
        for (int k = 0; k < half; k++)
            lane[k] += lane[k + half];
    return lane[0];
}

/* Sum of n floats in sixty-four running sums. */
static float sum_of(const float *x, int64_t n)
{
    float lane[4 * LANES] = {0};
    int64_t whole = n / (4 * LANES) * (4 * LANES);
    for (int64_t j = 0; j < whole; j += 4 * LANES)
        for (int k = 0; k < 4 * LANES; k++)
            lane[k] += x[j + k];
    for (int64_t j = whole; j < n; j++)
        lane[j - whole] += x[j];
    return sum_lanes(lane);
}

static float centred_squares_of(const float *x, int64_t n, float mean)
{
    float lane[4 * LANES] = {0};
    int64_t whole = n / (4 * LANES) * (4 * LANES);
    for (int64_t j = 0; j < whole; j += 4 * LANES)
        for (int k = 0; k < 4 * LANES; k++)
            lane[k] += (x[j + k] - mean) * (x[j + k] - mean);
    for (int64_t j = whole; j < n; j++)
        lane[j - whole] += (x[j] - mean) * (x[j] - mean);
    return sum_lanes(lane);
}

static void run_layer_norm(const dt_call *call)
{
    const float *x = call->in[0], *gamma = call->in[1], *beta = call->in[2];
    float *y = call->out[0], *means = call->out[1], *rstds = call->out[2];
    const dt_norm_form *form = call->node->attributes;
    int64_t rows = rows_of(call->node), w = width_of(call->node);
    float share = 1 / (float)w;
#pragma omp parallel for schedule(static) if (rows * w > PARALLEL)
    for (int64_t r = 0; r < rows; r++) {
        const float *from = x + r * w;
        float *restrict to = y + r * w;
        float mean = sum_of(from, w) * share;
        float rstd = 1 / sqrtf(centred_squares_of(from, w, mean) * share + form->eps);
        means[r] = mean;
        rstds[r] = rstd;
#pragma omp simd
        for (int64_t j = 0; j < w; j++)
            to[j] = (from[j] - mean) * rstd * gamma[j] + beta[j];
    }
}

/* Rows in a block whose sums for dgamma and dbeta are taken in float32: so many that the partial sums stay
 * few. */
static int64_t block_rows(int64_t rows)
{
    return at_least(16, (rows + 127) / 128);
}

/* One row: dx, and its share of dgamma and dbeta. With xn = (x - mean) rstd and g = gamma dy:
 * dx = rstd (g - mean(g) - xn mean(g xn)), plus `more` where there is more, which may be dx itself. */
static void layer_norm_grad_row(int64_t w, const float *x, const float *gamma, float mean, float rstd,
                                const float *dy, const float *more, float *dx, float *restrict dgamma,
                                float *restrict dbeta)
{
    float plain[4 * LANES] = {0}, crossed[4 * LANES] = {0};
    int64_t whole = w / (4 * LANES) * (4 * LANES);
    for (int64_t j = 0; j < whole; j += 4 * LANES)
        for (int k = 0; k < 4 * LANES; k++) {
            float u = dy[j + k], xn = (x[j + k] - mean) * rstd, g = u * gamma[j + k];
            plain[k] += g;
            crossed[k] += g * xn;
            dgamma[j + k] += u * xn;
            dbeta[j + k] += u;
        }
    for (int64_t j = whole; j < w; j++) {
        float u = dy[j], xn = (x[j] - mean) * rstd, g = u * gamma[j];
        plain[j - whole] += g;
        crossed[j - whole] += g * xn;
        dgamma[j] += u * xn;
        dbeta[j] += u;
    }
    float a = sum_lanes(plain) / (float)w * rstd, b = sum_lanes(crossed) / (float)w * rstd * rstd;
    if (more) {
#pragma omp simd
        for (int64_t j = 0; j < w; j++)
            dx[j] = more[j] + (dy[j] * gamma[j] * rstd - a - (x[j] - mean) * b);
    } else {
#pragma omp simd
        for (int64_t j = 0; j < w; j++)
            dx[j] = dy[j] * gamma[j] * rstd - a - (x[j] - mean) * b;
    }
}

/* out[j] = sum over blocks of part[block stride + j], in float64. */
static void add_blocks(const float *part, int64_t blocks, int64_t stride, int64_t n, float *out)
{
    for (int64_t from = 0; from < n; from += 64) {
        double sum[64] = {0};
        int64_t m = at_most(64, n - from);
        for (int64_t b = 0; b < blocks; b++)
            for (int64_t j = 0; j < m; j++)
                sum[j] += part[b * stride + from + j];
        for (int64_t j = 0; j < m; j++)
            out[from + j] = (float)sum[j];
    }
}

static void run_layer_norm_grad(const dt_call *call)
{
    const float *x = call->in[0], *gamma = call->in[1], *mean = call->in[2], *rstd = call->in[3],
                *dy = call->in[4], *more = call->node->inputs > 5 ? call->in[5] : NULL;
    float *dx = call->out[0], *part = call->workspace;
    int64_t rows = rows_of(call->node), w = width_of(call->node), each = block_rows(rows);
    int64_t blocks = (rows + each - 1) / each;
#pragma omp parallel for schedule(static) if (rows * w > PARALLEL)
    for (int64_t b = 0; b < blocks; b++) {
        float *dgamma = part + 2 * b * w, *dbeta = dgamma + w;
        memset(dgamma, 0, sizeof *dgamma * 2 * (size_t)w);
        for (int64_t r = b * each, end = at_most(rows, r + each); r < end; r++)
            layer_norm_grad_row(w, x + r * w, gamma, mean[r], rstd[r], dy + r * w, more ? more + r * w : NULL, dx + r * w,
                                dgamma, dbeta);
    }
    add_blocks(part, blocks, 2 * w, w, call->out[1]);
    add_blocks(part + w, blocks, 2 * w, w, call->out[2]);
}

static bool prepare_layer_norm_grad(dt_preparation *preparation)
{
    int64_t rows = rows_of(preparation->node), each = block_rows(rows);
    preparation->workspace =
        sizeof(float) * 2 * (size_t)((rows + each - 1) / each * width_of(preparation->node));
    return true;
}

/* ---- Group and batch norm ---- */

/* x as `samples` of `rows` by `c` channels in `groups`; blocks of `each` rows, `blocks` a sample. A wide row
 * is `fold` rows seen as one, so that few channels fill vectors too. */
typedef struct grid {
    int64_t samples, rows, c, groups, each, blocks, fold;
    int64_t statistics; /* samples x groups */
    float eps;
} grid;

static grid grid_of(const dt_node *node)
{
    enum { BLOCK = 8192, FEWEST_ROWS = 32, WIDE = 128 };
    const dt_shape *x = &node->input[0]->shape;
    const dt_norm_form *form = node->attributes;
    bool batch = node->op == &dt_op_batch_norm || node->op == &dt_op_batch_norm_grad;
    grid g = {.samples = batch ? 1 : x->dim[0], .c = x->dim[x->rank - 1], .eps = form->eps};
    g.rows = dt_count(x) / g.samples / g.c;
    g.groups = batch ? g.c : form->groups;
    g.statistics = g.samples * g.groups;
    g.each = at_most(g.rows, at_least(FEWEST_ROWS, BLOCK / g.c));
    g.blocks = (g.rows + g.each - 1) / g.each;
    g.fold = at_least(1, at_most(g.each, WIDE / g.c));
    return g;
}

/* Where block b of all blocks starts in x, and how many floats it has. */
static int64_t block_at(const grid *g, int64_t b, int64_t *count)
{
    int64_t row = b % g->blocks * g->each;
    *count = at_most(g->each, g->rows - row) * g->c;
    return (b / g->blocks * g->rows + row) * g->c;
}

/* Workspace: wide rows of what is known by channel, for each sample, and of two sums for each block. */
enum { MEAN, SCALE, SHIFT, PULL = SHIFT, LEVEL, PER_SAMPLE, PER_BLOCK = 2 };

static int64_t wide(const grid *g)
{
    return g->fold * g->c;
}

static float *sample_row(const grid *g, const dt_call *call, int64_t sample, int which)
{
    return (float *)call->workspace + (sample * PER_SAMPLE + which) * wide(g);
}

static float *block_sums(const grid *g, const dt_call *call, int64_t b)
{
    return (float *)call->workspace + (g->samples * PER_SAMPLE + b * PER_BLOCK) * wide(g);
}

static bool prepare_grid(dt_preparation *preparation)
{
    const grid g = grid_of(preparation->node);
    int64_t rows = g.samples * (PER_SAMPLE + g.blocks * PER_BLOCK);
    preparation->workspace = sizeof(float) * (size_t)(rows * wide(&g));
    return true;
}

/* Adds up the `fold` parts of a wide row of sums: the first c are then the sums by channel. */
static void unfold(const grid *g, float *sum)
{
    for (int64_t f = 1; f < g->fold; f++)
        for (int64_t j = 0; j < g->c; j++)
            sum[j] += sum[f * g->c + j];
}

/* Repeats the first c of a wide row. */
static void repeat(const grid *g, float *row)
{
    for (int64_t f = 1; f < g->fold; f++)
        memcpy(row + f * g->c, row, sizeof *row * (size_t)g->c);
}

/* Mean and centred squares of every channel of a block. */
static void block_moments(const grid *g, const float *x, int64_t count, float *restrict mean,
                          float *restrict squares)
{
    int64_t w = wide(g);
    memset(mean, 0, sizeof *mean * (size_t)w);
    memset(squares, 0, sizeof *squares * (size_t)w);
    for (int64_t i = 0; i < count; i += w)
        for (int64_t j = 0, m = at_most(w, count - i); j < m; j++)
            mean[j] += x[i + j];
    unfold(g, mean);
    float share = (float)g->c / (float)count;
    for (int64_t j = 0; j < g->c; j++)
        mean[j] *= share;
    repeat(g, mean);
    for (int64_t i = 0; i < count; i += w)
        for (int64_t j = 0, m = at_most(w, count - i); j < m; j++)
            squares[j] += (x[i + j] - mean[j]) * (x[i + j] - mean[j]);
    unfold(g, squares);
}

/* The moments of a group: means weighted by their counts, then squares about the common mean. */
static void join_moments(const grid *g, const dt_call *call, int64_t sample, int64_t group, double *mean,
                         double *var)
{
    int64_t channels = g->c / g->groups, first = group * channels;
    double total = (double)g->rows * (double)channels, sum = 0, squares = 0;
    for (int64_t b = 0; b < g->blocks; b++) {
        const float *part = block_sums(g, call, sample * g->blocks + b) + first;
        double rows = (double)at_most(g->each, g->rows - b * g->each);
        for (int64_t j = 0; j < channels; j++)
            sum += rows * part[j];
    }
    *mean = sum / total;
    for (int64_t b = 0; b < g->blocks; b++) {
        const float *part = block_sums(g, call, sample * g->blocks + b) + first;
        double rows = (double)at_most(g->each, g->rows - b * g->each);
        for (int64_t j = 0; j < channels; j++)
            squares += part[wide(g) + j] + rows * (part[j] - *mean) * (part[j] - *mean);
    }
    *var = squares / total;
}

/* Statistics of one group (the second one is var of a batch, rstd of a group), and by channel: mean and rstd
 * gamma. */
static void settle_group(const grid *g, const dt_call *call, int64_t statistic)
{
    const float *gamma = call->in[1];
    int64_t sample = statistic / g->groups, channels = g->c / g->groups,
            first = statistic % g->groups * channels;
    double mean, var;
    join_moments(g, call, sample, statistic % g->groups, &mean, &var);
    double rstd = 1 / sqrt(var + g->eps);
    ((float *)call->out[1])[statistic] = (float)mean;
    ((float *)call->out[2])[statistic] = (float)(call->node->op == &dt_op_batch_norm ? var : rstd);
    for (int64_t j = first; j < first + channels; j++) {
        sample_row(g, call, sample, MEAN)[j] = (float)mean;
        sample_row(g, call, sample, SCALE)[j] = (float)(rstd * gamma[j]);
    }
}

/* (x - mean) scale + shift, but not below `least`. */
static void apply(int64_t count, int64_t w, const float *x, const float *mean, const float *scale,
                  const float *shift, float least, float *restrict y)
{
    for (int64_t i = 0; i < count; i += w)
        for (int64_t j = 0, m = at_most(w, count - i); j < m; j++) {
            float value = (x[i + j] - mean[j]) * scale[j] + shift[j];
            y[i + j] = value < least ? least : value; /* a NaN stays one */
        }
}

static void run_grid(const dt_call *call)
{
    const grid g = grid_of(call->node);
    const float *x = call->in[0], *beta = call->in[2];
    float *y = call->out[0], least = ((const dt_norm_form *)call->node->attributes)->relu ? 0 : -INFINITY;
    int64_t w = wide(&g), all = g.samples * g.blocks;
#pragma omp parallel if (all * g.each * g.c > PARALLEL)
    {
#pragma omp for schedule(static)
        for (int64_t b = 0; b < all; b++) {
            int64_t count, at = block_at(&g, b, &count);
            float *sums = block_sums(&g, call, b);
            block_moments(&g, x + at, count, sums, sums + w);
        }
#pragma omp for schedule(static)
        for (int64_t s = 0; s < g.statistics; s++)
            settle_group(&g, call, s);
#pragma omp for schedule(static)
        for (int64_t s = 0; s < g.samples; s++) {
            memcpy(sample_row(&g, call, s, SHIFT), beta, sizeof *beta * (size_t)g.c);
            for (int k = MEAN; k <= SHIFT; k++)
                repeat(&g, sample_row(&g, call, s, k));
        }
#pragma omp for schedule(static)
        for (int64_t b = 0; b < all; b++) {
            int64_t count, at = block_at(&g, b, &count), s = b / g.blocks;
            apply(count, w, x + at, sample_row(&g, call, s, MEAN), sample_row(&g, call, s, SCALE),
                  sample_row(&g, call, s, SHIFT), least, y + at);
        }
    }
}

/* ---- Their gradient: with xc = x - mean and means over a group,
 * dx = rstd gamma dy - rstd^3 mean(gamma dy xc) xc - rstd mean(gamma dy). ---- */

static double rstd_of(const grid *g, const dt_call *call, int64_t statistic)
{
    double second = ((const float *)call->in[3])[statistic];
    return call->node->op == &dt_op_batch_norm_grad ? 1 / sqrt(second + g->eps) : second;
}

/* Sums of dy and of dy xc of every channel of a block. */
static void block_products(const grid *g, const float *x, const float *mean, const float *dy, int64_t count,
                           float *restrict plain, float *restrict crossed)
{
    int64_t w = wide(g);
    memset(plain, 0, sizeof *plain * (size_t)w);
    memset(crossed, 0, sizeof *crossed * (size_t)w);
    for (int64_t i = 0; i < count; i += w)
        for (int64_t j = 0, m = at_most(w, count - i); j < m; j++) {
            plain[j] += dy[i + j];
            crossed[j] += dy[i + j] * (x[i + j] - mean[j]);
        }
    unfold(g, plain);
    unfold(g, crossed);
}

/* The mean of the group that each channel belongs to. */
static void spread_means(const grid *g, const dt_call *call, int64_t sample)
{
    const float *mean = call->in[2];
    float *means = sample_row(g, call, sample, MEAN);
    for (int64_t j = 0; j < g->c; j++)
        means[j] = mean[sample * g->groups + j / (g->c / g->groups)];
    repeat(g, means);
}

/* The three factors of dx, by channel of a group. */
static void settle_group_grad(const grid *g, const dt_call *call, int64_t statistic)
{
    const float *gamma = call->in[1];
    int64_t sample = statistic / g->groups, channels = g->c / g->groups,
            first = statistic % g->groups * channels;
    double plain = 0, crossed = 0, rstd = rstd_of(g, call, statistic),
           share = 1 / ((double)g->rows * (double)channels);
    for (int64_t b = 0; b < g->blocks; b++) {
        const float *part = block_sums(g, call, sample * g->blocks + b);
        for (int64_t j = first; j < first + channels; j++) {
            plain += (double)gamma[j] * part[j];
            crossed += (double)gamma[j] * part[wide(g) + j];
        }
    }
    for (int64_t j = first; j < first + channels; j++) {
        sample_row(g, call, sample, SCALE)[j] = (float)(rstd * gamma[j]);
        sample_row(g, call, sample, PULL)[j] = (float)(rstd * rstd * rstd * crossed * share);
        sample_row(g, call, sample, LEVEL)[j] = (float)(rstd * plain * share);
    }
}

/* dgamma = sum dy xc rstd and dbeta = sum dy of channel j. */
static void settle_channel(const grid *g, const dt_call *call, int64_t j)
{
    double dgamma = 0, dbeta = 0;
    for (int64_t s = 0; s < g->samples; s++) {
        double crossed = 0;
        for (int64_t b = 0; b < g->blocks; b++) {
            const float *part = block_sums(g, call, s * g->blocks + b);
            dbeta += part[j];
            crossed += part[wide(g) + j];
        }
        dgamma += crossed * rstd_of(g, call, s * g->groups + j / (g->c / g->groups));
    }
    ((float *)call->out[1])[j] = (float)dgamma;
    ((float *)call->out[2])[j] = (float)dbeta;
}

static void apply_grad(const grid *g, const dt_call *call, int64_t b)
{
    int64_t count, at = block_at(g, b, &count), w = wide(g), s = b / g->blocks;
    const float *x = (const float *)call->in[0] + at, *dy = (const float *)call->in[4] + at;
    float *restrict dx = (float *)call->out[0] + at;
    const float *mean = sample_row(g, call, s, MEAN), *scale = sample_row(g, call, s, SCALE);
    const float *pull = sample_row(g, call, s, PULL), *level = sample_row(g, call, s, LEVEL);
    for (int64_t i = 0; i < count; i += w)
        for (int64_t j = 0, m = at_most(w, count - i); j < m; j++)
            dx[i + j] = dy[i + j] * scale[j] - (x[i + j] - mean[j]) * pull[j] - level[j];
}

static void run_grid_grad(const dt_call *call)
{
    const grid g = grid_of(call->node);
    const float *x = call->in[0], *dy = call->in[4];
    int64_t w = wide(&g), all = g.samples * g.blocks;
#pragma omp parallel if (all * g.each * g.c > PARALLEL)
    {
#pragma omp for schedule(static)
        for (int64_t s = 0; s < g.samples; s++)
            spread_means(&g, call, s);
#pragma omp for schedule(static)
        for (int64_t b = 0; b < all; b++) {
            int64_t count, at = block_at(&g, b, &count);
            float *sums = block_sums(&g, call, b);
            block_products(&g, x + at, sample_row(&g, call, b / g.blocks, MEAN), dy + at, count, sums,
                           sums + w);
        }
#pragma omp for schedule(static)
        for (int64_t s = 0; s < g.statistics; s++)
            settle_group_grad(&g, call, s);
#pragma omp for schedule(static) nowait
        for (int64_t j = 0; j < g.c; j++)
            settle_channel(&g, call, j);
#pragma omp for schedule(static)
        for (int64_t s = 0; s < g.samples; s++)
            for (int k = SCALE; k < PER_SAMPLE; k++)
                repeat(&g, sample_row(&g, call, s, k));
#pragma omp for schedule(static)
        for (int64_t b = 0; b < all; b++)
            apply_grad(&g, call, b);
    }
}

const dt_kernel dt_cpu_norm[] = {{&dt_op_layer_norm, run_layer_norm, NULL, NULL},
                                 {&dt_op_layer_norm_grad, run_layer_norm_grad, prepare_layer_norm_grad, NULL},
                                 {&dt_op_group_norm, run_grid, prepare_grid, NULL},
                                 {&dt_op_group_norm_grad, run_grid_grad, prepare_grid, NULL},
                                 {&dt_op_batch_norm, run_grid, prepare_grid, NULL},
                                 {&dt_op_batch_norm_grad, run_grid_grad, prepare_grid, NULL},
                                 {0}};
