#include "kernels/params.h"

#include "kernels/op.h"
#include "kernels/param_sides.h"
#include "kernels/random.h"
#include "kernels/store.h"

#include <stdlib.h>
#include <string.h>

dt_params *dt_params_new(void)
{
    dt_params *params = calloc(1, sizeof *params);
    if (params && !(params->arena = dt_arena_new())) {
        free(params);
        return NULL;
    }
    return params;
}

void dt_params_free(dt_params *params)
{
    if (!params)
        return;
    dt_arena_free(params->arena);
    free(params->info);
    free(params->lent);
    dt_params_leave(params);
    for (int i = 0; i < DT_SIDES; i++)
        free(params->blocks[i]);
    free(params);
}

int dt_params_find(const dt_params *params, const char *name)
{
    for (int i = 0; i < params->count; i++)
        if (!strcmp(params->info[i].name, name))
            return i;
    return -1;
}

static int declare(dt_params *params, const char *name, dt_shape shape, dt_init init, bool trainable)
{
    if (params->count == params->capacity) {
        int wanted = params->capacity ? params->capacity * 2 : 64;
        dt_param_info *larger = realloc(params->info, sizeof *larger * (size_t)wanted);
        if (!larger)
            return -1;
        params->info = larger;
        params->capacity = wanted;
    }
    size_t *end = trainable ? &params->size : &params->buffer_size;
    char *copy = dt_arena_print(params->arena, "%s", name);
    if (!copy)
        return -1;
    size_t count = (size_t)dt_count(&shape);
    params->info[params->count] = (dt_param_info){.name = copy, .shape = shape, .init = init, .trainable = trainable,
                                                  .decay = trainable && shape.rank >= 2, .rate = 1, .offset = *end, .count = count};
    *end += (count + 15) / 16 * 16; /* every parameter starts at a cache line */
    return params->count++;
}

/* One leaf for each parameter in a graph, however often it is used. */
static dt_tensor *leaf(dt_graph *g, dt_params *params, int i)
{
    if (i >= g->param_capacity) {
        int wanted = i * 2 + 64;
        dt_tensor **larger = realloc(g->param, sizeof *larger * (size_t)wanted);
        if (!larger)
            return dt_graph_fail(g, "parameter", "out of memory while recording");
        memset(larger + g->param_capacity, 0, sizeof *larger * (size_t)(wanted - g->param_capacity));
        g->param = larger;
        g->param_capacity = wanted;
    }
    if (!g->param[i])
        g->param[i] = dt_record(g, &dt_op_param, &i, sizeof i, 0, NULL, 1,
                                &(dt_result){DT_F32, params->info[i].shape});
    return g->param[i];
}

static dt_tensor *use(dt_scope scope, const char *name, dt_shape shape, dt_init init, bool trainable)
{
    dt_graph *g = scope.graph;
    dt_params *params = scope.params;
    if (g->error)
        return &g->poison;
    if (g->params && g->params != params)
        return dt_graph_fail(g, "parameter", "%s belongs to another set of parameters", name);
    if (!dt_shape_valid(&shape))
        return dt_graph_fail(g, "parameter", "%s cannot have the shape %s", name, dt_shape_text(&shape).chars);
    g->params = params;
    const char *dot = *scope.prefix ? "." : "";
    char *full = dt_arena_print(g->arena, "%s%s%s", scope.prefix, dot, name);
    if (!full)
        return dt_graph_fail(g, "parameter", "out of memory while recording");
    g->label = scope.prefix;
    int i = dt_params_find(params, full);
    if (i < 0 && params->side[DT_SIDE_VALUES].host)
        return dt_graph_fail(g, "parameter", "%s is new, but the parameters are allocated already", full);
    if (i < 0 && (i = declare(params, full, shape, init, trainable)) < 0)
        return dt_graph_fail(g, "parameter", "out of memory while recording");
    if (!dt_same_shape(&params->info[i].shape, &shape) || params->info[i].trainable != trainable)
        return dt_graph_fail(g, "parameter", "%s has the shape %s, here %s is asked for", full,
                             dt_shape_text(&params->info[i].shape).chars, dt_shape_text(&shape).chars);
    return leaf(g, params, i);
}

dt_tensor *dt_param(dt_scope scope, const char *name, dt_shape shape, dt_init init)
{
    return use(scope, name, shape, init, true);
}

dt_tensor *dt_buffer(dt_scope scope, const char *name, dt_shape shape, dt_init init)
{
    return use(scope, name, shape, init, false);
}

/* FNV-1a (Fowler, Noll, Vo), 64 bits: folds a name into the seed, so that a layer starts the same whatever else
 * the model holds. */
static uint64_t hash(uint64_t seed, const char *name)
{
    uint64_t h = 0xcbf29ce484222325u ^ seed;
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    return h;
}

static void initialise(float *value, const dt_param_info *info, uint64_t seed)
{
    uint64_t key = hash(seed, info->name);
    for (size_t i = 0; i < info->count; i += 4) {
        dt_philox block = dt_random_block(key, 0, 0, i / 4);
        float sample[4];
        dt_random_normal(block.v[0], block.v[1], &sample[0], &sample[1]);
        dt_random_normal(block.v[2], block.v[3], &sample[2], &sample[3]);
        for (size_t k = 0; k < 4 && i + k < info->count; k++) {
            float uniform = 2 * dt_random_uniform(block.v[k]) - 1;
            const float by_kind[] = {0, info->init.value, info->init.value * sample[k], info->init.value * uniform};
            value[i + k] = by_kind[info->init.kind];
        }
    }
}

