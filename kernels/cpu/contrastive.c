/* Contrastive losses by tiles of the n x n products a b^T. In step s, row tile i meets column tile (i + s)
 * mod tiles: within a step no two tiles share rows or columns, so that threads add to what belongs to rows
 * and to columns without locks, in an order that does not depend on them, and every tile is made once in a
 * pass. */
#include "kernels/ops/contrastive.h"

#include <math.h>
#include <stdio.h>

#include "kernels/cpu/math.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/scratch.h"

extern const dt_kernel dt_cpu_contrastive[];

enum { A, B, SCALE, BIAS, MAX_TILE = 256, LANES = 16 };

/* n x d features in `tiles` tiles of `tile` rows: enough of them for a few threads, as far as n goes. */
typedef struct sizes {
    int64_t n, d, tile, tiles;
} sizes;

static sizes sizes_of(const dt_node *node)
{
    const dt_shape *a = &node->input[A]->shape;
    int64_t n = a->dim[0], tile = n >= 8 * MAX_TILE ? MAX_TILE : n >= 512 ? 128 : 64;
    return (sizes){n, a->dim[1], tile, (n + tile - 1) / tile};
}

/* What is kept for each row and each column during a pass, and for each row tile. */
typedef struct state {
    float *row_most, *column_most;
    double *row_sum, *column_sum;
    double *total, *second; /* by row tile: the loss, or dscale and dbias */
} state;

static state state_of(const dt_call *call, const sizes *s)
{
    double *shared = dt_scratch_shared(call);
    state of = {.row_sum = shared, .column_sum = shared + s->n, .total = shared + 2 * s->n};
    of.second = of.total + s->tiles;
    of.row_most = (float *)(of.second + s->tiles);
    of.column_most = of.row_most + s->n;
    return of;
}

static bool prepare(dt_preparation *preparation)
{
    const sizes s = sizes_of(preparation->node);
    if (!dt_scratch_ask(preparation, sizeof(float) * (size_t)(s.tile * s.tile), s.tiles))
        return false;
    preparation->workspace += sizeof(double) * 2 * (size_t)(s.n + s.tiles) + sizeof(float) * 2 * (size_t)s.n;
    return true;
}

/* Rows [i, i + rows) against columns [j, j + columns), the products a_i . b_j in rows of `stride`. */
typedef struct tile {
    int64_t row, i, rows, j, columns, stride;
    bool first, diagonal; /* the first visit to these rows and columns; i = j */
    float *x;
} tile;

static void check(const dt_call *call, bool done)
{
    if (!done)
#pragma omp critical
        snprintf(call->fault, DT_MESSAGE, "%s: the library refused a matrix product", call->node->op->name);
}

typedef void work(const dt_call *call, const sizes *s, const tile *t);

static void visit(const dt_call *call, work *each)
{
    const sizes s = sizes_of(call->node);
    const float *a = call->in[A], *b = call->in[B];
#pragma omp parallel num_threads(dt_scratch_threads(call))
    for (int64_t step = 0; step < s.tiles; step++) {
#pragma omp for schedule(static)
        for (int64_t row = 0; row < s.tiles; row++) {
            int64_t i = row * s.tile, j = (row + step) % s.tiles * s.tile;
            tile t = {.row = row, .i = i, .j = j, .stride = s.tile, .first = step == 0, .diagonal = i == j};
            t.rows = s.n - i < s.tile ? s.n - i : s.tile;
            t.columns = s.n - j < s.tile ? s.n - j : s.tile;
            t.x = dt_scratch_mine(call);
            check(call, dt_sgemm(false, true, t.rows, t.columns, s.d, 1, a + i * s.d, s.d, b + j * s.d, s.d,
                                 0, t.x, t.stride));
            each(call, &s, &t);
        }
    }
}

static int64_t whole(int64_t n)
{
    return (n + LANES - 1) / LANES * LANES;
}

/* ---- InfoNCE ---- */

/* A running log-sum-exp of which `most` is the largest term so far and sum that of exp(term - most): makes
 * room for terms up to `larger`. */
static void rescale(float *most, double *sum, float larger, bool first)
{
    if (first || larger > *most) {
        *sum = first ? 0 : *sum * exp((double)*most - larger);
        *most = larger;
    }
}

