/* Attention, one head of one sample at a time, and of it one tile of queries against every key that they see,
 * so that the scores stay in the second level cache. A tile holds its scores by key: a row for each key, a
 * lane for each query, and softmax never crosses lanes. For that q (and, backward, dy) is transposed tile by
 * tile; q, k and v are else read where they lie in qkv. The gradient makes the probabilities again from the
 * scores and their log-sum-exp, as in Dao et al., "FlashAttention", 2022. */
#include "kernels/ops/attention.h"

#include <math.h>
#include <string.h>

#include "kernels/cpu/math.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/small_gemm.h"

extern const dt_kernel dt_cpu_attention[];

/* Lanes in a tile: at most, and where later keys can be left out; and floats of scores that should not be
 * passed. */
enum { LANES = 96, CAUSAL_LANES = 32, TILE_SCORES = 64 * 1024 };

typedef struct sizes {
    int64_t n, t, w, heads, d;
    int64_t lanes; /* queries in a tile, whole vectors; the last tile may have fewer */
    bool causal;
    float scale;
} sizes;

static int64_t at_most(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Tiles as equal as whole vectors allow. */
static sizes sizes_of(const dt_node *node)
{
    const dt_shape *qkv = &node->input[0]->shape;
    const dt_attention_form *form = node->attributes;
    sizes s = {.n = qkv->dim[0],
               .t = qkv->dim[1],
               .w = qkv->dim[2] / 3,
               .heads = form->heads,
               .causal = form->causal};
    s.d = s.w / s.heads;
    s.scale = 1 / sqrtf((float)s.d);
    int64_t vecs = (s.t + DT_VEC - 1) / DT_VEC,
            most = at_most(s.causal ? CAUSAL_LANES : LANES, TILE_SCORES / s.t) / DT_VEC;
    int64_t tiles = (vecs + (most ? most - 1 : 0)) / (most ? most : 1);
    s.lanes = (vecs + tiles - 1) / tiles * DT_VEC;
    return s;
}

/* Queries [from, from + rows) in `lanes` lanes; keys [0, keys) are seen. */
typedef struct tile {
    int64_t from, rows, lanes, keys;
} tile;

static tile tile_at(const sizes *s, int64_t from)
{
    int64_t rows = at_most(s->lanes, s->t - from);
    return (tile){from, rows, (rows + DT_VEC - 1) / DT_VEC * DT_VEC, s->causal ? from + rows : s->t};
}

/* Lanes that do not see key j: their queries come before it. */
static int64_t blind(const sizes *s, const tile *at, int64_t j)
{
    return s->causal && j > at->from ? j - at->from : 0;
}

/* Asks for one share, that of `head`, of the next sample's `count` floats at x: a head's rows are too short
 * and too far apart for the processor to foresee, and short sequences would mostly wait for memory. */
static inline void prefetch_next(const sizes *s, int64_t sample, int64_t head, const float *x, int64_t count)
{
    if (sample + 1 < s->n)
        for (int64_t i = count * head / s->heads, end = count * (head + 1) / s->heads; i < end; i += 16)
            __builtin_prefetch(x + (sample + 1) * count + i, 0, 3);
}

typedef float four __attribute__((vector_size(16)));
typedef float loose_four __attribute__((vector_size(16), aligned(4), may_alias));

/* A 4 x 4 block, transposed and scaled. */
static inline void transpose_block(const float *x, int64_t ldx, float scale, float *y, int64_t ldy)
{
    four a = *(const loose_four *)x, b = *(const loose_four *)(x + ldx);
    four c = *(const loose_four *)(x + 2 * ldx), d = *(const loose_four *)(x + 3 * ldx);
    four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    four ef = __builtin_shufflevector(a, b, 2, 6, 3, 7), gh = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    *(loose_four *)y = scale * __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
    *(loose_four *)(y + ldy) = scale * __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    *(loose_four *)(y + 2 * ldy) = scale * __builtin_shufflevector(ef, gh, 0, 1, 4, 5);
    *(loose_four *)(y + 3 * ldy) = scale * __builtin_shufflevector(ef, gh, 2, 3, 6, 7);
}

/* The tile's rows of x, ldx apart -> scale x^T [d, lanes]; lanes behind the rows are zeros. */
static void transpose(const sizes *s, const tile *at, const float *x, int64_t ldx, float scale, float *y)
{
    int64_t r4 = at->rows / 4 * 4, d4 = s->d / 4 * 4;
    for (int64_t p = 0; p < d4; p += 4)
        for (int64_t i = 0; i < r4; i += 4)
            transpose_block(x + i * ldx + p, ldx, scale, y + p * at->lanes + i, at->lanes);
    for (int64_t p = 0; p < s->d; p++)
        for (int64_t i = p < d4 ? r4 : 0; i < at->rows; i++)
            y[p * at->lanes + i] = scale * x[i * ldx + p];
    for (int64_t p = 0; p < s->d && at->rows < at->lanes; p++)
        memset(y + p * at->lanes + at->rows, 0, sizeof *y * (size_t)(at->lanes - at->rows));
}

/* exp x for x <= 0 (or above it by a rounding), 2 ulp; e^-86 from there on. dt_fast_exp without what only
 * larger and denormal results need. */
static inline float exp_of_negative(float x)
{
    const float magic = 12582912.0f; /* 1.5 2^23: the integer lies in the last bits of the sum */
    x = x < -86.0f ? -86.0f : x;
    float lifted = x * 1.44269504088896341f + magic, n = lifted - magic;
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return dt_bits_to_float(dt_float_to_bits(p) + (dt_float_to_bits(lifted) << 23));
}

/* Scores [keys, lanes] -> exp(score - largest of the lane), zeros where a lane is blind. */
static void exponentiate(const sizes *s, const tile *at, float *restrict scores, float *restrict most,
                         float *restrict sum)
{
    for (int64_t i = 0; i < at->lanes; i++)
        most[i] = -INFINITY, sum[i] = 0;
    for (int64_t j = 0; j < at->keys; j++) {
        float *x = scores + j * at->lanes;
        for (int64_t i = 0, none = blind(s, at, j); i < none; i++)
            x[i] = -INFINITY;
#pragma omp simd
        for (int64_t i = 0; i < at->lanes; i++)
            most[i] = x[i] > most[i] ? x[i] : most[i];
    }
    for (int64_t j = 0; j < at->keys; j++) {
        float *x = scores + j * at->lanes;
#pragma omp simd
        for (int64_t i = 0; i < at->lanes; i++) {
            x[i] = exp_of_negative(x[i] - most[i]);
            sum[i] += x[i];
        }
        for (int64_t i = 0, none = blind(s, at, j); i < none; i++)
            x[i] = 0;
    }
}

/* q, y, lse belong to the head; qt and scores are scratch. */
static void forward_tile(const sizes *s, const tile *at, const float *q, float *qt, float *scores, float *y,
                         float *lse)
{
    float sum[LANES], most[LANES];
    int64_t row = 3 * s->w;
    transpose(s, at, q + at->from * row, row, s->scale, qt);
    dt_small_gemm(at->keys, at->lanes, s->d, (dt_operands){q + s->w, row, 1, qt, at->lanes}, false, scores,
                  at->lanes);
    exponentiate(s, at, scores, most, sum);
    float *to = y + at->from * s->w;
    dt_operands pv = {scores, 1, at->lanes, q + 2 * s->w, row};
    dt_small_gemm(at->rows, s->d, at->keys, pv, false, to, s->w);
#pragma omp simd
    for (int64_t i = 0; i < at->rows; i++) {
        lse[at->from + i] = most[i] + dt_fast_log(sum[i]);
        sum[i] = 1 / sum[i];
    }
    for (int64_t i = 0; i < at->rows; i++)
        for (int64_t p = 0; p < s->d; p++)
            to[i * s->w + p] *= sum[i];
}

static void run_attention(const dt_call *call)
{
    const sizes s = sizes_of(call->node);
    const float *qkv = call->in[0];
    float *y = call->out[0], *lse = call->out[1];
#pragma omp parallel for schedule(static) num_threads(dt_scratch_threads(call))
    for (int64_t item = 0; item < s.n * s.heads; item++) {
        int64_t sample = item / s.heads, head = item % s.heads, size = s.t * s.w;
        int64_t start = sample * size, column = head * s.d;
        float *qt = dt_scratch_mine(call), *scores = qt + s.d * s.lanes;
        prefetch_next(&s, sample, head, qkv, 3 * size);
        for (int64_t from = 0; from < s.t; from += s.lanes) {
            tile at = tile_at(&s, from);
            forward_tile(&s, &at, qkv + 3 * start + column, qt, scores, y + start + column, lse + item * s.t);
        }
    }
}

static bool prepare_attention(dt_preparation *preparation)
{
    const sizes s = sizes_of(preparation->node);
    return dt_scratch_ask(preparation, sizeof(float) * (size_t)((s.d + s.t) * s.lanes), s.n * s.heads);
}

/* One head of one sample. */
typedef struct head {
    const float *q, *y, *lse, *dy;
    float *dq;
    float *qt, *dyt, *p, *ds; /* scratch: scale q^T, scale dy^T, and two tiles of scores */
} head;

/* shift[i] = lse of query i, and drop[i] = scale sum_j p_j dp_j = scale y . dy; zeros behind the rows. */
static void row_terms(const sizes *s, const head *h, const tile *at, float *shift, float *drop)
{
    for (int64_t i = 0; i < at->lanes; i++) {
        const float *y = h->y + (at->from + i) * s->w, *dy = h->dy + (at->from + i) * s->w;
        float sum = 0;
        if (i < at->rows)
#pragma omp simd reduction(+ : sum)
            for (int64_t p = 0; p < s->d; p++)
                sum += y[p] * dy[p];
        shift[i] = i < at->rows ? h->lse[at->from + i] : 0;
        drop[i] = s->scale * sum;
    }
}

/* Scores and scale v dy^T -> probabilities p and scale ds, where ds = p (dp - sum_j dp_j p_j). */
static void softmax_gradient(const sizes *s, const head *h, const tile *at)
{
    float shift[LANES], drop[LANES];
    row_terms(s, h, at, shift, drop);
    for (int64_t j = 0; j < at->keys; j++) {
        float *restrict p = h->p + j * at->lanes, *restrict ds = h->ds + j * at->lanes;
#pragma omp simd
        for (int64_t i = 0; i < at->lanes; i++) {
            p[i] = exp_of_negative(p[i] - shift[i]);
            ds[i] = p[i] * (ds[i] - drop[i]);
        }
        for (int64_t i = 0, none = blind(s, at, j); i < none; i++)
            p[i] = ds[i] = 0;
    }
}

/* Writes dq of the tile and adds to dk and dv; the last tile comes first, sees every key, and writes them. */
static void backward_tile(const sizes *s, const head *h, const tile *at)
{
    int64_t row = 3 * s->w, lanes = at->lanes;
    const float *q = h->q + at->from * row, *k = h->q + s->w, *v = k + s->w, *dy = h->dy + at->from * s->w;
    bool add = at->from + at->rows < s->t;
    transpose(s, at, q, row, s->scale, h->qt);
    transpose(s, at, dy, s->w, s->scale, h->dyt);
    dt_small_gemm(at->keys, lanes, s->d, (dt_operands){k, row, 1, h->qt, lanes}, false, h->p, lanes);
    dt_small_gemm(at->keys, lanes, s->d, (dt_operands){v, row, 1, h->dyt, lanes}, false, h->ds, lanes);
    softmax_gradient(s, h, at);
    float *dq = h->dq + at->from * row, *dk = h->dq + s->w, *dv = dk + s->w;
    dt_small_gemm(at->rows, s->d, at->keys, (dt_operands){h->ds, 1, lanes, k, row}, false, dq, row);
    dt_small_gemm(at->keys, s->d, at->rows, (dt_operands){h->ds, lanes, 1, q, row}, add, dk, row);
    dt_small_gemm(at->keys, s->d, at->rows, (dt_operands){h->p, lanes, 1, dy, s->w}, add, dv, row);
}

static void run_attention_grad(const dt_call *call)
{
    const sizes s = sizes_of(call->node);
    const float *qkv = call->in[0], *y = call->in[1], *lse = call->in[2], *dy = call->in[3];
    float *dqkv = call->out[0];
#pragma omp parallel for schedule(static) num_threads(dt_scratch_threads(call))
    for (int64_t item = 0; item < s.n * s.heads; item++) {
        int64_t sample = item / s.heads, which = item % s.heads, size = s.t * s.w;
        int64_t start = sample * size, column = which * s.d;
        float *scratch = dt_scratch_mine(call);
        prefetch_next(&s, sample, which, qkv, 3 * size);
        prefetch_next(&s, sample, which, y, size);
        prefetch_next(&s, sample, which, dy, size);
        head h = {qkv + 3 * start + column, y + start + column,          lse + item * s.t,
                  dy + start + column,      dqkv + 3 * start + column,   scratch,
                  scratch + s.d * s.lanes,  scratch + 2 * s.d * s.lanes, scratch + (2 * s.d + s.t) * s.lanes};
        for (int64_t from = (s.t - 1) / s.lanes * s.lanes; from >= 0; from -= s.lanes) {
            tile at = tile_at(&s, from);
            backward_tile(&s, &h, &at);
        }
    }
}

static bool prepare_attention_grad(dt_preparation *preparation)
{
    const sizes s = sizes_of(preparation->node);
    return dt_scratch_ask(preparation, sizeof(float) * 2 * (size_t)((s.d + s.t) * s.lanes), s.n * s.heads);
}

const dt_kernel dt_cpu_attention[] = {
    {&dt_op_attention, run_attention, prepare_attention, free},
    {&dt_op_attention_grad, run_attention_grad, prepare_attention_grad, free},
    {0}};