/* Zeros at a cache line. The pages of a large block are none until somebody writes to them: gradients that nobody computes and
 * values that are lent cost no memory. */
static float *zeros(size_t count, void **block)
{
    enum { LINE = 64 };
    *block = count <= SIZE_MAX / sizeof(float) - LINE ? calloc(count * sizeof(float) + LINE, 1) : NULL;
    return *block ? (float *)(((uintptr_t)*block + LINE - 1) & ~(uintptr_t)(LINE - 1)) : NULL;
}

static bool make_room(dt_params *params)
{
    const size_t count[] = {params->size, params->size, params->buffer_size};
    bool good = true;
    for (int i = 0; i < DT_SIDES; i++) {
        params->side[i] = (dt_side){.host = zeros(count[i], &params->blocks[i]), .count = count[i]};
        good = good && params->side[i].host;
    }
    return good;
}

bool dt_params_allocate(dt_params *params, uint64_t seed)
{
    if (!make_room(params))
        return false;
    for (int i = 0; i < params->count; i++)
        initialise(dt_params_value(params, i), &params->info[i], seed);
    return true;
}

bool dt_params_place(dt_params *params, const float *const *lent)
{
    if (lent && !(params->lent = calloc((size_t)params->count + 1, sizeof *params->lent)))
        return false;
    for (int i = 0; lent && i < params->count; i++)
        params->lent[i] = lent[i];
    return make_room(params);
}

bool dt_params_allocated(const dt_params *params)
{
    return params->side[DT_SIDE_VALUES].host != NULL;
}

int dt_params_count(const dt_params *params)
{
    return params->count;
}

const dt_param_info *dt_params_info(const dt_params *params, int i)
{
    return &params->info[i];
}

void dt_params_set_rate(dt_params *params, int i, float rate)
{
    params->info[i].rate = rate;
    params->rates++;
}

size_t dt_params_size(const dt_params *params)
{
    return params->size;
}

size_t dt_params_buffer_size(const dt_params *params)
{
    return params->buffer_size;
}

size_t dt_params_trainable(const dt_params *params)
{
    size_t total = 0;
    for (int i = 0; i < params->count; i++)
        total += params->info[i].trainable ? params->info[i].count : 0;
    return total;
}

const dt_op dt_op_store = {.name = "store", .flags = DT_OP_EFFECT};

static void store(dt_tensor *leaf_of, dt_tensor *value, dt_store_target target)
{
    dt_graph *g = dt_graph_of(value);
    if (g->error)
        return;
    if (leaf_of->node->op != &dt_op_param || !dt_same_shape(&leaf_of->shape, &value->shape)) {
        dt_graph_fail(g, "store", "a value of shape %s cannot go to a parameter of shape %s",
                      dt_shape_text(&value->shape).chars, dt_shape_text(&leaf_of->shape).chars);
        return;
    }
    dt_store what = {.param = *(const int *)leaf_of->node->attributes, .target = target};
    dt_record(g, &dt_op_store, &what, sizeof what, 1, &value, 0, NULL);
}

void dt_update(dt_tensor *buffer, dt_tensor *value)
{
    store(buffer, value, DT_STORE_BUFFER);
}

void dt_store_gradients_from(dt_tensor *const *ys, dt_tensor *const *dys, int results, bool accumulate)
{
    dt_graph *g = dt_graph_of(ys[0]);
    if (g->error || !g->params)
        return;
    if (g->params->lent) {
        dt_graph_fail(g, "gradient", "the parameters are lent, so they cannot be trained; copy them into a model of their own");
        return;
    }
    dt_tensor **wrt = dt_arena_alloc(g->arena, sizeof *wrt * (size_t)g->param_capacity);
    dt_tensor **gradient = dt_arena_alloc(g->arena, sizeof *gradient * (size_t)g->param_capacity);
    if (!wrt || !gradient) {
        dt_graph_fail(g, "gradient", "out of memory while recording");
        return;
    }
    int count = 0;
    for (int i = 0; i < g->param_capacity && i < g->params->count; i++)
        if (g->param[i] && g->params->info[i].trainable && g->params->info[i].rate > 0)
            wrt[count++] = g->param[i];
    dt_gradient_from(ys, dys, results, wrt, count, gradient);
    for (int i = 0; i < count; i++)
        store(wrt[i], gradient[i], accumulate ? DT_STORE_ADD_GRADIENT : DT_STORE_GRADIENT);
}

void dt_store_gradients(dt_tensor *loss, bool accumulate)
{
    dt_graph *g = dt_graph_of(loss);
    if (dt_count(&loss->shape) != 1)
        dt_graph_fail(g, "gradient", "the loss must be a scalar, not %s", dt_shape_text(&loss->shape).chars);
    dt_tensor *one = dt_fill(g, loss->shape, 1);
    dt_store_gradients_from(&loss, &one, 1, accumulate);
}
