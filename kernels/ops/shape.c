#include "kernels/ops/shape.h"

#include "kernels/ops.h"

#define FAIL(x, op, ...) return dt_graph_fail(dt_graph_of(x), op, __VA_ARGS__)

static void reshape_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    (void)g;
    dx[0] = dt_reshape(dy[0], node->input[0]->shape);
}

const dt_op dt_op_reshape = {"reshape", DT_OP_VIEW, reshape_gradient, NULL};

static dt_tensor *view(dt_tensor *x, dt_shape shape)
{
    return dt_record(dt_graph_of(x), &dt_op_reshape, NULL, 0, 1, &x, 1, &(dt_result){x->dtype, shape});
}

dt_tensor *dt_identity(dt_tensor *x)
{
    return view(x, x->shape);
}

static const dt_op op_stop_gradient = {"stop_gradient", DT_OP_VIEW, NULL, NULL};

dt_tensor *dt_stop_gradient(dt_tensor *x)
{
    return dt_record(dt_graph_of(x), &op_stop_gradient, NULL, 0, 1, &x, 1, &(dt_result){x->dtype, x->shape});
}

dt_tensor *dt_reshape(dt_tensor *x, dt_shape shape)
{
    int64_t known = 1, count = dt_count(&x->shape);
    int unknown = -1;
    for (int i = 0; i < shape.rank && i < DT_MAX_RANK; i++) {
        if (shape.dim[i] == -1 && unknown < 0)
            unknown = i;
        else if (__builtin_mul_overflow(known, shape.dim[i], &known))
            known = 0;
    }
    if (unknown >= 0 && known > 0)
        shape.dim[unknown] = count / known;
    if (!dt_shape_valid(&shape) || dt_count(&shape) != count)
        FAIL(x, "reshape", "%s cannot become %s", dt_shape_text(&x->shape).chars, dt_shape_text(&shape).chars);
    return dt_same_shape(&x->shape, &shape) ? x : view(x, shape);
}

static void transpose_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    (void)g;
    const dt_permutation *p = node->attributes;
    int inverse[DT_MAX_RANK];
    for (int i = 0; i < node->output[0].shape.rank; i++)
        inverse[p->axis[i]] = i;
    dx[0] = dt_transpose(dy[0], inverse);
}

const dt_op dt_op_transpose = {"transpose", DT_OP_PLAIN, transpose_gradient, NULL};

dt_tensor *dt_transpose(dt_tensor *x, const int *permutation)
{
    dt_permutation p = {0};
    dt_shape shape = {.rank = x->shape.rank};
    unsigned seen = 0;
    for (int i = 0; i < shape.rank; i++) {
        int axis = permutation[i];
        if (axis < 0 || axis >= shape.rank || seen >> axis & 1)
            FAIL(x, "transpose", "axis %d appears twice or is not in 0..%d", axis, shape.rank - 1);
        seen |= 1u << axis;
        p.axis[i] = axis;
        shape.dim[i] = x->shape.dim[axis];
    }
    if (x->dtype != DT_F32)
        FAIL(x, "transpose", "expected float32, got %s", dt_dtype_name(x->dtype));
    return dt_record1(dt_graph_of(x), &dt_op_transpose, &p, sizeof p, shape, x, NULL, NULL, NULL);
}

/* Resolves a negative axis; -1: there is no such axis. */
static int resolve(const dt_tensor *x, int axis)
{
    int resolved = axis < 0 ? axis + x->shape.rank : axis;
    return resolved < 0 || resolved >= x->shape.rank ? -1 : resolved;
}

static void slice_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    (void)g;
    const dt_axis_range *r = node->attributes;
    dx[0] = dt_pad(dy[0], r->axis, r->start, node->input[0]->shape.dim[r->axis] - r->start - r->length);
}

const dt_op dt_op_slice = {"slice", DT_OP_PLAIN, slice_gradient, NULL};

