#include "kernels/graph.h"

#include "kernels/op.h"
#include "kernels/params.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const dt_op dt_op_input = {.name = "input", .flags = DT_OP_LEAF};
const dt_op dt_op_constant = {.name = "constant", .flags = DT_OP_LEAF};
const dt_op dt_op_param = {.name = "parameter", .flags = DT_OP_LEAF};

dt_graph *dt_graph_new(void)
{
    dt_graph *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->arena = dt_arena_new();
    g->label = "";
    g->poison_node = (dt_node){.op = &dt_op_input, .graph = g, .id = -1, .label = ""};
    g->poison = (dt_tensor){.node = &g->poison_node, .id = -1};
    if (!g->arena)
        g->error = "out of memory while starting a graph";
    return g;
}

void dt_graph_free(dt_graph *g)
{
    if (!g)
        return;
    dt_arena_free(g->arena);
    free(g->node);
    free(g->kept);
    free(g->param);
    free(g);
}

dt_graph *dt_graph_of(const dt_tensor *x)
{
    return x->node->graph;
}

const char *dt_graph_error(const dt_graph *g)
{
    return g->error;
}

dt_tensor *dt_graph_fail(dt_graph *g, const char *op, const char *format, ...)
{
    if (g->error)
        return &g->poison;
    char message[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    const char *in = *g->label ? " (in " : "", *close = *g->label ? ")" : "";
    g->error = dt_arena_print(g->arena, "%s%s%s%s: %s", op, in, g->label, close, message);
    if (!g->error)
        g->error = "out of memory while recording";
    return &g->poison;
}

/* Makes room for one more element of `size` bytes. */
static bool grow(void **array, int used, int *capacity, size_t size)
{
    if (used < *capacity)
        return true;
    int wanted = *capacity ? *capacity * 2 : 64;
    void *larger = realloc(*array, (size_t)wanted * size);
    if (!larger)
        return false;
    *array = larger;
    *capacity = wanted;
    return true;
}

dt_tensor *dt_record(dt_graph *g, const dt_op *op, const void *attributes, size_t size, int inputs,
                     dt_tensor *const *input, int outputs, const dt_result *result)
{
    if (g->error)
        return &g->poison;
    for (int i = 0; i < inputs; i++)
        if (input[i]->node->graph != g)
            return dt_graph_fail(g, op->name, "argument %d belongs to another graph", i + 1);
    for (int j = 0; j < outputs; j++)
        if (!dt_shape_valid(&result[j].shape))
            return dt_graph_fail(g, op->name, "the result would have the shape %s; every dimension must be at "
                                              "least 1 and the element count at most 2^40",
                                 dt_shape_text(&result[j].shape).chars);
    dt_node *node = dt_arena_alloc(g->arena, sizeof *node);
    dt_tensor **in = dt_arena_alloc(g->arena, sizeof(dt_tensor *) * (size_t)(inputs ? inputs : 1));
    void *copy = size ? dt_arena_alloc(g->arena, size) : NULL;
    if (!node || !in || (size && !copy) || !grow((void **)&g->node, g->nodes, &g->capacity, sizeof *g->node))
        return dt_graph_fail(g, op->name, "out of memory while recording");
    if (size)
        memcpy(copy, attributes, size);
    for (int i = 0; i < inputs; i++)
        in[i] = input[i];
    *node = (dt_node){.op = op, .graph = g, .id = g->nodes, .inputs = inputs, .outputs = outputs, .input = in,
                      .attributes = copy, .label = g->label};
    for (int j = 0; j < outputs; j++)
        node->output[j] = (dt_tensor){.node = node, .output = j, .id = g->tensors++, .dtype = result[j].dtype,
                                      .shape = result[j].shape};
    g->node[g->nodes++] = node;
    return outputs ? &node->output[0] : &g->poison;
}

dt_tensor *dt_record1(dt_graph *g, const dt_op *op, const void *attributes, size_t size, dt_shape shape,
                      dt_tensor *a, dt_tensor *b, dt_tensor *c, dt_tensor *d)
{
    dt_tensor *const input[] = {a, b, c, d};
    int inputs = 0;
    while (inputs < 4 && input[inputs])
        inputs++;
    return dt_record(g, op, attributes, size, inputs, input, 1, &(dt_result){DT_F32, shape});
}

dt_tensor *dt_output_of(dt_tensor *x, int j)
{
    return j < x->node->outputs ? &x->node->output[j] : x;
}

int dt_random_stream(dt_graph *g)
{
    return g->streams++;
}

dt_tensor *dt_input(dt_graph *g, const char *name, dt_dtype dtype, dt_shape shape)
{
    char copy[64];
    snprintf(copy, sizeof copy, "%s", name);
    return dt_record(g, &dt_op_input, copy, sizeof copy, 0, NULL, 1, &(dt_result){dtype, shape});
}

dt_tensor *dt_constant(dt_graph *g, dt_shape shape, const float *values)
{
    if (!dt_shape_valid(&shape))
        return dt_graph_fail(g, "constant", "impossible shape %s", dt_shape_text(&shape).chars);
    size_t size = sizeof(float) * (size_t)dt_count(&shape);
    return dt_record(g, &dt_op_constant, values, size, 0, NULL, 1, &(dt_result){DT_F32, shape});
}

dt_tensor *dt_keep(dt_tensor *x)
{
    dt_graph *g = dt_graph_of(x);
    if (g->error)
        return x;
    if (!grow((void **)&g->kept, g->keeps, &g->keep_capacity, sizeof *g->kept))
        return dt_graph_fail(g, "keep", "out of memory while recording");
    g->kept[g->keeps++] = x;
    return x;
}

dt_scope dt_in(dt_scope scope, const char *format, ...)
{
    char name[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    const char *dot = *scope.prefix ? "." : "";
    const char *prefix = dt_arena_print(scope.graph->arena, "%s%s%s", scope.prefix, dot, name);
    if (!prefix)
        dt_graph_fail(scope.graph, name, "out of memory while recording");
    else
        scope.prefix = scope.graph->label = prefix;
    return scope;
}
