/* Whole pretraining steps of every kind of tower on the backend that the environment names, against the CPU: the same loss, gradients
 * and updates in float32, and near them in the mixed precision. Where that backend is the CPU itself, steps from bytes against
 * steps from floats, to the bit. */
#include "experiments/trainer.h"
#include "tests/op_check.h"

enum { BATCH = 6, STEPS = 3 };

typedef struct tower {
    const char *name, *description; /* ' stands for " */
    bool sigmoid;
    double mixed; /* how far a bfloat16 step may be from the float32 one: of the gradient, as |difference| / |gradient| */
} tower;

/* Sizes are odd where they may be, and the smallest that have more than one of everything. */
static const tower towers[] = {
    {"ViT", "{'embed_dim': 20, 'vision_cfg': {'image_size': 16, 'layers': 2, 'width': 24, 'patch_size': 8, 'head_width': 8},"
            " 'text_cfg': {'context_length': 7, 'vocab_size': 41, 'width': 16, 'heads': 2, 'layers': 2}}", false, 0.06},
    {"ViT with quick GELU", "{'embed_dim': 16, 'quick_gelu': true, 'vision_cfg': {'image_size': 16, 'layers': 1, 'width': 16, 'patch_size': 4,"
            " 'head_width': 16}, 'text_cfg': {'context_length': 5, 'vocab_size': 30, 'width': 16, 'heads': 1, 'layers': 1}}", false, 0.06},
    {"SigLIP", "{'embed_dim': 24, 'init_logit_bias': -10, 'custom_text': true, 'vision_cfg': {'tower': 'siglip', 'image_size': 16, 'layers': 1,"
            " 'width': 24, 'patch_size': 8, 'heads': 2}, 'text_cfg': {'context_length': 6, 'vocab_size': 33,"
            " 'width': 24, 'heads': 2, 'layers': 1, 'no_causal_mask': true, 'proj_bias': true, 'pool_type': 'last'}}", true, 0.06},
    {"ModifiedResNet", "{'embed_dim': 16, 'vision_cfg': {'image_size': 64, 'layers': [1, 1, 1, 1], 'width': 4, 'patch_size': null},"
            " 'text_cfg': {'context_length': 5, 'vocab_size': 30, 'width': 16, 'heads': 2, 'layers': 1}}", false, 0.2},
    {"residual", "{'embed_dim': 16, 'vision_cfg': {'tower': 'residual', 'image_size': 16, 'widths': [8, 12], 'blocks': [1, 2], 'stem_stride': 1},"
            " 'text_cfg': {'context_length': 5, 'vocab_size': 30, 'width': 16, 'heads': 2, 'layers': 1}}", false, 0.2},
};

typedef struct session {
    dt_model *model;
    dt_trainer *trainer;
    dt_step_result result[STEPS];
    float *gradient; /* after the first step */
} session;