dt_tensor *dt_slice(dt_tensor *x, int axis, int64_t start, int64_t length)
{
    dt_axis_range r = {resolve(x, axis), start, length};
    if (r.axis < 0 || start < 0 || length < 1 || start > x->shape.dim[r.axis] - length)
        FAIL(x, "slice", "%lld from %lld along axis %d is not inside %s", (long long)length, (long long)start, axis,
             dt_shape_text(&x->shape).chars);
    dt_shape shape = x->shape;
    shape.dim[r.axis] = length;
    return dt_record(dt_graph_of(x), &dt_op_slice, &r, sizeof r, 1, &x, 1, &(dt_result){x->dtype, shape});
}

static void pad_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    (void)g;
    const dt_axis_range *r = node->attributes;
    dx[0] = dt_slice(dy[0], r->axis, r->start, node->input[0]->shape.dim[r->axis]);
}

const dt_op dt_op_pad = {"pad", DT_OP_PLAIN, pad_gradient, NULL};

dt_tensor *dt_pad(dt_tensor *x, int axis, int64_t before, int64_t after)
{
    dt_axis_range r = {resolve(x, axis), before, 0};
    if (x->dtype != DT_F32)
        FAIL(x, "pad", "expected float32, got %s", dt_dtype_name(x->dtype));
    if (r.axis < 0 || before < 0 || after < 0 || before > 1LL << 40 || after > 1LL << 40)
        FAIL(x, "pad", "%lld before and %lld after along axis %d of %s", (long long)before, (long long)after, axis,
             dt_shape_text(&x->shape).chars);
    if (!before && !after)
        return x;
    dt_shape shape = x->shape;
    shape.dim[r.axis] = r.length = before + x->shape.dim[r.axis] + after;
    return dt_record1(dt_graph_of(x), &dt_op_pad, &r, sizeof r, shape, x, NULL, NULL, NULL);
}

static void concat_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    (void)g;
    int axis = ((const dt_axis_range *)node->attributes)->axis;
    for (int64_t i = 0, start = 0; i < node->inputs; i++) {
        int64_t length = node->input[i]->shape.dim[axis];
        dx[i] = dt_slice(dy[0], axis, start, length);
        start += length;
    }
}

const dt_op dt_op_concat = {"concat", DT_OP_PLAIN, concat_gradient, NULL};

dt_tensor *dt_concat(dt_tensor *const *xs, int count, int axis)
{
    dt_axis_range r = {resolve(xs[0], axis), 0, 0};
    dt_shape shape = xs[0]->shape;
    if (xs[0]->dtype != DT_F32)
        FAIL(xs[0], "concat", "expected float32, got %s", dt_dtype_name(xs[0]->dtype));
    if (r.axis < 0)
        FAIL(xs[0], "concat", "%s has no axis %d", dt_shape_text(&shape).chars, axis);
    for (int i = 1; i < count; i++) {
        dt_shape other = xs[i]->shape;
        int64_t length = r.axis < other.rank ? other.dim[r.axis] : 0;
        other.dim[r.axis] = shape.dim[r.axis];
        if (!dt_same_shape(&other, &shape) || xs[i]->dtype != DT_F32)
            FAIL(xs[0], "concat", "%s does not go with %s along axis %d", dt_shape_text(&xs[i]->shape).chars,
                 dt_shape_text(&xs[0]->shape).chars, axis);
        shape.dim[r.axis] += length;
    }
    return dt_record(dt_graph_of(xs[0]), &dt_op_concat, &r, sizeof r, count, xs, 1, &(dt_result){DT_F32, shape});
}

static void broadcast_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    (void)g;
    dx[0] = dt_sum_to(dy[0], node->input[0]->shape);
}

const dt_op dt_op_broadcast = {"broadcast", DT_OP_PLAIN, broadcast_gradient, NULL};

dt_tensor *dt_broadcast_to(dt_tensor *x, dt_shape shape)
{
    bool fits = x->shape.rank <= shape.rank && x->dtype == DT_F32;
    for (int i = 1; fits && i <= x->shape.rank; i++) {
        int64_t from = x->shape.dim[x->shape.rank - i];
        fits = from == 1 || from == shape.dim[shape.rank - i];
    }
    if (!fits)
        FAIL(x, "broadcast", "%s does not broadcast to %s", dt_shape_text(&x->shape).chars,
             dt_shape_text(&shape).chars);
    if (dt_same_shape(&x->shape, &shape))
        return x;
    return dt_record1(dt_graph_of(x), &dt_op_broadcast, NULL, 0, shape, x, NULL, NULL, NULL);
}

