/* Stored references for ops: runs every case of one op that ops/index.json lists and compares the value and
 * the gradients within the bounds of ops/tolerance.json. */
#ifndef DUET_TESTS_OP_GOLDEN_H
#define DUET_TESTS_OP_GOLDEN_H

#include "data/json.h"
#include "data/safetensors.h"
#include "tests/op_check.h"

/* An integer setting, `[i]` of it when it is a list; `otherwise` where it is absent. */
static inline int op_setting(const void *settings, const char *key, size_t i, int otherwise)
{
    const json_t *value = json_object_get(settings, key);
    if (json_is_array(value))
        value = json_array_get(value, i);
    return json_is_boolean(value)   ? json_is_true(value)
           : json_is_integer(value) ? (int)json_integer_value(value)
                                    : otherwise;
}

/* Images in the files are [n, c, h, w]: x, y and their gradients, when of rank 4; a weight stays as it is. */
static inline bool op_is_image(const dt_st_tensor *t)
{
    return t->rank == 4 && !strstr(t->name, "weight");
}

static inline dt_shape op_shape(const dt_st_tensor *t)
{
    dt_shape s = {.rank = t->rank};
    for (int i = 0; i < t->rank && i < DT_MAX_RANK; i++)
        s.dim[i] = t->shape[i];
    return op_is_image(t) ? dt_dims(s.dim[0], s.dim[2], s.dim[3], s.dim[1]) : s;
}

/* The values in our layout, to be freed; NULL: there is no such tensor. */
static inline float *op_values(const dt_safetensors *file, const char *name, dt_shape *shape)
{
    const dt_st_tensor *t = dt_safetensors_find(file, name);
    if (!t)
        return NULL;
    float *stored = malloc(sizeof *stored * (t->count + 1));
    float *values = malloc(sizeof *values * (t->count + 1));
    *shape = op_shape(t);
    if (!dt_st_to_float(t, stored, NULL))
        memset(stored, 0x7f, sizeof *stored * t->count);
    const int64_t channels = op_is_image(t) ? t->shape[1] : 1;
    const int64_t pixels = op_is_image(t) ? t->shape[2] * t->shape[3] : 1;
    for (size_t i = 0; i < t->count; i++) {
        int64_t pixel = (int64_t)i % pixels, channel = (int64_t)i / pixels % channels;
        values[(int64_t)i / (pixels * channels) * pixels * channels + pixel * channels + channel] = stored[i];
    }
    free(stored);
    return values;
}

static inline void op_compare(const dt_safetensors *file, const json_t *bounds, const char *label,
                              const char *name, const float *got, size_t count)
{
    char what[256];
    dt_shape shape;
    float *want = op_values(file, name, &shape);
    double bound = json_number_value(json_object_get(json_object_get(bounds, name), "tolerance"));
    snprintf(what, sizeof what, "%s: %s", label, name);
    if (ok(want && got && (size_t)dt_count(&shape) == count && bound > 0,
           "%s is stored, has our size and a bound", what))
        near(what, got, want, count, bound);
    free(want);
}

static inline void op_golden_case(const json_t *entry, const json_t *tolerance,
                                  dt_tensor *(*build)(dt_tensor **x, const void *settings))
{
    const char *label = json_string_value(json_object_get(entry, "file"));
    const json_t *inputs = json_object_get(entry, "inputs");
    char place[128], name[64];
    snprintf(place, sizeof place, "ops/%s", label);
    const char *path = golden(place);
    dt_safetensors *file = path ? dt_safetensors_open(path, NULL) : NULL;
    if (!file) {
        skip(place, "the reference is not here");
        return;
    }
    op_case c = {.name = label,
                 .build = build,
                 .context = json_object_get(entry, "settings"),
                 .inputs = (int)json_array_size(inputs)};
    float *values[OP_INPUTS + 1] = {0};
    for (int i = 0; i < c.inputs; i++) {
        const dt_st_tensor *t = dt_safetensors_find(file, json_string_value(json_array_get(inputs, (size_t)i)));
        if (t && t->type == DT_ST_I64) { /* indices */
            c.dtype[i] = DT_I32;
            c.shape[i] = op_shape(t);
            values[i] = calloc(t->count, sizeof(int32_t));
            dt_st_to_int32(t, (int32_t *)(void *)values[i], NULL);
        } else if (t) {
            values[i] = op_values(file, t->name, &c.shape[i]);
        }
        c.value[i] = values[i];
    }
    dt_shape of_dy;
    c.dy = values[OP_INPUTS] = op_values(file, "dy", &of_dy);
    op_run r;
    if (ok(op_start(&r, &c, NULL), "%s runs", label)) {
        const json_t *bounds = json_object_get(tolerance, label);
        op_compare(file, bounds, label, "y", r.y, r.count);
        for (int i = 0; i < c.inputs; i++) {
            snprintf(name, sizeof name, "grad_%s", json_string_value(json_array_get(inputs, (size_t)i)));
            if (r.dx[i])
                op_compare(file, bounds, label, name, r.dx[i], (size_t)dt_count(&c.shape[i]));
        }
    } else {
        printf("# %s\n", r.error);
    }
    op_end(&r);
    for (int i = 0; i <= OP_INPUTS; i++)
        free(values[i]);
    dt_safetensors_close(file);
}

/* Every case of `op`; build gets the case's settings (op_setting) as its context. */
static inline void op_golden(const char *op, dt_tensor *(*build)(dt_tensor **x, const void *settings))
{
    const char *index_path = golden("ops/index.json"), *tolerance_path = golden("ops/tolerance.json");
    json_t *index = index_path ? dt_json_load(index_path, NULL) : NULL;
    json_t *tolerance = tolerance_path ? dt_json_load(tolerance_path, NULL) : NULL;
    const json_t *cases = json_object_get(index, "ops");
    int met = 0;
    if (!index || !tolerance)
        skip(op, "the references are not here");
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *entry = json_array_get(cases, i);
        if (strcmp(json_string_value(json_object_get(entry, "op")), op))
            continue;
        op_golden_case(entry, tolerance, build);
        met++;
    }
    ok(met || !index || !tolerance, "%s: %d stored cases", op, met);
    json_decref(index);
    json_decref(tolerance);
}

#endif
