/* Losses against stored references: cross-entropy with label smoothing, the parts of the ELBO, and gradient penalties,
 * whose weights' gradients are derivatives of a derivative. */
#include "losses/classification.h"
#include "tests/op_golden.h"

typedef struct fixture {
    char name[128];
    dt_safetensors *file;
    const json_t *bounds; /* of this file */
} fixture;

static bool open_fixture(fixture *f, const json_t *entry, const json_t *tolerances)
{
    char path[200];
    dt_error error = {""};
    snprintf(f->name, sizeof f->name, "%s", json_string_value(json_object_get(entry, "file")));
    snprintf(path, sizeof path, "losses/%s", f->name);
    f->file = golden(path) ? dt_safetensors_open(golden(path), &error) : NULL;
    f->bounds = json_object_get(tolerances, f->name);
    if (!f->file)
        skip(f->name, "the fixture is not here");
    return f->file != NULL;
}

static void compare(const fixture *f, const char *name, const float *got)
{
    char label[300];
    dt_shape shape = {0};
    float *want = op_values(f->file, name, &shape);
    snprintf(label, sizeof label, "%s %s", f->name, name);
    if (ok(want && got, "%s has a reference", label))
        near(label, got, want, (size_t)dt_count(&shape),
             json_number_value(json_object_get(json_object_get(f->bounds, name), "tolerance")));
    free(want);
}

/* Runs a loss of `count` named inputs; the gradient of each float input is compared with grad_NAME where there is one. */
static void check(const fixture *f, const char *const *names, int count, dt_tensor *(*build)(dt_tensor **, const void *),
                  const void *context)
{
    op_case c = {.name = f->name, .build = build, .context = context, .inputs = count, .dy = (const float[]){1}};
    float *values[OP_INPUTS] = {0};
    for (int i = 0; i < count; i++) {
        const dt_st_tensor *t = dt_safetensors_find(f->file, names[i]);
        if (t->type == DT_ST_I64) {
            c.shape[i] = op_shape(t);
            c.dtype[i] = DT_I32;
            values[i] = calloc(t->count, sizeof(float));
            dt_st_to_int32(t, (int32_t *)(void *)values[i], NULL);
        } else {
            values[i] = op_values(f->file, names[i], &c.shape[i]);
        }
        c.value[i] = values[i];
    }
    op_run r;
    if (ok(op_start(&r, &c, NULL), "%s runs", f->name)) {
        compare(f, "loss", r.y);
        for (int i = 0; i < count; i++) {
            char name[100];
            snprintf(name, sizeof name, "grad_%s", names[i]);
            if (dt_safetensors_find(f->file, name))
                compare(f, name, r.dx[i]);
        }
    }
    op_end(&r);
    for (int i = 0; i < count; i++)
        free(values[i]);
}

static dt_tensor *cross_entropy(dt_tensor **x, const void *context)
{
    return dt_cross_entropy(x[0], x[1], *(const float *)context);
}

/* sum of softplus(l) - l x */
static dt_tensor *bernoulli(dt_tensor **x, const void *context)
{
    (void)context;
    return dt_sum(dt_sub(dt_softplus(x[0]), dt_mul(x[0], x[1])), DT_ALL, false);
}

static dt_tensor *gaussian(dt_tensor **x, const void *context)
{
    (void)context;
    return dt_scale(dt_sum(dt_square(dt_sub(x[0], x[1])), DT_ALL, false), 0.5f);
}

static dt_tensor *divergence(dt_tensor **x, const void *context)
{
    (void)context;
    dt_tensor *inside = dt_sub(dt_affine(x[1], 1, 1), dt_add(dt_square(x[0]), dt_exp(x[1])));
    return dt_scale(dt_sum(inside, DT_ALL, false), -0.5f);
}

