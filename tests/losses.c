/* Losses against stored references: cross-entropy with label smoothing, the ELBO and its parts, what generators and
 * discriminators are trained for, and gradient penalties, whose weights' gradients are derivatives of a derivative. */
#include "losses/adversarial.h"
#include "losses/classification.h"
#include "losses/elbo.h"
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

static int stored_gradients(const fixture *f, const char *prefix)
{
    int count = 0;
    for (size_t i = 0; i < dt_safetensors_count(f->file); i++)
        count += !strncmp(dt_safetensors_at(f->file, i)->name, prefix, strlen(prefix));
    return count;
}

/* Runs a function of named inputs (NULL ends the list) and compares it with the file's `result`. With a `prefix` it is a
 * scalar, and its gradient for each float input is compared with PREFIXNAME where there is one. */
static void check(const fixture *f, const char *const *names, const char *result, const char *prefix,
                  dt_tensor *(*build)(dt_tensor **, const void *), const void *context)
{
    op_case c = {.name = f->name, .build = build, .context = context, .dy = prefix ? (const float[]){1} : NULL};
    float *values[OP_INPUTS] = {0};
    for (int i = 0; names[i]; i++, c.inputs++) {
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
    int gradients = 0;
    if (ok(op_start(&r, &c, NULL), "%s runs", f->name)) {
        compare(f, result, r.y);
        for (int i = 0; prefix && i < c.inputs; i++) {
            char name[100];
            snprintf(name, sizeof name, "%s%s", prefix, names[i]);
            if (dt_safetensors_find(f->file, name))
                compare(f, name, r.dx[i]), gradients++;
        }
        if (prefix)
            ok(gradients == stored_gradients(f, prefix), "%s: %d gradients of %s, all that are stored", f->name, gradients,
               result);
    }
    op_end(&r);
    for (int i = 0; i < c.inputs; i++)
        free(values[i]);
}

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

static dt_tensor *cross_entropy(dt_tensor **x, const void *context)
{
    return dt_cross_entropy(x[0], x[1], *(const float *)context);
}

static dt_tensor *total(dt_tensor *x)
{
    return dt_sum(x, DT_ALL, false);
}

OP(bernoulli, dt_neg(total(dt_bernoulli_log_prob(x[0], x[1]))))

/* The reference leaves out log(2 pi) / 2 of every number. */
static dt_tensor *gaussian(dt_tensor **x, const void *context)
{
    (void)context;
    dt_tensor *log_p = dt_gaussian_log_prob(x[0], dt_fill(dt_graph_of(x[0]), (dt_shape){0}, 0), x[1]);
    return dt_affine(total(log_p), -1, -0.918938533204672742f * (float)dt_count(&x[0]->shape));
}

OP(divergence, total(dt_gaussian_kl(x[0], x[1])))

/* The part of the negative ELBO that `context` names; inputs: mu, logvar, noise, decoder_weight, decoder_bias, x. */
static dt_tensor *elbo(dt_tensor **x, const void *context)
{
    const char *part = context;
    dt_tensor *z = dt_reparameterise(x[0], x[1], x[2]);
    dt_tensor *logits = dt_linear(z, x[3], x[4]);
    dt_tensor *reconstruction = dt_neg(dt_mean(dt_bernoulli_log_prob(logits, x[5]), DT_ALL, false));
    dt_tensor *kl = dt_free_bits(dt_gaussian_kl(x[0], x[1]), 0);
    return !strcmp(part, "z")                ? z
           : !strcmp(part, "x_logits")       ? logits
           : !strcmp(part, "reconstruction") ? reconstruction
           : !strcmp(part, "kl")             ? kl
                                             : dt_add(reconstruction, kl);
}

static void check_vae(const fixture *f, const json_t *entry)
{
    static const char *const inputs[] = {"mu", "logvar", "noise", "decoder_weight", "decoder_bias", "x", NULL};
    static const char *const parts[] = {"z", "x_logits", "reconstruction", "kl"};
    const char *term = json_string_value(json_object_get(entry, "term"));
    if (!strcmp(term, "bce_with_logits"))
        check(f, NAMES("x_logits", "x"), "loss", "grad_", bernoulli, NULL);
    else if (!strcmp(term, "gaussian"))
        check(f, NAMES("x_mean", "x"), "loss", "grad_", gaussian, NULL);
    else if (!strcmp(term, "kl"))
        check(f, NAMES("mu", "logvar"), "loss", "grad_", divergence, NULL);
    else if (ok(!strcmp(term, "elbo"), "%s: a known term", f->name)) {
        check(f, inputs, "loss", "grad_", elbo, "loss");
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
            check(f, inputs, parts[i], NULL, elbo, parts[i]);
    }
}

static dt_tensor *discriminator(dt_tensor **x, const void *context)
{
    return dt_discriminator_loss(*(const dt_gan_loss *)context, x[0], x[1]);
}

static dt_tensor *generator(dt_tensor **x, const void *context)
{
    return dt_generator_loss(*(const dt_gan_loss *)context, x[0]);
}

static void check_gan(const fixture *f, const json_t *entry)
{
    const char *at = strstr(dt_gan_loss_names, json_string_value(json_object_get(entry, "kind")));
    int bars = 0;
    if (!ok(at, "%s: a known loss", f->name))
        return;
    for (const char *c = dt_gan_loss_names; c < at; c++)
        bars += *c == '|';
    dt_gan_loss loss = (dt_gan_loss)bars;
    check(f, NAMES("real", "fake"), "d_loss", "d_grad_", discriminator, &loss);
    check(f, NAMES("fake"), "g_loss", "g_grad_", generator, &loss);
}

/* The discriminator of index.json: two strided convolutions, then one score a sample. x: point, then the weights. */
static dt_tensor *scores(dt_tensor **x, const void *entry)
{
    float slope = (float)json_number_value(json_object_get(entry, "leaky_slope"));
    dt_conv_form form = {.stride = {2, 2}, .padding = {1, 1}, .dilation = {1, 1}, .groups = 1};
    dt_tensor *h = dt_leaky_relu(dt_conv2d(x[0], x[1], x[2], form), slope);
    h = dt_leaky_relu(dt_conv2d(h, x[3], x[4], form), slope);
    h = dt_transpose(h, (const int[]){0, 3, 1, 2}); /* the reference flattens NCHW */
    return dt_linear(dt_reshape(h, dt_dims(h->shape.dim[0], -1)), x[5], x[6]);
}

static dt_tensor *slope(dt_tensor **x, const void *entry)
{
    dt_tensor *gradient;
    dt_gradient(dt_sum(scores(x, entry), DT_ALL, false), x, 1, &gradient);
    return gradient;
}

static dt_tensor *wgan_gp(dt_tensor **x, const void *entry)
{
    float strength = (float)json_number_value(json_object_get(entry, "strength"));
    return dt_scale(dt_slope_penalty(scores(x, entry), x[0]), strength);
}

static dt_tensor *r1(dt_tensor **x, const void *entry)
{
    float gamma = (float)json_number_value(json_object_get(entry, "strength"));
    return dt_scale(dt_slope_square(scores(x, entry), x[0]), gamma / 2);
}

OP(between, dt_between(x[0], x[1], x[2]))

static void check_penalty(const fixture *f, const json_t *entry)
{
    static const char *const inputs[] = {"point", "conv0.weight", "conv0.bias", "conv1.weight", "conv1.bias",
                                         "linear.weight", "linear.bias", NULL};
    bool gp = !strcmp(json_string_value(json_object_get(entry, "kind")), "wgan_gp");
    check(f, inputs, "scores", NULL, scores, entry);
    check(f, inputs, "input_grad", NULL, slope, entry);
    check(f, inputs, "penalty", "grad_", gp ? wgan_gp : r1, entry);
    if (gp)
        check(f, NAMES("real", "fake", "alpha"), "point", NULL, between, NULL);
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
            check(&f, NAMES("logits", "labels"), "loss", "grad_", cross_entropy, &smoothing);
        else if (!strcmp(group, "vae"))
            check_vae(&f, entry);
        else if (!strcmp(group, "gan"))
            check_gan(&f, entry);
        else
            check_penalty(&f, entry);
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
    check_group(index, tolerances, "gan");
    check_group(index, tolerances, "penalty");
    json_decref(index);
    json_decref(tolerances);
    return done();
}
