#include "eval/logistic_pass.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK = 48,                  /* rows that are worked on while they are in the cache */
    SLICES_MOST = 64,            /* each has sums of its own */
    SUMS_MOST = (256 << 20) / 8, /* doubles of all of them */
};

/* ---- buffers ---- */

/* Not set to anything. */
static double *aligned_doubles(size_t count)
{
    void *memory;
    return posix_memalign(&memory, 64, (count + 1) * sizeof(double)) ? NULL : memory;
}

/* As many slices as there are blocks and memory for. */
static size_t slices_for(size_t blocks, size_t sums)
{
    size_t slices = SUMS_MOST / sums;
    slices = slices < 2 ? 2 : slices > SLICES_MOST ? SLICES_MOST : slices;
    return blocks < slices ? blocks : slices;
}

bool dt_logistic_pass_open(dt_logistic_pass *pass, const float *x, const int32_t *labels, const size_t *rows,
                           size_t n, size_t dim, size_t classes, int threads, dt_error *error)
{
    *pass =
        (dt_logistic_pass){.x = x, .labels = labels, .rows = rows, .n = n, .dim = dim, .classes = classes};
    if (dim > DT_LOGISTIC_DIM)
        return dt_fail(error, "features of width %zu; a logistic regression takes at most %d", dim,
                       DT_LOGISTIC_DIM);
    pass->height = dt_panels_pad(dim + 1);
    pass->stride =
        pass->height + (pass->height % 512 ? 0 : 8); /* rows of a block must not share one cache set */
    pass->by_class = dt_panels_for(classes);
    pass->by_column = dt_panels_for(dim + 1);
    pass->threads = threads > 0 ? threads : omp_get_max_threads();
    size_t gradient = dt_panels_size(pass->by_class, pass->height),
           curvature = dt_panels_size(pass->by_column, pass->height);
    pass->sums_size = gradient > curvature ? gradient : curvature;
    pass->blocks = (n + BLOCK - 1) / BLOCK;
    pass->slices = slices_for(pass->blocks, pass->sums_size);
    pass->scratch_size = BLOCK * (pass->stride + pass->by_class.panels * pass->by_class.width +
                                  pass->by_column.panels * pass->by_column.width);
    pass->mean = calloc(dim + 1, sizeof *pass->mean);
    pass->losses = aligned_doubles(pass->slices);
    pass->sums = labels ? aligned_doubles(pass->slices * pass->sums_size) : NULL;
    pass->scratch = aligned_doubles((size_t)pass->threads * pass->scratch_size);
    if (!pass->mean || !pass->losses || (labels && !pass->sums) || !pass->scratch)
        return dt_fail(error, "no memory for a logistic regression of %zu features and %zu classes", dim,
                       classes);
    memset(pass->scratch, 0,
           (size_t)pass->threads * pass->scratch_size * sizeof *pass->scratch); /* the padding */
    return true;
}

void dt_logistic_pass_close(dt_logistic_pass *pass)
{
    free(pass->mean);
    free(pass->losses);
    free(pass->sums);
    free(pass->scratch);
    *pass = (dt_logistic_pass){0};
}

static size_t first_block(const dt_logistic_pass *pass, size_t slice)
{
    return pass->blocks * slice / pass->slices;
}

/* ---- a block ---- */

typedef struct block {
    size_t first, rows;
    double *x;      /* [BLOCK, stride] */
    double *scores; /* [BLOCK, classes] in panels */
    double *spare;  /* [BLOCK, dim + 1] in panels */
} block;

static size_t row_of(const dt_logistic_pass *pass, size_t i)
{
    return pass->rows ? pass->rows[i] : i;
}

/* Block `number` with its features; the rows that it lacks are zero. */
static block load(const dt_logistic_pass *pass, size_t number)
{
    double *mine = pass->scratch + (size_t)omp_get_thread_num() * pass->scratch_size;
    block b = {.first = number * BLOCK, .rows = BLOCK, .x = mine};
    b.scores = b.x + BLOCK * pass->stride;
    b.spare = b.scores + BLOCK * pass->by_class.panels * pass->by_class.width;
    if (b.rows > pass->n - b.first)
        b.rows = pass->n - b.first;
    for (size_t i = 0; i < b.rows; i++) {
        const float *from = pass->x + row_of(pass, b.first + i) * pass->dim;
        double *to = b.x + i * pass->stride;
        for (size_t j = 0; j < pass->dim; j++)
            to[j] = (double)from[j] - pass->mean[j];
        to[pass->dim] = 1;
    }
    memset(b.x + b.rows * pass->stride, 0, (BLOCK - b.rows) * pass->stride * sizeof *b.x);
    return b;
}

