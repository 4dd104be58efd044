/* Plans of DT_MIXED precision. A graph is recorded in float32; here each result is given the type that it is held in, by what the kernels
 * that make it and read it declare (dt_narrow), and casts are put where a reader wants the other type. What the host reads, what
 * goes into gradients and buffers, and what nothing but float32 kernels reads stays float32. */
#include "kernels/ops.h"
#include "kernels/planning.h"

#include <stdlib.h>
#include <string.h>

/* What is known of a tensor of the graph, by its id. */
typedef struct fate {
    dt_tensor *now;                /* the handle that stands for it; NULL: its own */
    dt_tensor *wide, *narrow;      /* a copy of the other type, once somebody wanted one */
    bool pinned;                   /* float32 because the host, a gradient or a buffer gets it */
    bool wanted;                   /* some reader takes bfloat16 */
} fate;

typedef struct narrowing {
    dt_schedule_list *list;
    const dt_backend *backend;
    fate *fate;
    const dt_node **node; /* the list that is made */
    int count, capacity;
    bool failed;          /* no memory */
} narrowing;

/* Which operands of a node may be bfloat16. */
typedef struct rule {
    dt_narrow kind;
    unsigned in, out;
} rule;

static rule rule_of(const narrowing *w, const dt_node *node)
{
    const dt_kernel *kernel = dt_kernel_of(w->backend, node->op);
    if (node->op->flags & DT_OP_VIEW)
        return (rule){DT_NARROW_SAME, 1, 1};
    return kernel ? (rule){kernel->narrow, kernel->narrow_in, kernel->narrow_out} : (rule){DT_WIDE, 0, 0};
}

static bool names(unsigned mask, int i)
{
    return mask >> (i < 31 ? i : 31) & 1;
}

/* The residual of a linear node is added to the result, the slope at x multiplied into that of a matmul: they may be of any type, and
 * are not operands of the product. */
static bool in_product(const dt_node *node, int i)
{
    if (node->op == &dt_op_matmul)
        return i < 2;
    return node->op != &dt_op_linear || !((const dt_linear_form *)node->attributes)->residual || i < node->inputs - 1;
}

/* ---- What is wanted ---- */

static void pin(narrowing *w, const dt_tensor *x)
{
    w->fate[x->id].pinned = true;
    w->fate[dt_view_root(x)->id].pinned = true;
}

static void ask(narrowing *w)
{
    const dt_graph *g = w->list->graph;
    for (int i = 0; i < g->keeps; i++)
        pin(w, g->kept[i]);
    for (int k = w->list->count - 1; k >= 0; k--) {
        const dt_node *node = w->list->node[k];
        rule r = rule_of(w, node);
        bool view = node->op->flags & DT_OP_VIEW;
        for (int i = 0; i < node->inputs; i++) {
            if (node->op == &dt_op_store)
                pin(w, node->input[i]);
            bool asks = r.kind != DT_WIDE && r.kind != DT_NARROW_TAKES && names(r.in, i);
            w->fate[node->input[i]->id].wanted |= view ? w->fate[node->output[0].id].wanted : asks;
        }
    }
}

/* ---- Nodes that are added ---- */

static void append(narrowing *w, const dt_node *node)
{
    if (w->count == w->capacity) {
        int wanted = w->capacity * 2 + 64;
        const dt_node **larger = realloc(w->node, sizeof *larger * (size_t)wanted);
        if (!larger) {
            w->failed = true;
            return;
        }
        w->node = larger;
        w->capacity = wanted;
    }
    w->node[w->count++] = node;
}

/* A node with one output like x, of the given type and a new id. */
static dt_node *new_node(narrowing *w, const dt_op *op, const dt_tensor *x, dt_dtype dtype)
{
    dt_node *node = dt_arena_alloc(w->list->arena, sizeof *node);
    if (!node) {
        w->failed = true;
        return NULL;
    }
    *node = *x->node;
    node->op = op;
    node->inputs = 0;
    node->outputs = 1;
    node->output[0] = (dt_tensor){.node = node, .id = w->list->tensors++, .dtype = dtype, .shape = x->shape};
    return node;
}

static dt_tensor *cast(narrowing *w, dt_tensor *x, dt_dtype dtype)
{
    dt_node *node = new_node(w, &dt_op_cast, x, dtype);
    dt_tensor **input = node ? dt_arena_alloc(w->list->arena, sizeof *input) : NULL;
    if (!input) {
        w->failed = true;
        return x;
    }
    *input = x;
    node->input = input;
    node->inputs = 1;
    append(w, node);
    return &node->output[0];
}

/* The bfloat16 values of a trained parameter lie ready; of a view of one, those in its shape. */
static dt_tensor *narrow_parameter(narrowing *w, const dt_tensor *x)
{
    const dt_tensor *root = dt_view_root(x);
    const dt_params *params = w->list->graph->params;
    if (root->node->op != &dt_op_param || !dt_params_info(params, *(const int *)root->node->attributes)->trainable)
        return NULL;
    dt_node *node = new_node(w, &dt_op_param, x, DT_BF16);
    if (node)
        node->attributes = root->node->attributes;
    return node ? &node->output[0] : NULL;
}