/* Float32 and bfloat16, from one to the other: what plans put between results of different types. */
const dt_op dt_op_cast = {.name = "cast"};

const dt_op dt_op_fill = {.name = "fill"};

dt_tensor *dt_fill(dt_graph *g, dt_shape shape, float value)
{
    return dt_record(g, &dt_op_fill, &value, sizeof value, 0, NULL, 1, &(dt_result){DT_F32, shape});
}

/* The gradient of a lookup adds rows at ids, and the gradient of that is the lookup: the pair is closed. */
static dt_tensor *embedding_grad(dt_tensor *dy, dt_tensor *ids, dt_shape table)
{
    return dt_record1(dt_graph_of(dy), &dt_op_embedding_grad, NULL, 0, table, dy, ids, NULL, NULL);
}

static void embedding_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    (void)g;
    dx[0] = embedding_grad(dy[0], node->input[1], node->input[0]->shape);
}

static void embedding_grad_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    (void)g;
    dx[0] = dt_embedding(dy[0], node->input[1]);
}

const dt_op dt_op_embedding = {"embedding", DT_OP_PLAIN, embedding_gradient, NULL};
const dt_op dt_op_embedding_grad = {"embedding_grad", DT_OP_PLAIN, embedding_grad_gradient, NULL};

dt_tensor *dt_embedding(dt_tensor *table, dt_tensor *ids)
{
    if (table->shape.rank != 2 || table->dtype != DT_F32 || ids->dtype != DT_I32 || ids->shape.rank >= DT_MAX_RANK)
        FAIL(table, "embedding", "expected a float32 table [rows, width] and int32 ids, got %s %s and %s %s",
             dt_dtype_name(table->dtype), dt_shape_text(&table->shape).chars, dt_dtype_name(ids->dtype),
             dt_shape_text(&ids->shape).chars);
    dt_shape shape = ids->shape;
    shape.dim[shape.rank++] = table->shape.dim[1];
    return dt_record1(dt_graph_of(table), &dt_op_embedding, NULL, 0, shape, table, ids, NULL, NULL);
}

static void gather_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    dx[0] = dt_record1(g, &dt_op_gather_grad, NULL, 0, node->input[0]->shape, dy[0], node->input[1], NULL, NULL);
}

static void gather_grad_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    (void)g;
    dx[0] = dt_gather(dy[0], node->input[1]);
}

const dt_op dt_op_gather = {"gather", DT_OP_PLAIN, gather_gradient, NULL};
const dt_op dt_op_gather_grad = {"gather_grad", DT_OP_PLAIN, gather_grad_gradient, NULL};

dt_tensor *dt_gather(dt_tensor *x, dt_tensor *index)
{
    const dt_shape *s = &x->shape;
    if (s->rank != 3 || x->dtype != DT_F32 || index->shape.rank != 1 || index->dtype != DT_I32 ||
        index->shape.dim[0] != s->dim[0])
        FAIL(x, "gather", "expected float32 [n, t, w] and int32 [n], got %s %s and %s %s", dt_dtype_name(x->dtype),
             dt_shape_text(s).chars, dt_dtype_name(index->dtype), dt_shape_text(&index->shape).chars);
    return dt_record1(dt_graph_of(x), &dt_op_gather, NULL, 0, dt_dims(s->dim[0], s->dim[2]), x, index, NULL, NULL);
}

const dt_op dt_op_argmax_int = {.name = "argmax_int"};

dt_tensor *dt_argmax_int(dt_tensor *x)
{
    if (x->dtype != DT_I32 || x->shape.rank < 1)
        FAIL(x, "argmax_int", "expected int32 [..., n], got %s %s", dt_dtype_name(x->dtype),
             dt_shape_text(&x->shape).chars);
    dt_shape shape = x->shape;
    shape.rank--;
    return dt_record(dt_graph_of(x), &dt_op_argmax_int, NULL, 0, 1, &x, 1, &(dt_result){DT_I32, shape});
}