/* Adds the logits x[n] of a row, which is filled up to whole lanes with -infinity. */
static void add_row(const float *x, int64_t n, float *most, double *sum, bool first)
{
    float lane[LANES], part = 0;
    for (int k = 0; k < LANES; k++)
        lane[k] = x[k];
    for (int64_t j = LANES; j < n; j += LANES)
        for (int k = 0; k < LANES; k++)
            lane[k] = x[j + k] > lane[k] ? x[j + k] : lane[k];
    float larger = lane[0];
    for (int k = 1; k < LANES; k++)
        larger = lane[k] > larger ? lane[k] : larger;
    rescale(most, sum, larger, first);
    float shift = *most;
#pragma omp simd reduction(+ : part)
    for (int64_t j = 0; j < n; j++)
        part += dt_fast_exp(x[j] - shift);
    *sum += part;
}

static void add_columns(const tile *t, float *most, double *sum)
{
    float larger[MAX_TILE], part[MAX_TILE] = {0};
    for (int64_t j = 0; j < t->columns; j++)
        larger[j] = t->x[j];
    for (int64_t r = 1; r < t->rows; r++)
        for (int64_t j = 0; j < t->columns; j++)
            larger[j] = t->x[r * t->stride + j] > larger[j] ? t->x[r * t->stride + j] : larger[j];
    for (int64_t j = 0; j < t->columns; j++)
        rescale(&most[j], &sum[j], larger[j], t->first);
    for (int64_t r = 0; r < t->rows; r++)
#pragma omp simd
        for (int64_t j = 0; j < t->columns; j++)
            part[j] += dt_fast_exp(t->x[r * t->stride + j] - most[j]);
    for (int64_t j = 0; j < t->columns; j++)
        sum[j] += part[j];
}

static void infonce_tile(const dt_call *call, const sizes *s, const tile *t)
{
    const state of = state_of(call, s);
    float scale = *(const float *)call->in[SCALE];
    if (t->first)
        of.total[t->row] = 0;
    for (int64_t r = 0; r < t->rows; r++) {
        float *x = t->x + r * t->stride;
        for (int64_t j = 0; j < t->columns; j++)
            x[j] *= scale;
        for (int64_t j = t->columns; j < whole(t->columns); j++)
            x[j] = -INFINITY;
        if (t->diagonal)
            of.total[t->row] -= x[r];
        add_row(x, whole(t->columns), &of.row_most[t->i + r], &of.row_sum[t->i + r], t->first);
    }
    add_columns(t, of.column_most + t->j, of.column_sum + t->j);
}

static void run_infonce(const dt_call *call)
{
    const sizes s = sizes_of(call->node);
    const state of = state_of(call, &s);
    float *row_lse = call->out[1], *column_lse = call->out[2];
    double loss = 0;
    visit(call, infonce_tile);
    for (int64_t i = 0; i < s.tiles; i++)
        loss += of.total[i];
    for (int64_t i = 0; i < s.n; i++) {
        double row = of.row_most[i] + log(of.row_sum[i]), column = of.column_most[i] + log(of.column_sum[i]);
        row_lse[i] = (float)row;
        column_lse[i] = (float)column;
        loss += (row + column) / 2;
    }
    *(float *)call->out[0] = (float)(loss / (double)s.n);
}

/* Products -> g, the derivative of the sum of all losses for the logits (halved and divided by n later), in
 * place. Adds sum g x to *total, the derivative for the scale. Logits are rounded as they were for the
 * log-sum-exp: a product that stays in a fused multiply-add would not cancel against it. */
static void infonce_weights(const tile *t, float scale, const float *row_lse, const float *column_lse,
                            double *total)
{
    for (int64_t r = 0; r < t->rows; r++) {
        float *x = t->x + r * t->stride, shift = row_lse[r], part = 0, logit[MAX_TILE], g[MAX_TILE];
        for (int64_t j = 0; j < t->columns; j++)
            logit[j] = scale * x[j];
#pragma omp simd
        for (int64_t j = 0; j < t->columns; j++)
            g[j] = dt_fast_exp(logit[j] - shift) + dt_fast_exp(logit[j] - column_lse[j]);
        if (t->diagonal)
            g[r] -= 2;
#pragma omp simd reduction(+ : part)
        for (int64_t j = 0; j < t->columns; j++) {
            part += g[j] * x[j];
            x[j] = g[j];
        }
        *total += part;
    }
}

/* da += factor g b and db += factor g^T a over the tile. */
static void add_gradients(const dt_call *call, const sizes *s, const tile *t, float factor)
{
    const float *a = (const float *)call->in[A] + t->i * s->d, *b = (const float *)call->in[B] + t->j * s->d;
    float *da = (float *)call->out[A] + t->i * s->d, *db = (float *)call->out[B] + t->j * s->d,
          add = t->first ? 0 : 1;
    check(call, dt_sgemm(false, false, t->rows, s->d, t->columns, factor, t->x, t->stride, b, s->d, add, da,
                         s->d) &&
                    dt_sgemm(true, false, t->columns, s->d, t->rows, factor, t->x, t->stride, a, s->d, add,
                             db, s->d));
}