static void score(const dt_logistic_pass *pass, const block *b, const double *coefficients)
{
    dt_panels p = pass->by_class;
    for (size_t q = 0; q < p.panels; q++)
        dt_panel_product(p.width, 0, BLOCK, pass->height, (dt_panel_left){b->x, pass->stride, 1},
                         coefficients + q * pass->height * p.width, false, b->scores + q * BLOCK * p.width);
}

/* exp x for x <= 0, 1 ulp, and exactly 0 below -708; without branches or calls, so that it becomes vector
 * code. x = k ln 2 + r with |r| <= ln 2 / 2, e^r by its Taylor polynomial of degree 13. */
static inline double exp_negative(double x)
{
    const double magic = 0x1.8p52; /* adding it rounds to an integer, which the low bits then hold */
    double bounded = x < -708 ? -708 : x, shifted = bounded * 0x1.71547652b82fep0 + magic,
           k = shifted - magic;
    double r = bounded - k * 0x1.62e42fee00000p-1 - k * 0x1.a39ef35793c76p-33;
    double e = 1.0 / 6227020800;
    e = e * r + 1.0 / 479001600;
    e = e * r + 1.0 / 39916800;
    e = e * r + 1.0 / 3628800;
    e = e * r + 1.0 / 362880;
    e = e * r + 1.0 / 40320;
    e = e * r + 1.0 / 5040;
    e = e * r + 1.0 / 720;
    e = e * r + 1.0 / 120;
    e = e * r + 1.0 / 24;
    e = e * r + 1.0 / 6;
    e = e * r + 0.5;
    e = e * r + 1;
    e = e * r + 1;
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return x < -708 ? 0 : e * power;
}

/* Row i of the block: scores become probabilities. Returns the logarithm of what they were divided by. */
static double softmax(const dt_logistic_pass *pass, const block *b, size_t i)
{
    dt_panels p = pass->by_class;
    double most = -INFINITY, sum = 0;
    for (size_t q = 0; q < p.panels; q++) {
        const double *s = b->scores + (q * BLOCK + i) * p.width;
#pragma omp simd reduction(max : most)
        for (size_t j = 0; j < p.width; j++)
            most = s[j] > most ? s[j] : most;
    }
    for (size_t q = 0; q < p.panels; q++) {
        double *s = b->scores + (q * BLOCK + i) * p.width;
#pragma omp simd reduction(+ : sum)
        for (size_t j = 0; j < p.width; j++) {
            s[j] = exp_negative(s[j] - most);
            sum += s[j];
        }
    }
    for (size_t q = 0; q < p.panels; q++) {
        double *s = b->scores + (q * BLOCK + i) * p.width;
        for (size_t j = 0; j < p.width; j++)
            s[j] /= sum;
    }
    return most + log(sum);
}

/* ---- passes ---- */

/* out = the slices' sums, in the slices' order. */
static void add_slices(const dt_logistic_pass *pass, size_t size, double *out)
{
    enum { PART = 4096 };
#pragma omp parallel for num_threads(pass->threads) schedule(static)
    for (size_t at = 0; at < size; at += PART) {
        size_t count = size - at < PART ? size - at : PART;
        memcpy(out + at, pass->sums + at, count * sizeof *out);
        for (size_t s = 1; s < pass->slices; s++)
            for (size_t i = 0; i < count; i++)
                out[at + i] += pass->sums[s * pass->sums_size + at + i];
    }
}

bool dt_logistic_pass_centre(dt_logistic_pass *pass, dt_error *error)
{
#pragma omp parallel for num_threads(pass->threads) schedule(dynamic)
    for (size_t s = 0; s < pass->slices; s++) {
        double *sum = pass->sums + s * pass->sums_size;
        size_t end = first_block(pass, s + 1) * BLOCK;
        memset(sum, 0, pass->dim * sizeof *sum);
        for (size_t i = first_block(pass, s) * BLOCK; i < end && i < pass->n; i++) {
            const float *x = pass->x + row_of(pass, i) * pass->dim;
            for (size_t j = 0; j < pass->dim; j++)
                sum[j] += (double)x[j];
        }
    }
    add_slices(pass, pass->dim, pass->mean);
    for (size_t j = 0; j < pass->dim; j++) {
        for (size_t i = 0; !isfinite(pass->mean[j]) && i < pass->n; i++)
            if (!isfinite(pass->x[row_of(pass, i) * pass->dim + j]))
                return dt_fail(error, "feature %zu of row %zu is not finite; the encoder has diverged", j,
                               row_of(pass, i));
        pass->mean[j] /= (double)pass->n;
    }
    return true;
}