static dt_model *new_model(const char *description, dt_error *error)
{
    char text[1024];
    snprintf(text, sizeof text, "%s", description);
    for (char *c = text; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    json_t *json = dt_json_parse(text, strlen(text), "tower", error);
    dt_model *model = json ? dt_model_new(json, NULL, 1, error) : NULL;
    json_decref(json);
    return model;
}

static const float mean[] = {0.48f, 0.46f, 0.41f}, std[] = {0.27f, 0.26f, 0.28f};

/* What the images of a batch are: numbers, bytes, or the floats of those bytes. */
typedef enum { FLOATS, BYTES, FLOATS_OF_BYTES } kind;

static void make_images(void *images, size_t count, kind what, uint64_t seed)
{
    uint8_t *bytes = images;
    float *floats = images;
    if (what == FLOATS)
        op_random(floats, count, seed);
    for (size_t i = 0; what != FLOATS && i < count; i++) {
        uint8_t byte = (uint8_t)dt_random_block(seed, 6, 0, i).v[0];
        if (what == BYTES)
            bytes[i] = byte;
        else
            floats[i] = (float)byte * (float)(1 / (255.0 * std[i % 3])) + (float)(-(double)mean[i % 3] / std[i % 3]);
    }
}

static void make_batch(const dt_model *model, kind what, void *images, int32_t *tokens, uint64_t seed)
{
    size_t size = (size_t)dt_clip_image_size(&model->config), context = (size_t)model->config.text.context_length;
    make_images(images, BATCH * size * size * 3, what, seed);
    for (size_t i = 0; i < BATCH * context; i++)
        tokens[i] = (int32_t)(dt_random_block(seed, 5, 0, i).v[0] % (uint32_t)(model->config.text.vocab_size - 1));
    for (size_t i = 0; i < BATCH; i++) /* the end of text, the largest id, where it differs from text to text */
        tokens[i * context + i % context] = (int32_t)model->config.text.vocab_size - 1;
}

/* Trains a few steps, each batch given while the step before is under way. */
static bool train(session *s, const tower *t, const dt_backend *backend, int chunk, kind what)
{
    dt_error error = {""};
    dt_trainer_options o = {.batch_size = BATCH, .chunk_size = chunk, .loss = t->sigmoid ? DT_LOSS_SIGMOID : DT_LOSS_INFONCE,
                            .optimizer = {.kind = DT_ADAMW, .beta1 = 0.9f, .beta2 = 0.98f, .eps = 1e-3f, .weight_decay = 0.2f, .clip_norm = 5},
                            .max_logit_scale = 4.6, .seed = 3, .bytes = what == BYTES};
    memcpy(o.mean, mean, sizeof o.mean);
    memcpy(o.std, std, sizeof o.std);
    *s = (session){.model = new_model(t->description, &error)};
    s->trainer = s->model ? dt_trainer_new(s->model, backend, &o, &error) : NULL;
    bool good = s->trainer != NULL;
    size_t count = good ? dt_params_size(s->model->params) : 0, size = good ? (size_t)dt_clip_image_size(&s->model->config) : 0;
    void *(*allocate)(size_t) = backend->host_allocate ? backend->host_allocate : malloc; /* as a loader for a device */
    size_t bytes = BATCH * size * size * 3 * sizeof(float) + 1;
    void *images[2] = {allocate(bytes), allocate(bytes)};
    int32_t tokens[2][BATCH * 8];
    s->gradient = calloc(count + 1, sizeof(float));
    if (good)
        make_batch(s->model, what, images[0], tokens[0], 100);
    good = good && dt_trainer_give(s->trainer, images[0], tokens[0], &error);
    for (int k = 0; good && k < STEPS; k++) {
        int next = (k + 1) % 2;
        good = dt_trainer_begin(s->trainer, &error);
        make_batch(s->model, what, images[next], tokens[next], 101 + (uint64_t)k);
        good = good && (k + 1 == STEPS || dt_trainer_give(s->trainer, images[next], tokens[next], &error)) &&
               dt_trainer_end(s->trainer, 1e-3f, &s->result[k], &error);
        if (good && k == 0)
            memcpy(s->gradient, dt_params_gradients(s->model->params), sizeof(float) * count);
    }
    for (int i = 0; i < 2; i++)
        (backend->host_release ? backend->host_release : free)(images[i]);
    if (!good)
        printf("# %s on %s: %s\n", t->name, backend->name, error.message);
    return good;
}

static void end(session *s)
{
    dt_trainer_free(s->trainer);
    dt_model_free(s->model);
    free(s->gradient);
}

static double distance(const float *a, const float *b, size_t count)
{
    double apart = 0, length = 0;
    for (size_t i = 0; i < count; i++) {
        apart += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        length += (double)b[i] * b[i];
    }
    return sqrt(apart / length);
}

/* Each sum has another order, so that numbers differ by roundings: 2^-24 times the square root of some hundred additions, and as
 * much again where small differences of large numbers are left (batch norm over few pixels). */
static void check_plain(const tower *t, const session *want, const dt_backend *backend, int chunk, kind what)
{
    session got;
    bool good = train(&got, t, backend, chunk, what);
    ok(good, "%s%s%s: %d steps on %s", t->name, chunk ? " in chunks" : "", what == BYTES ? " from bytes" : "", STEPS,
       backend->name);
    size_t count = dt_params_size(want->model->params);
    if (good) {
        double apart = distance(got.gradient, want->gradient, count);
        ok(apart < 2e-5, "%s: the gradient is that of the CPU (relative distance %.1e)", t->name, apart);
        for (int k = 0; k < STEPS; k++)
            ok(fabs(got.result[k].loss / want->result[k].loss - 1) < 2e-5 &&
                   fabs(got.result[k].grad_norm / want->result[k].grad_norm - 1) < 2e-4,
               "%s: step %d has the loss %.7g (%.7g) and the norm %.7g (%.7g)", t->name, k, got.result[k].loss, want->result[k].loss,
               got.result[k].grad_norm, want->result[k].grad_norm);
        apart = distance(dt_params_values(got.model->params), dt_params_values(want->model->params), count);
        ok(apart < 1e-5, "%s: and so are the parameters at the end (%.1e)", t->name, apart);
    }
    end(&got);
}

/* A rounding to 8 bits is up to 2^-8 of a number; some dozens of them lie on the way from a batch to a gradient. */
static void check_mixed(const tower *t, const session *want, const dt_backend *backend, kind what)
{
    dt_backend mixed = *backend;
    mixed.precision = DT_MIXED;
    session got, again;
    bool good = train(&got, t, &mixed, 0, what) && train(&again, t, &mixed, 0, what);
    ok(good, "%s: %d steps in mixed precision", t->name, STEPS);
    size_t count = dt_params_size(want->model->params);
    if (good) {
        double apart = distance(got.gradient, want->gradient, count);
        ok(apart > 1e-4 && apart < t->mixed, "%s: its gradient is near that of float32 (relative distance %.1e)", t->name, apart);
        for (int k = 0; k < STEPS; k++)
            ok(fabs(got.result[k].loss / want->result[k].loss - 1) < 0.03, "%s: step %d has the loss %.5g (%.5g)", t->name, k,
               got.result[k].loss, want->result[k].loss);
        ok(!memcmp(dt_params_values(got.model->params), dt_params_values(again.model->params), sizeof(float) * count),
           "%s: the same bits when it is done again", t->name);
        end(&again);
    }
    end(&got);
}

/* Where both are computed alike: bytes, and the floats that they stand for. */
static void check_bytes(const tower *t, int chunk)
{
    session want, got;
    bool good = train(&want, t, dt_cpu(), chunk, FLOATS_OF_BYTES), same = train(&got, t, dt_cpu(), chunk, BYTES) && good;
    size_t bytes = good ? sizeof(float) * dt_params_size(want.model->params) : 0;
    ok(same && !memcmp(got.result, want.result, sizeof got.result) && !memcmp(got.gradient, want.gradient, bytes) &&
           !memcmp(dt_params_values(got.model->params), dt_params_values(want.model->params), bytes),
       "%s%s: the bits of the step from floats, from bytes", t->name, chunk ? " in chunks" : "");
    end(&want);
    end(&got);
}

/* Against the CPU, from numbers or from bytes. */
static void check(const tower *t, const dt_backend *backend, kind what)
{
    session want;
    bool good = train(&want, t, dt_cpu(), 0, what);
    ok(good, "%s: %d steps on the CPU", t->name, STEPS);
    if (good) {
        check_plain(t, &want, backend, 0, what);
        check_mixed(t, &want, backend, what);
        if (t == towers)
            check_plain(t, &want, backend, BATCH / 3, what);
    }
    end(&want);
}

int main(void)
{
    const dt_backend *backend = op_backend();
    if (backend == dt_cpu()) {
        skip("steps on a device", "the backend is the CPU");
        for (size_t i = 0; i < sizeof towers / sizeof *towers; i++)
            check_bytes(&towers[i], 0);
        check_bytes(&towers[0], BATCH / 3);
        return done();
    }
    for (size_t i = 0; i < sizeof towers / sizeof *towers; i++)
        check(&towers[i], backend, FLOATS);
    check(&towers[0], backend, BYTES);
    return done();
}