static void infonce_grad_tile(const dt_call *call, const sizes *s, const tile *t)
{
    const state of = state_of(call, s);
    const float *row_lse = call->in[3], *column_lse = call->in[4];
    float scale = *(const float *)call->in[SCALE], dloss = *(const float *)call->in[5];
    if (t->first)
        of.total[t->row] = 0;
    infonce_weights(t, scale, row_lse + t->i, column_lse + t->j, &of.total[t->row]);
    add_gradients(call, s, t, scale * dloss / (2 * (float)s->n));
}

static float sum_tiles(const double *part, const sizes *s, double factor)
{
    double sum = 0;
    for (int64_t i = 0; i < s->tiles; i++)
        sum += part[i];
    return (float)(sum * factor);
}

static void run_infonce_grad(const dt_call *call)
{
    const sizes s = sizes_of(call->node);
    double dloss = *(const float *)call->in[5];
    visit(call, infonce_grad_tile);
    *(float *)call->out[SCALE] = sum_tiles(state_of(call, &s).total, &s, dloss / (2 * (double)s.n));
}

/* ---- Sigmoid loss ---- */

/* Products -> logits, those of the diagonal negated: every loss is then softplus(x). */
static void signed_logits(const dt_call *call, const tile *t, int64_t r)
{
    float scale = *(const float *)call->in[SCALE], bias = *(const float *)call->in[BIAS],
          *x = t->x + r * t->stride;
    for (int64_t j = 0; j < t->columns; j++)
        x[j] = scale * x[j] + bias;
    if (t->diagonal)
        x[r] = -x[r];
}

static void sigmoid_tile(const dt_call *call, const sizes *s, const tile *t)
{
    const state of = state_of(call, s);
    if (t->first)
        of.total[t->row] = 0;
    for (int64_t r = 0; r < t->rows; r++) {
        const float *x = t->x + r * t->stride;
        float part = 0;
        signed_logits(call, t, r);
#pragma omp simd reduction(+ : part)
        for (int64_t j = 0; j < t->columns; j++)
            part += dt_fast_softplus(x[j]);
        of.total[t->row] += part;
    }
}

static void run_sigmoid(const dt_call *call)
{
    const sizes s = sizes_of(call->node);
    visit(call, sigmoid_tile);
    *(float *)call->out[0] = sum_tiles(state_of(call, &s).total, &s, 1 / (double)s.n);
}

static void sigmoid_grad_tile(const dt_call *call, const sizes *s, const tile *t)
{
    const state of = state_of(call, s);
    float scale = *(const float *)call->in[SCALE], dloss = *(const float *)call->in[4], product[MAX_TILE];
    if (t->first)
        of.total[t->row] = of.second[t->row] = 0;
    for (int64_t r = 0; r < t->rows; r++) {
        float *x = t->x + r * t->stride, for_scale = 0, for_bias = 0;
        for (int64_t j = 0; j < t->columns; j++)
            product[j] = x[j];
        signed_logits(call, t, r);
#pragma omp simd
        for (int64_t j = 0; j < t->columns; j++)
            x[j] = dt_fast_sigmoid(x[j]);
        if (t->diagonal)
            x[r] = -x[r];
#pragma omp simd reduction(+ : for_scale, for_bias)
        for (int64_t j = 0; j < t->columns; j++) {
            for_scale += x[j] * product[j];
            for_bias += x[j];
        }
        of.total[t->row] += for_scale;
        of.second[t->row] += for_bias;
    }
    add_gradients(call, s, t, scale * dloss / (float)s->n);
}

static void run_sigmoid_grad(const dt_call *call)
{
    const sizes s = sizes_of(call->node);
    const state of = state_of(call, &s);
    double factor = *(const float *)call->in[4] / (double)s.n;
    visit(call, sigmoid_grad_tile);
    *(float *)call->out[SCALE] = sum_tiles(of.total, &s, factor);
    *(float *)call->out[BIAS] = sum_tiles(of.second, &s, factor);
}

const dt_kernel dt_cpu_contrastive[] = {{&dt_op_infonce, run_infonce, prepare, free},
                                        {&dt_op_infonce_grad, run_infonce_grad, prepare, free},
                                        {&dt_op_sigmoid_loss, run_sigmoid, prepare, free},
                                        {&dt_op_sigmoid_loss_grad, run_sigmoid_grad, prepare, free},
                                        {0}};