/* The penalty of the file on the discriminator of index.json: two strided convolutions, then one score a sample. */
static dt_tensor *penalty(dt_tensor **x, const void *context)
{
    const json_t *entry = context;
    bool gp = !strcmp(json_string_value(json_object_get(entry, "kind")), "wgan_gp");
    float slope = (float)json_number_value(json_object_get(entry, "leaky_slope"));
    float strength = (float)json_number_value(json_object_get(entry, "strength"));
    dt_conv_form form = {.stride = {2, 2}, .padding = {1, 1}, .dilation = {1, 1}, .groups = 1};
    dt_tensor *point = x[0], *h = dt_leaky_relu(dt_conv2d(point, x[1], x[2], form), slope);
    h = dt_leaky_relu(dt_conv2d(h, x[3], x[4], form), slope);
    int64_t n = h->shape.dim[0];
    h = dt_reshape(dt_transpose(h, (const int[]){0, 3, 1, 2}), dt_dims(n, -1)); /* the reference flattens NCHW */
    dt_tensor *score = dt_sum(dt_linear(h, x[5], x[6]), DT_ALL, false), *slope_at;
    dt_gradient(score, &point, 1, &slope_at);
    dt_tensor *squares = dt_sum(dt_square(dt_reshape(slope_at, dt_dims(n, -1))), 2, false);
    if (gp)
        return dt_scale(dt_mean(dt_square(dt_affine(dt_sqrt(squares), 1, -1)), DT_ALL, false), strength);
    return dt_scale(dt_mean(squares, DT_ALL, false), strength / 2);
}

static void check_penalty(const fixture *f, const json_t *entry)
{
    static const char *const names[] = {"point", "conv0.weight", "conv0.bias", "conv1.weight", "conv1.bias",
                                        "linear.weight", "linear.bias"};
    op_case c = {.name = f->name, .build = penalty, .context = entry, .inputs = 7, .dy = (const float[]){1}};
    float *values[7];
    for (int i = 0; i < 7; i++)
        c.value[i] = values[i] = op_values(f->file, names[i], &c.shape[i]);
    op_run r;
    if (ok(op_start(&r, &c, NULL), "%s runs", f->name)) {
        compare(f, "penalty", r.y);
        for (int i = 1; i < 7; i++) {
            char name[100];
            snprintf(name, sizeof name, "grad_%s", names[i]);
            compare(f, name, r.dx[i]);
        }
    }
    op_end(&r);
    for (int i = 0; i < 7; i++)
        free(values[i]);
}

static void check_group(const json_t *index, const json_t *tolerances, const char *group)
{
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(index, group), i, entry)
    {
        fixture f;
        if (!open_fixture(&f, entry, tolerances))
            continue;
        float smoothing = (float)json_number_value(json_object_get(entry, "smoothing"));
        if (!strcmp(group, "cross_entropy"))
            check(&f, (const char *const[]){"logits", "labels"}, 2, cross_entropy, &smoothing);
        else if (!strcmp(group, "penalty"))
            check_penalty(&f, entry);
        else if (strstr(f.name, "bce"))
            check(&f, (const char *const[]){"x_logits", "x"}, 2, bernoulli, NULL);
        else if (strstr(f.name, "gaussian"))
            check(&f, (const char *const[]){"x_mean", "x"}, 2, gaussian, NULL);
        else if (strstr(f.name, "kl"))
            check(&f, (const char *const[]){"mu", "logvar"}, 2, divergence, NULL);
        dt_safetensors_close(f.file);
    }
}

int main(void)
{
    dt_error error;
    const char *path = golden("losses/index.json");
    json_t *index = path ? dt_json_load(path, &error) : NULL;
    json_t *tolerances = path ? dt_json_load(golden("losses/tolerance.json"), &error) : NULL;
    if (!index)
        skip("losses against stored references", "losses/index.json is not here");
    check_group(index, tolerances, "cross_entropy");
    check_group(index, tolerances, "vae");
    check_group(index, tolerances, "penalty");
    json_decref(index);
    json_decref(tolerances);
    return done();
}