static dt_tensor *now_of(const narrowing *w, dt_tensor *x)
{
    return w->fate[x->id].now ? w->fate[x->id].now : x;
}

/* x, an input of the graph as recorded, in the wanted type. */
static dt_tensor *as(narrowing *w, dt_tensor *x, bool narrow)
{
    fate *f = &w->fate[x->id];
    dt_tensor *now = now_of(w, x);
    if (now->dtype == (narrow ? DT_BF16 : DT_F32))
        return now;
    dt_tensor **other = narrow ? &f->narrow : &f->wide;
    if (!*other && narrow)
        *other = narrow_parameter(w, now);
    if (!*other)
        *other = cast(w, now, narrow ? DT_BF16 : DT_F32);
    return *other;
}

/* ---- Each node ---- */

static bool is_narrow(const narrowing *w, const dt_tensor *x)
{
    const fate *f = &w->fate[x->id];
    return f->now && f->now->dtype == DT_BF16;
}

/* Whether the node's named operands are narrow, as far as one answer holds for all. */
static bool goes_narrow(const narrowing *w, const dt_node *node, rule r)
{
    bool some = false, held = false;
    for (int i = 0; i < node->inputs; i++)
        some |= names(r.in, i) && is_narrow(w, node->input[i]);
    for (int o = 0; o < node->outputs; o++)
        held |= names(r.out, o) && w->fate[node->output[o].id].pinned;
    switch (r.kind) {
    case DT_WIDE: return false;
    case DT_NARROW_EACH:
    case DT_NARROW_TAKES: return some;
    case DT_NARROW_SAME: return some && !held;
    default: return true;
    }
}

static bool wants_narrow_input(rule r, const dt_node *node, int i, bool narrow, bool is)
{
    if (node->input[i]->dtype != DT_F32 || r.kind == DT_WIDE || !names(r.in, i))
        return false;
    switch (r.kind) {
    case DT_NARROW_SAME: return narrow;
    case DT_NARROW_PRODUCT:
    case DT_NARROW_PRODUCT_SAME: return !in_product(node, i) ? is : true;
    default: return is; /* as it comes */
    }
}

static bool gives_narrow(const narrowing *w, rule r, const dt_tensor *y, int o, bool narrow)
{
    const fate *f = &w->fate[y->id];
    if (y->dtype != DT_F32 || !narrow || !names(r.out, o))
        return false;
    if (r.kind == DT_NARROW_SAME || r.kind == DT_NARROW_PRODUCT_SAME)
        return true;
    return f->wanted && !f->pinned;
}

static void translate(narrowing *w, const dt_node *old)
{
    rule r = rule_of(w, old);
    bool narrow = goes_narrow(w, old, r);
    dt_node *node = dt_arena_alloc(w->list->arena, sizeof *node);
    dt_tensor **input = dt_arena_alloc(w->list->arena, sizeof *input * (size_t)(old->inputs + 1));
    if (!node || !input) {
        w->failed = true;
        return;
    }
    *node = *old;
    node->input = input;
    for (int i = 0; i < old->inputs; i++) {
        bool is = is_narrow(w, old->input[i]);
        input[i] = old->input[i]->dtype == DT_F32 ? as(w, old->input[i], wants_narrow_input(r, old, i, narrow, is))
                                                  : now_of(w, old->input[i]);
    }
    append(w, node);
    for (int o = 0; o < node->outputs; o++) {
        dt_tensor *y = &node->output[o];
        fate *f = &w->fate[y->id];
        y->node = node;
        f->now = y;
        if (!gives_narrow(w, r, y, o, narrow))
            continue;
        dt_tensor wide = *y;
        y->dtype = DT_BF16;
        if (!f->pinned)
            continue;
        y->id = w->list->tensors++; /* the kernel cannot but make bfloat16: the result itself is a cast of it */
        f->now = cast(w, y, DT_F32);
        f->now->id = wide.id;
    }
}

bool dt_narrow_results(dt_schedule_list *list, const dt_backend *backend)
{
    narrowing w = {.list = list, .backend = backend, .fate = calloc((size_t)list->tensors + 1, sizeof *w.fate)};
    if (!w.fate)
        return false;
    ask(&w);
    for (int k = 0; k < list->count && !w.failed; k++)
        translate(&w, list->node[k]);
    const dt_node **node = dt_arena_alloc(list->arena, sizeof *node * (size_t)(w.count + 1));
    if (node && w.count)
        memcpy(node, w.node, sizeof *node * (size_t)w.count);
    list->node = node;
    list->count = w.count;
    free(w.node);
    free(w.fate);
    return node && !w.failed;
}
