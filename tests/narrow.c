/* The pointwise, shape and reduce kernels of a device with operands of bfloat16, and with operands that lie askew, as parameters
 * may: each kernel is called by itself, and compared with what the CPU makes of the same numbers in float32. */
#include "tests/op_check.h"

enum { INPUTS = 3 };

typedef struct row {
    const char *name;
    dt_tensor *(*build)(dt_tensor **x, const void *context);
    int inputs;
    dt_shape shape[INPUTS];
    unsigned narrow;  /* bit i: input i is bfloat16; bit INPUTS: the result is */
    double tolerance; /* relative to max(1, |y|), beside 2^-8 |y|, half a step, of a narrow result. 0: the CPU's, rounded */
    int ids;          /* below which the numbers of the last input are; 0: it is not one of ids */
} row;

enum { RESULT = 1 << INPUTS };

static bool on_device; /* who records */

static uint16_t narrowed(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float widened(uint16_t x)
{
    uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* ---- What is recorded: one node ---- */

#define BUILD(name, expression)                                                                                                \
    static dt_tensor *name(dt_tensor **x, const void *c)                                                                       \
    {                                                                                                                          \
        (void)c;                                                                                                               \
        return expression;                                                                                                     \
    }
BUILD(add, dt_add(x[0], x[1]))
BUILD(sub, dt_sub(x[0], x[1]))
BUILD(gelu, dt_gelu(x[0]))
BUILD(turn_last, dt_transpose(x[0], (const int[]){0, 2, 1}))
BUILD(turn_all, dt_transpose(x[0], (const int[]){2, 0, 1}))
BUILD(turn_four, dt_transpose(x[0], (const int[]){3, 1, 0, 2}))
BUILD(heads, dt_transpose(x[0], (const int[]){0, 2, 1, 3}))
BUILD(slice, dt_slice(x[0], 1, 1, 3))
BUILD(pad, dt_pad(x[0], 1, 2, 1))
BUILD(concat, dt_concat(x, 3, 1))
BUILD(repeat_middle, dt_broadcast_to(x[0], dt_dims(2, 3, 5, x[0]->shape.dim[2])))
BUILD(repeat_last, dt_broadcast_to(x[0], dt_dims(x[0]->shape.dim[0], 8)))
BUILD(repeat_odd, dt_broadcast_to(x[0], dt_dims(x[0]->shape.dim[0], 7)))
BUILD(embedding, dt_embedding(x[0], x[1]))
BUILD(gather, dt_gather(x[0], x[1]))
BUILD(argmax_int, dt_argmax_int(x[0]))
BUILD(sum_last, dt_sum(x[0], 4, true))
BUILD(sum_middle, dt_sum(x[0], 2, true))
BUILD(sum_ends, dt_sum(x[0], 5, true))
BUILD(softmax, dt_softmax(x[0]))
BUILD(log_softmax, dt_log_softmax(x[0]))

/* The gradients of inputs 0, of which the values are not read, with upstream 1. */
static dt_tensor *gradient_of(dt_tensor *y, dt_tensor *dy, dt_tensor *x)
{
    dt_tensor *dx;
    dt_gradient_from(&y, &dy, 1, &x, 1, &dx);
    return dx;
}

BUILD(gelu_grad, gradient_of(dt_gelu(x[0]), x[1], x[0]))
BUILD(embedding_grad, gradient_of(dt_embedding(x[0], x[2]), x[1], x[0]))
BUILD(gather_grad, gradient_of(dt_gather(x[0], x[2]), x[1], x[0]))

static dt_tensor *cast(dt_tensor **x, const void *c)
{
    (void)c;
    if (!on_device)
        return dt_affine(x[0], 1, 0);
    return dt_record1(dt_graph_of(x[0]), &dt_op_cast, NULL, 0, x[0]->shape, x[0], NULL, NULL, NULL);
}

static const row table[] = {
    {"add", add, 2, {dt_dims(3, 5, 7), dt_dims(3, 5, 7)}, 3 | RESULT, 0, 0},
    {"add of a narrow and a wide", add, 2, {dt_dims(3, 5, 7), dt_dims(3, 5, 7)}, 1, 0, 0},
    {"add to a narrow", add, 2, {dt_dims(3, 701), dt_dims(3, 701)}, RESULT, 0, 0},
    {"add of wides", add, 2, {dt_dims(3, 5, 7), dt_dims(3, 5, 7)}, 0, 0, 0},
    {"sub of a row", sub, 2, {dt_dims(6, 4, 8), dt_dims(8)}, 3 | RESULT, 0, 0},
    {"sub of a wide row", sub, 2, {dt_dims(60, 4, 8), dt_dims(4, 8)}, 1 | RESULT, 0, 0},
    {"sub of an odd row", sub, 2, {dt_dims(6, 4, 9), dt_dims(9)}, 2, 0, 0},
    {"sub of a column", sub, 2, {dt_dims(5, 12, 8), dt_dims(5, 1, 1)}, 3 | RESULT, 0, 0},
    {"sub of a channel", sub, 2, {dt_dims(5, 3, 8), dt_dims(3, 1)}, 3 | RESULT, 0, 0},
    {"sub of an odd channel", sub, 2, {dt_dims(5, 3, 7), dt_dims(3, 1)}, 3 | RESULT, 0, 0},
    {"sub of a repeated middle", sub, 2, {dt_dims(5, 3, 8), dt_dims(5, 1, 8)}, 3 | RESULT, 0, 0},
    {"sub of a scalar", sub, 2, {dt_dims(5, 3, 7), {0}}, 3 | RESULT, 0, 0},
    {"gelu", gelu, 1, {dt_dims(4099)}, 1 | RESULT, 4e-7, 0},
    {"gelu_grad", gelu_grad, 2, {dt_dims(8, 129), dt_dims(8, 129)}, 3 | RESULT, 2e-6, 0},
    {"gelu_grad of whole blocks", gelu_grad, 2, {dt_dims(8, 1029), dt_dims(8, 1029)}, 3 | RESULT, 2e-6, 0},
    {"gelu_grad of whole blocks, of either type", gelu_grad, 2, {dt_dims(8, 1029), dt_dims(8, 1029)}, 1 | RESULT, 2e-6, 0},
    {"add of whole blocks", add, 2, {dt_dims(5003), dt_dims(5003)}, 3 | RESULT, 0, 0},
    {"add of whole blocks, of either type", add, 2, {dt_dims(5003), dt_dims(5003)}, 2, 0, 0},
    {"add of whole blocks and no more", add, 2, {dt_dims(4096), dt_dims(4096)}, 3 | RESULT, 0, 0},
    {"sub of a row, whole blocks", sub, 2, {dt_dims(600, 8), dt_dims(8)}, 3 | RESULT, 0, 0},
    {"sub of a column, whole blocks", sub, 2, {dt_dims(600, 8), dt_dims(600, 1)}, 3 | RESULT, 0, 0},
    {"gelu of whole blocks", gelu, 1, {dt_dims(9001)}, 1 | RESULT, 4e-7, 0},
    {"gelu of whole blocks, wide to narrow", gelu, 1, {dt_dims(9001)}, RESULT, 4e-7, 0},
    {"cast to wide", cast, 1, {dt_dims(1025)}, 1, 0, 0},
    {"cast to narrow", cast, 1, {dt_dims(3, 1027)}, RESULT, 0, 0},
    {"transpose", turn_last, 1, {dt_dims(2, 70, 133)}, 1 | RESULT, 0, 0},
    {"transpose of wides", turn_last, 1, {dt_dims(2, 70, 133)}, 0, 0, 0},
    {"transpose, last first", turn_all, 1, {dt_dims(3, 5, 67)}, 1 | RESULT, 0, 0},
    {"transpose of few", turn_all, 1, {dt_dims(3, 5, 7)}, 1 | RESULT, 0, 0},
    {"transpose of four axes", turn_four, 1, {dt_dims(3, 5, 34, 9)}, 1 | RESULT, 0, 0},
    {"transpose of heads", heads, 1, {dt_dims(2, 5, 3, 16)}, 1 | RESULT, 0, 0},
    {"transpose of odd heads", heads, 1, {dt_dims(2, 5, 3, 7)}, 1 | RESULT, 0, 0},
    {"slice", slice, 1, {dt_dims(3, 5, 16)}, 1 | RESULT, 0, 0},
    {"odd slice", slice, 1, {dt_dims(3, 5, 7)}, 1 | RESULT, 0, 0},
    {"slice of wides", slice, 1, {dt_dims(3, 5, 8)}, 0, 0, 0},
    {"pad", pad, 1, {dt_dims(3, 5, 16)}, 1 | RESULT, 0, 0},
    {"odd pad", pad, 1, {dt_dims(3, 5, 3)}, 1 | RESULT, 0, 0},
    {"concat", concat, 3, {dt_dims(3, 1, 8), dt_dims(3, 5, 8), dt_dims(3, 2, 8)}, 7 | RESULT, 0, 0},
    {"odd concat", concat, 3, {dt_dims(3, 1, 7), dt_dims(3, 5, 7), dt_dims(3, 2, 7)}, 7 | RESULT, 0, 0},
    {"repeat the middle", repeat_middle, 1, {dt_dims(3, 1, 8)}, 1 | RESULT, 0, 0},
    {"repeat the odd middle", repeat_middle, 1, {dt_dims(3, 1, 7)}, 1 | RESULT, 0, 0},
    {"repeat the last", repeat_last, 1, {dt_dims(9, 1)}, 1 | RESULT, 0, 0},
    {"repeat the last of wides", repeat_last, 1, {dt_dims(9, 1)}, 0, 0, 0},
    {"repeat to odd", repeat_odd, 1, {dt_dims(9, 1)}, 1 | RESULT, 0, 0},
    {"repeat one", repeat_odd, 1, {dt_dims(1, 1)}, 1 | RESULT, 0, 0},
    {"embedding", embedding, 2, {dt_dims(11, 8), dt_dims(3, 50)}, RESULT, 0, 11},
    {"odd embedding", embedding, 2, {dt_dims(11, 7), dt_dims(3, 50)}, RESULT, 0, 11},
    {"embedding_grad", embedding_grad, 3, {dt_dims(300, 8), dt_dims(5000, 8), dt_dims(5000)}, 2, 0, 300},
    {"embedding_grad of many rows", embedding_grad, 3, {dt_dims(70000, 3), dt_dims(300, 3), dt_dims(300)}, 2, 0, 70000},
    {"embedding_grad of a wide", embedding_grad, 3, {dt_dims(257, 140), dt_dims(100, 140), dt_dims(100)}, 0, 0, 257},
    {"embedding_grad of one row", embedding_grad, 3, {dt_dims(1, 4), dt_dims(2200, 4), dt_dims(2200)}, 0, 0, 1},
    {"embedding_grad of one id", embedding_grad, 3, {dt_dims(5, 4), dt_dims(1, 4), dt_dims(1)}, 0, 0, 5},
    {"gather", gather, 2, {dt_dims(3, 5, 16), dt_dims(3)}, 1 | RESULT, 0, 5},
    {"odd gather", gather, 2, {dt_dims(3, 5, 7), dt_dims(3)}, 1 | RESULT, 0, 5},
    {"gather_grad", gather_grad, 3, {dt_dims(3, 5, 16), dt_dims(3, 16), dt_dims(3)}, 2 | RESULT, 0, 5},
    {"odd gather_grad", gather_grad, 3, {dt_dims(3, 5, 7), dt_dims(3, 7), dt_dims(3)}, 2 | RESULT, 0, 5},
    {"argmax_int", argmax_int, 1, {dt_dims(100, 77)}, 0, 0, 30},
    {"sum of short rows", sum_last, 1, {dt_dims(9, 2, 128)}, 1, 0, 0},
    {"sum of odd rows", sum_last, 1, {dt_dims(9, 2, 77)}, 1, 0, 0},
    {"sum of long rows", sum_last, 1, {dt_dims(1, 2, 40004)}, 1, 0, 0},
    {"sum of columns", sum_middle, 1, {dt_dims(2, 1100, 132)}, 1, 0, 0},
    {"sum of odd columns", sum_middle, 1, {dt_dims(2, 700, 33)}, 1, 0, 0},
    {"sum of ends", sum_ends, 1, {dt_dims(130, 3, 40)}, 1, 0, 0},
    {"softmax", softmax, 1, {dt_dims(9, 37)}, 1 | RESULT, 1e-6, 0},
    {"softmax to wide", softmax, 1, {dt_dims(3, 700)}, 1, 1e-6, 0},
    {"softmax of long rows", softmax, 1, {dt_dims(3, 1500)}, 1 | RESULT, 1e-6, 0},
    {"log_softmax", log_softmax, 1, {dt_dims(3, 300)}, 1 | RESULT, 2e-6, 0},
    {"log_softmax of very long rows", log_softmax, 1, {dt_dims(2, 5000)}, 1 | RESULT, 2e-6, 0},
};

/* ---- Operands ---- */

/* Numbers that bfloat16 holds, where an input is narrow or is added up: then they are small and whole, so that sums are exact in any
 * order. Ids: every second is 3, as padding is. */
static void draw(const row *t, int i, float *to)
{
    size_t count = (size_t)dt_count(&t->shape[i]);
    bool whole = strstr(t->name, "sum") || strstr(t->name, "embedding_grad");
    op_random(to, count, strlen(t->name) + (uint64_t)i);
    for (size_t k = 0; k < count; k++) {
        to[k] = whole ? rintf(2 * to[k]) : t->narrow >> i & 1 ? widened(narrowed(to[k])) : to[k];
        if (t->ids && i == t->inputs - 1) {
            int32_t id = k % 2 ? 3 % t->ids : (int32_t)(dt_random_block(1, 2, 3, k).v[0] % (uint32_t)t->ids);
            memcpy(&to[k], &id, sizeof id);
        }
    }
}

static dt_tensor *record(const row *t, dt_graph *g, dt_tensor **x)
{
    for (int i = 0; i < t->inputs; i++)
        x[i] = dt_input(g, "x", t->ids && i == t->inputs - 1 ? DT_I32 : DT_F32, t->shape[i]);
    return dt_keep(t->build(x, NULL));
}

/* What the CPU makes of it. */
static float *wanted(const row *t, float *const *value)
{
    dt_graph *g = dt_graph_new();
    dt_tensor *x[INPUTS], *y = record(t, g, x);
    dt_plan *plan = dt_plan_new(g, dt_cpu(), NULL);
    float *want = calloc((size_t)dt_count(&y->shape), sizeof *want);
    for (int i = 0; plan && i < t->inputs; i++)
        dt_plan_write(plan, x[i], value[i]);
    ok(plan && !dt_plan_run(plan, 1, 0) && dt_plan_read(plan, y, want), "%s on the CPU", t->name);
    dt_plan_free(plan);
    dt_graph_free(g);
    return want;
}

/* ---- One kernel ---- */

static const dt_kernel *kernel_of(const dt_op *op)
{
    op = dt_pointwise_code(op) >= 0 ? &dt_op_chain : op;
    for (const dt_kernel *const *f = op_backend()->families; *f; f++)
        for (const dt_kernel *kernel = *f; kernel->op; kernel++)
            if (kernel->op == op)
                return kernel;
    return NULL;
}

/* Device memory that begins `askew` elements after an aligned address; NULL is for the allocation to hold. */
static void *place(const dt_tensor *x, int askew, const float *value, void **allocation)
{
    size_t count = (size_t)dt_count(&x->shape), size = dt_dtype_size(x->dtype);
    uint16_t *narrow = calloc(count, sizeof *narrow);
    *allocation = op_backend()->allocate(64 + count * size);
    char *memory = (char *)*allocation + (size_t)askew * size;
    for (size_t k = 0; value && size == 2 && k < count; k++)
        narrow[k] = narrowed(value[k]);
    if (value)
        op_backend()->write(memory, size == 2 ? (const void *)narrow : value, count * size);
    free(narrow);
    return memory;
}

static void fetch(const dt_tensor *y, const void *memory, float *to)
{
    size_t count = (size_t)dt_count(&y->shape);
    uint16_t *narrow = calloc(count, sizeof *narrow);
    if (y->dtype == DT_BF16)
        op_backend()->read(narrow, memory, count * sizeof *narrow);
    else
        op_backend()->read(to, memory, count * sizeof *to);
    for (size_t k = 0; y->dtype == DT_BF16 && k < count; k++)
        to[k] = widened(narrow[k]);
    free(narrow);
}

/* Runs the node that makes y. The answer is what is wrong, or NULL. */
static const char *run(const dt_tensor *y, float *const *value, dt_tensor *const *x, int inputs, int askew, float *result)
{
    static char fault[DT_MESSAGE];
    const dt_backend *backend = op_backend();
    const dt_node *node = y->node;
    const dt_kernel *kernel = kernel_of(node->op);
    dt_preparation preparation = {.node = node};
    if (!kernel || (kernel->prepare && !kernel->prepare(&preparation)))
        return kernel ? "not prepared" : "no kernel";
    void *in[INPUTS], *held[INPUTS + 2] = {0};
    for (int k = 0; k < node->inputs; k++)
        for (int i = 0; i < inputs; i++)
            if (node->input[k] == x[i])
                in[k] = place(x[i], askew, value[i], &held[k]);
    void *out = place(y, askew, NULL, &held[INPUTS]);
    if (preparation.workspace)
        held[INPUTS + 1] = backend->allocate(preparation.workspace);
    fault[0] = 0;
    kernel->run(&(dt_call){
        .node = node, .in = in, .out = &out, .workspace = held[INPUTS + 1], .state = preparation.state, .fault = fault});
    fetch(y, out, result);
    const char *trouble = backend->finish ? backend->finish() : NULL;
    for (int i = 0; i < INPUTS + 2; i++)
        if (held[i])
            backend->release(held[i]);
    if (kernel->release)
        kernel->release(preparation.state);
    return fault[0] ? fault : trouble;
}

static void compare(const row *t, const dt_tensor *y, const float *got, const float *want, const char *how)
{
    size_t count = (size_t)dt_count(&y->shape), wrong = 0, at = 0;
    for (size_t k = 0; k < count; k++) {
        bool narrow = y->dtype == DT_BF16;
        double exact = narrow && t->tolerance == 0 ? widened(narrowed(want[k])) : want[k], error = fabs(got[k] - exact);
        double allowed = t->tolerance * fmax(1, fabs(exact)) + (narrow && t->tolerance > 0 ? 0x1p-8 * fabs(exact) : 0);
        bool same = y->dtype == DT_I32 ? !memcmp(&got[k], &want[k], sizeof *got) : error <= allowed;
        at = wrong || same ? at : k;
        wrong += !same;
    }
    ok(wrong == 0, "%s%s (%zu of %zu wrong, the first at %zu: %.9g, want %.9g)", t->name, how, wrong, count, at, got[at],
       want[at]);
}

static void check(const row *t)
{
    float *value[INPUTS];
    for (int i = 0; i < t->inputs; i++) {
        value[i] = calloc((size_t)dt_count(&t->shape[i]), sizeof(float));
        draw(t, i, value[i]);
    }
    on_device = false;
    float *want = wanted(t, value);
    for (int askew = 0; askew < 2; askew++) {
        on_device = true;
        dt_graph *g = dt_graph_new();
        dt_tensor *x[INPUTS], *y = record(t, g, x);
        for (int i = 0; i < t->inputs; i++)
            x[i]->dtype = t->narrow >> i & 1 ? DT_BF16 : x[i]->dtype;
        y->dtype = t->narrow & RESULT ? DT_BF16 : y->dtype;
        float *got = calloc((size_t)dt_count(&y->shape), sizeof *got);
        const char *trouble = run(y, value, x, t->inputs, askew, got);
        if (ok(!trouble, "%s runs%s%s%s", t->name, askew ? " askew" : "", trouble ? ": " : "", trouble ? trouble : ""))
            compare(t, y, got, want, askew ? ", askew" : "");
        free(got);
        dt_graph_free(g);
    }
    for (int i = 0; i < t->inputs; i++)
        free(value[i]);
    free(want);
}

int main(void)
{
    if (op_backend() == dt_cpu())
        skip("bfloat16", "the CPU computes in float32");
    else
        for (size_t i = 0; i < sizeof table / sizeof *table; i++)
            check(&table[i]);
    return done();
}