/* The block's loss; its scores become probabilities less the labels. */
static double block_loss(const dt_logistic_pass *pass, const block *b)
{
    dt_panels p = pass->by_class;
    double loss = 0;
    for (size_t i = 0; i < b->rows; i++) {
        size_t label = (size_t)pass->labels[row_of(pass, b->first + i)];
        double *own = b->scores + dt_panels_at(p, BLOCK, i, label), right = *own;
        loss += softmax(pass, b, i) - right;
        *own -= 1;
    }
    for (size_t q = 0; q < p.panels; q++)
        memset(b->scores + (q * BLOCK + b->rows) * p.width, 0,
               (BLOCK - b->rows) * p.width * sizeof *b->scores);
    return loss;
}

double dt_logistic_pass_loss(dt_logistic_pass *pass, const double *coefficients, double *gradient)
{
    dt_panels p = pass->by_class;
#pragma omp parallel for num_threads(pass->threads) schedule(dynamic)
    for (size_t s = 0; s < pass->slices; s++) {
        double *sum = pass->sums + s * pass->sums_size;
        pass->losses[s] = 0;
        for (size_t number = first_block(pass, s); number < first_block(pass, s + 1); number++) {
            block b = load(pass, number);
            score(pass, &b, coefficients);
            pass->losses[s] += block_loss(pass, &b);
            for (size_t q = 0; q < p.panels; q++)
                dt_panel_product(p.width, 0, pass->height, BLOCK, (dt_panel_left){b.x, 1, pass->stride},
                                 b.scores + q * BLOCK * p.width, number > first_block(pass, s),
                                 sum + q * pass->height * p.width);
        }
    }
    size_t size = dt_panels_size(p, pass->height);
    add_slices(pass, size, gradient);
    double loss = 0;
    for (size_t s = 0; s < pass->slices; s++)
        loss += pass->losses[s];
    for (size_t i = 0; i < size; i++)
        gradient[i] /= (double)pass->n;
    return loss / (double)pass->n;
}

/* The spare of the block gets w x for each row. */
static void block_weighted(const dt_logistic_pass *pass, const block *b)
{
    dt_panels p = pass->by_class, c = pass->by_column;
    for (size_t i = 0; i < BLOCK; i++) {
        double squares = 0;
        if (i < b->rows)
            softmax(pass, b, i);
        for (size_t k = 0; k < pass->classes; k++) {
            double probability = b->scores[dt_panels_at(p, BLOCK, i, k)];
            squares += probability * probability;
        }
        double w = i < b->rows ? (1 - squares) / (double)(pass->classes - 1) : 0;
        for (size_t j = 0; j <= pass->dim; j++)
            b->spare[dt_panels_at(c, BLOCK, i, j)] = w * b->x[i * pass->stride + j];
    }
}

void dt_logistic_pass_curvature(dt_logistic_pass *pass, const double *coefficients, double *curvature)
{
    dt_panels c = pass->by_column;
    size_t height = pass->height, side = pass->dim + 1;
#pragma omp parallel for num_threads(pass->threads) schedule(dynamic)
    for (size_t s = 0; s < pass->slices; s++) {
        double *sum = pass->sums + s * pass->sums_size;
        for (size_t number = first_block(pass, s); number < first_block(pass, s + 1); number++) {
            block b = load(pass, number);
            score(pass, &b, coefficients);
            block_weighted(pass, &b);
            for (size_t q = 0; q < c.panels; q++) /* from the diagonal down */
                dt_panel_product(c.width, q * c.width / DT_PANEL_ROWS * DT_PANEL_ROWS, height, BLOCK,
                                 (dt_panel_left){b.x, 1, pass->stride}, b.spare + q * BLOCK * c.width,
                                 number > first_block(pass, s), sum + q * height * c.width);
        }
    }
#pragma omp parallel for num_threads(pass->threads) schedule(static)
    for (size_t i = 0; i < side; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = 0;
            for (size_t s = 0; s < pass->slices; s++)
                sum += pass->sums[s * pass->sums_size + dt_panels_at(c, height, i, j)];
            curvature[i * side + j] = sum / (double)pass->n;
        }
}

void dt_logistic_pass_scores(dt_logistic_pass *pass, const double *coefficients, float *scores)
{
#pragma omp parallel for num_threads(pass->threads) schedule(dynamic)
    for (size_t number = 0; number < pass->blocks; number++) {
        block b = load(pass, number);
        score(pass, &b, coefficients);
        for (size_t i = 0; i < b.rows; i++)
            for (size_t k = 0; k < pass->classes; k++)
                scores[(b.first + i) * pass->classes + k] =
                    (float)b.scores[dt_panels_at(pass->by_class, BLOCK, i, k)];
    }
}
