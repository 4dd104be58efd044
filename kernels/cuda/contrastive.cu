/* Contrastive losses by square tiles of the n x n products a b^T: one matrix product makes a tile, one pass over it takes what is
 * wanted, and for gradients two more products take it to da and db. Everything but a tile is as long as the features.
 *
 * Bytes of memory that the pass moves for each logit: 4 read for a loss; for a gradient 4 read and 4 written in place, or 2 beside
 * where products are taken in bfloat16. All sums are taken in an order that follows from the shape. */
#include "kernels/cuda/blas.h"
#include "kernels/cuda/convert.h"
#include "kernels/cuda/logsumexp.h"

#include <stdio.h>
#include <stdlib.h>

extern "C" {
extern const dt_kernel dt_cuda_contrastive[];
}

namespace
{

enum { A, B, SCALE, BIAS };

enum {
#ifdef __CUDACC__
    EDGE = 8192,   /* of the largest tile, 256 MB: its gradient products [EDGE, d] keep all of a large GPU busy */
    BLOCKS = 1024, /* that a pass over a tile has, before they get longer strips */
#else
    EDGE = 1152, /* on the simulator, whose matrices are small: several tiles, long strips */
    BLOCKS = 64,
#endif
    MAX_PATCHES = 8 /* one under another that a block works on: its strip */
};

int round_up(int64_t n, int64_t to)
{
    return (int)(dt_parts(n, to) * to);
}

/* ---- The plan of a call ---- */

/* Which product: the logits, da += g b, db += g^T a. */
enum kind { LOGITS, ROWS, COLUMNS, KINDS };

struct plan {
    int64_t n, d, tiles, feature_stride;
    int edge, stride; /* of a tile */
    bool narrow, tf32;
    dt_blas *product[KINDS][2][2][2]; /* fewer rows than a whole tile; fewer columns; added to what is there */
    size_t blas, features, logits, slopes, row_part, column_part, sum, pairs, part; /* places in the workspace */
};

tile tile_of(const plan *p, int64_t row, int64_t column)
{
    int64_t i = row * p->edge, j = column * p->edge, rows = p->n - i, columns = p->n - j;
    tile t = {i, j, rows < p->edge ? (int)rows : p->edge, columns < p->edge ? (int)columns : p->edge, p->stride, PATCH};
    int64_t patches = dt_parts(t.rows, PATCH) * dt_parts(t.columns, CHUNK) / BLOCKS;
    t.strip *= patches < 1 ? 1 : patches < MAX_PATCHES ? (int)patches : MAX_PATCHES;
    return t;
}

dim3 grid_of(const tile &t)
{
    return dim3((unsigned)dt_parts(t.columns, CHUNK), (unsigned)dt_parts(t.rows, t.strip));
}

dt_blas **product_of(plan *p, kind k, const tile &t, bool add)
{
    return &p->product[k][t.rows < p->edge][t.columns < p->edge][add];
}

dt_product describe(const plan *p, kind k, const tile &t, bool add)
{
    dt_product product = {};
    product.in = p->narrow ? DT_BF16 : DT_F32;
    product.out = DT_F32;
    product.tf32 = p->tf32;
    product.scale = 1;
    product.residual = add;
    product.rows = k == COLUMNS ? t.columns : t.rows;
    product.columns = k == LOGITS ? t.columns : p->d;
    product.depth = k == LOGITS ? p->d : k == ROWS ? t.columns : t.rows;
    product.transpose_a = k == COLUMNS;
    product.transpose_b = k == LOGITS;
    product.stride_a = k == LOGITS ? p->feature_stride : p->stride;
    product.stride_b = p->feature_stride;
    product.stride_y = k == LOGITS ? p->stride : p->d;
    return product;
}

bool make(plan *p, kind k, const tile &t, bool add, char *message)
{
    dt_blas **blas = product_of(p, k, t, add);
    dt_product product = describe(p, k, t, add);
    if (!*blas)
        *blas = dt_blas_new(&product, message);
    if (*blas && dt_blas_workspace(*blas) > p->blas)
        p->blas = dt_blas_workspace(*blas);
    return *blas;
}

bool make_products(plan *p, bool gradient, char *message)
{
    bool made = true;
    for (int64_t i = 0; i < p->tiles && made; i++)
        for (int64_t j = 0; j < p->tiles && made; j++) {
            tile t = tile_of(p, i, j);
            made = make(p, LOGITS, t, false, message) &&
                   (!gradient || (make(p, ROWS, t, j > 0, message) && make(p, COLUMNS, t, i > 0, message)));
        }
    return made;
}

void release(void *state)
{
    plan *p = (plan *)state;
    dt_blas **product = p ? &p->product[0][0][0][0] : NULL;
    for (size_t i = 0; p && i < sizeof p->product / sizeof *product; i++)
        if (product[i])
            dt_blas_free(product[i]);
    free(p);
}

size_t take(size_t *used, int64_t count, size_t each)
{
    size_t at = *used;
    *used += dt_room((size_t)count * each);
    return at;
}

size_t lay_out(plan *p, bool gradient, bool tallies)
{
    size_t used = 0, area = (size_t)p->edge * (size_t)p->stride;
    int64_t largest = p->n < p->edge ? p->n : p->edge, parts = 2 * dt_parts(p->n, DT_WARP), blocks = 0;
    int64_t strips = dt_parts(largest, tile_of(p, 0, 0).strip);
    for (int64_t i = 0; i < p->tiles; i++)
        for (int64_t j = 0; j < p->tiles; j++) {
            dim3 grid = grid_of(tile_of(p, i, j));
            blocks += (int64_t)grid.x * grid.y;
            strips = grid.y > strips ? grid.y : strips;
        }
    take(&used, 1, p->blas);
    p->features = take(&used, p->narrow ? 2 * p->n * p->feature_stride : 0, sizeof(dt_bf16));
    p->logits = take(&used, (int64_t)area, sizeof(float));
    p->slopes = p->narrow && gradient ? take(&used, (int64_t)area, sizeof(dt_bf16)) : p->logits;
    p->row_part = take(&used, tallies ? dt_parts(p->stride, STRETCH) * p->stride : 0, sizeof(tally));
    p->column_part = take(&used, tallies ? strips * p->stride : 0, sizeof(tally));
    p->sum = take(&used, tallies ? 2 * p->n : 0, sizeof(total));
    p->pairs = take(&used, tallies ? p->n : 0, sizeof(float));
    p->part = take(&used, tallies ? parts : 2 * blocks, sizeof(double));
    return used;
}

bool prepare(dt_preparation *preparation)
{
    const dt_op *op = preparation->node->op;
    const dt_shape *a = &preparation->node->input[A]->shape;
    bool gradient = op == &dt_op_infonce_grad || op == &dt_op_sigmoid_loss_grad;
    plan *p = (plan *)calloc(1, sizeof *p);
    if (!p) {
        snprintf(preparation->message, sizeof preparation->message, "out of memory while planning");
        return false;
    }
    p->n = a->dim[0];
    p->d = a->dim[1];
    p->tiles = dt_parts(p->n, EDGE);
    p->edge = p->tiles == 1 ? (int)p->n : round_up(dt_parts(p->n, p->tiles), 128);
    p->stride = round_up(p->edge, 8);
    p->narrow = preparation->precision == DT_MIXED;
    p->tf32 = preparation->precision == DT_TF32;
    p->feature_stride = p->narrow ? dt_parts(p->d, 8) * 8 : p->d;
    if (!make_products(p, gradient, preparation->message)) {
        release(p);
        return false;
    }
    preparation->workspace = lay_out(p, gradient, op == &dt_op_infonce);
    preparation->state = p;
    return true;
}

/* ---- Runs ---- */

/* A call with its plan's places. */
struct work {
    const dt_call *call;
    plan *p;
    const void *a, *b; /* features as the products take them */
    size_t feature_bytes;
    float *logits;
    double *part;
};

template <class T> T *place(const work &w, size_t at)
{
    return (T *)((char *)w.call->workspace + at);
}

/* Features in bfloat16, in rows that the products like. */
const void *narrowed(const plan *p, const float *x, dt_bf16 *to)
{
    if (p->feature_stride == p->d)
        dt_cuda_convert(to, DT_BF16, x, DT_F32, p->n * p->d);
    else
        dt_cuda_convert_rows(to, DT_BF16, p->feature_stride, x, DT_F32, p->n, p->d);
    return to;
}

work start(const dt_call *call)
{
    plan *p = (plan *)call->state;
    const float *a = (const float *)call->in[A], *b = (const float *)call->in[B];
    work w = {call, p, a, b, sizeof(float), NULL, NULL};
    w.logits = place<float>(w, p->logits);
    w.part = place<double>(w, p->part);
    if (p->narrow) {
        dt_bf16 *features = place<dt_bf16>(w, p->features);
        w.a = narrowed(p, a, features);
        w.b = narrowed(p, b, features + p->n * p->feature_stride);
        w.feature_bytes = sizeof(dt_bf16);
    }
    return w;
}

const void *features_from(const work &w, const void *x, int64_t row)
{
    return (const char *)x + (size_t)(row * w.p->feature_stride) * w.feature_bytes;
}

void multiply(const work &w, kind k, const tile &t, bool add, const void *x, const void *y, void *to)
{
    dt_blas_run(*product_of(w.p, k, t, add), x, y, NULL, add ? to : NULL, to, w.call->workspace, w.call);
}

void make_logits(const work &w, const tile &t)
{
    multiply(w, LOGITS, t, false, features_from(w, w.a, t.i), features_from(w, w.b, t.j), w.logits);
}

/* The rows, then the columns of a tile. */
void merge_tile(const work &w, const tile &t)
{
    const plan *p = w.p;
    total *sum = place<total>(w, p->sum);
    int64_t half = dt_parts(p->n, DT_WARP);
    dim3 grid = grid_of(t);
    lines_of_tile rows = {place<tally>(w, p->row_part), (int)dt_parts(t.columns, STRETCH), p->stride, t.rows, t.j == 0,
                          t.j + t.columns == p->n, sum + t.i, (float *)w.call->out[1] + t.i,
                          place<float>(w, p->pairs) + t.i, w.part + t.i / DT_WARP};
    lines_of_tile columns = {place<tally>(w, p->column_part), (int)grid.y, p->stride, t.columns, t.i == 0,
                             t.i + t.rows == p->n, sum + p->n + t.j, (float *)w.call->out[2] + t.j, NULL,
                             w.part + half + t.j / DT_WARP};
    unsigned blocks = (unsigned)dt_parts(t.rows > t.columns ? t.rows : t.columns, DT_WARP);
    DT_LAUNCH(merge_kernel, dim3(blocks, 2), dim3(DT_WARP, MERGE_ROWS), 0, rows, columns);
}

/* y: one result, or two; dloss may be NULL. */
void add_up(const work &w, int64_t parts, int width, const float *dloss, double share, int results, void *const *y)
{
    float *first = (float *)y[0], *second = results > 1 ? (float *)y[1] : NULL;
    DT_LAUNCH(total_kernel, (unsigned)results, TOTAL_BLOCK, 0, w.part, parts, width, dloss, share, first, second);
}

void run_infonce(const dt_call *call)
{
    const work w = start(call);
    const plan *p = w.p;
    for (int64_t i = 0; i < p->tiles; i++)
        for (int64_t j = 0; j < p->tiles; j++) {
            tile t = tile_of(p, i, j);
            make_logits(w, t);
            DT_LAUNCH(tally_kernel, grid_of(t), DT_BLOCK, 0, w.logits, t, (const float *)call->in[SCALE], p->stride,
                      place<tally>(w, p->row_part), place<tally>(w, p->column_part), place<float>(w, p->pairs) + t.i);
            merge_tile(w, t);
        }
    add_up(w, 2 * dt_parts(p->n, DT_WARP), 1, NULL, 1 / (double)p->n, 1, call->out);
    dt_cuda_check(call, "infonce");
}

/* Of every tile: its logits, the rule's pass over them, then the gradients of its rows and columns if the rule writes
 * slopes. Returns how many pairs of sums there are now in part. */
template <class Rule, class For> int64_t sweep(const work &w, For rule_for)
{
    const plan *p = w.p;
    int64_t blocks = 0;
    void *slopes = place<char>(w, p->slopes);
    for (int64_t i = 0; i < p->tiles; i++)
        for (int64_t j = 0; j < p->tiles; j++) {
            tile t = tile_of(p, i, j);
            Rule rule = rule_for(t);
            dim3 grid = grid_of(t);
            make_logits(w, t);
            dt_by_type(p->narrow ? DT_BF16 : DT_F32, [&](auto zero) {
                using T = decltype(zero);
                DT_LAUNCH((sweep_kernel<Rule, T>), grid, DT_BLOCK, 0, w.logits, t, rule, (T *)slopes, w.part + 2 * blocks);
            });
            blocks += (int64_t)grid.x * grid.y;
            if (!Rule::WRITES)
                continue;
            multiply(w, ROWS, t, j > 0, slopes, features_from(w, w.b, t.j), (float *)w.call->out[A] + t.i * p->d);
            multiply(w, COLUMNS, t, i > 0, slopes, features_from(w, w.a, t.i), (float *)w.call->out[B] + t.j * p->d);
        }
    return blocks;
}

void run_infonce_grad(const dt_call *call)
{
    const work w = start(call);
    const float *const *in = (const float *const *)call->in, *dloss = in[5];
    int64_t n = w.p->n, parts = sweep<infonce_slope>(w, [&](const tile &t) {
        return infonce_slope{in[SCALE], dloss, in[3] + t.i, in[4] + t.j, 1 / (2 * (float)n)};
    });
    add_up(w, parts, 2, dloss, 1 / (2 * (double)n), 1, call->out + SCALE);
    dt_cuda_check(call, "infonce_grad");
}

void run_sigmoid(const dt_call *call)
{
    const work w = start(call);
    const float *const *in = (const float *const *)call->in;
    int64_t parts = sweep<sigmoid_value>(w, [&](const tile &) { return sigmoid_value{{in[SCALE], in[BIAS]}}; });
    add_up(w, parts, 2, NULL, 1 / (double)w.p->n, 1, call->out);
    dt_cuda_check(call, "sigmoid_loss");
}

void run_sigmoid_grad(const dt_call *call)
{
    const work w = start(call);
    const float *const *in = (const float *const *)call->in, *dloss = in[4];
    int64_t n = w.p->n, parts = sweep<sigmoid_slope>(w, [&](const tile &) {
        return sigmoid_slope{{in[SCALE], in[BIAS]}, dloss, 1 / (float)n};
    });
    add_up(w, parts, 2, dloss, 1 / (double)n, 2, call->out + SCALE);
    dt_cuda_check(call, "sigmoid_loss_grad");
}

} // namespace

const dt_kernel dt_cuda_contrastive[] = {{&dt_op_infonce, run_infonce, prepare, release, DT_WIDE, 0, 0},
                                         {&dt_op_infonce_grad, run_infonce_grad, prepare, release, DT_WIDE, 0, 0},
                                         {&dt_op_sigmoid_loss, run_sigmoid, prepare, release, DT_WIDE, 0, 0},
                                         {&dt_op_sigmoid_loss_grad, run_sigmoid_grad, prepare, release, DT_WIDE, 0, 0},
                                         {}};
