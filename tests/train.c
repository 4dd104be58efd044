/* The trainer against the reference's AdamW and SGD trajectories, and gradient caching against whole batches. */
#include "experiments/trainer.h"
#include "tests/clip_golden.h"
#include "tests/op_check.h"

enum { BATCHES = 64 };

typedef struct trajectory {
    json_t *settings, *config, *tolerances;
    char folder[512];
    dt_model *model;
    golden_batch batch[BATCHES];
    int batches;
} trajectory;

/* The folder's file, or one that its settings name relative to it. */
static const char *at(const trajectory *t, const char *name)
{
    static char path[2][1100];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", t->folder, name);
    return path[turn];
}

static const char *named(const trajectory *t, const char *key)
{
    return at(t, json_string_value(json_object_get(t->settings, key)));
}

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static bool load(trajectory *t, const char *name)
{
    char file[128];
    dt_error error = {""};
    snprintf(file, sizeof file, "%s/config.json", name);
    const char *path = golden(file);
    if (!path)
        return false;
    snprintf(t->folder, sizeof t->folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    t->settings = dt_json_load(at(t, "config.json"), &error);
    t->tolerances = dt_json_load(at(t, "tolerance.json"), &error);
    t->model = golden_model(named(t, "config"), named(t, "model"), &t->config, &error);
    dt_safetensors *batches = dt_safetensors_open(named(t, "batches"), &error);
    t->batches = (int)number(t->settings, "batch_count");
    bool good = t->model && t->tolerances && batches && t->batches <= BATCHES;
    for (int i = 0; good && i < t->batches; i++)
        good = golden_read_batch(batches, i, &t->batch[i]);
    dt_safetensors_close(batches);
    return ok(good, "%s loads %s", name, error.message);
}

static void unload(trajectory *t)
{
    for (int i = 0; i < t->batches; i++)
        golden_free_batch(&t->batch[i]);
    dt_model_free(t->model);
    json_decref(t->settings);
    json_decref(t->config);
    json_decref(t->tolerances);
}

static dt_trainer_options options_of(const trajectory *t)
{
    const json_t *s = t->settings, *betas = json_object_get(s, "betas");
    bool sgd = !strcmp(json_string_value(json_object_get(s, "optimizer")), "sgd");
    dt_optimizer_config o = {.kind = sgd ? DT_SGD : DT_ADAMW,
                             .beta1 = (float)json_number_value(json_array_get(betas, 0)),
                             .beta2 = (float)json_number_value(json_array_get(betas, 1)),
                             .eps = (float)number(s, "eps"), .momentum = (float)number(s, "momentum"),
                             .nesterov = json_is_true(json_object_get(s, "nesterov")),
                             .weight_decay = (float)number(s, "weight_decay"),
                             .clip_norm = (float)number(s, "clip_norm")};
    return (dt_trainer_options){.batch_size = t->batch[0].count, .optimizer = o,
                                .max_logit_scale = json_number_value(json_array_get(json_object_get(s, "logit_scale_range"), 1))};
}

/* Runs all steps; fills loss, norm, lr and scale of each. */
static int run(trajectory *t, int chunk, float *loss, float *norm, float *lr, float *scale)
{
    dt_error error = {""};
    dt_trainer_options o = options_of(t);
    o.chunk_size = chunk;
    dt_trainer *trainer = dt_trainer_new(t->model, op_backend(), &o, &error);
    int steps = (int)number(t->settings, "steps"), step = 0;
    bool cosine = !strcmp(json_string_value(json_object_get(t->settings, "schedule")), "cosine");
    for (bool good = trainer != NULL; good && step < steps; step += good) {
        const golden_batch *b = &t->batch[step % t->batches];
        dt_step_result result;
        lr[step] = (float)dt_learning_rate(cosine ? DT_SCHEDULE_COSINE : DT_SCHEDULE_CONSTANT, number(t->settings, "lr"),
                                           (uint64_t)step, (uint64_t)number(t->settings, "warmup"), (uint64_t)steps);
        good = dt_trainer_step(trainer, b->images, b->tokens, lr[step], &result, &error);
        if (good) {
            loss[step] = (float)result.loss;
            norm[step] = (float)result.grad_norm;
            scale[step] = (float)result.logit_scale;
        }
    }
    if (error.message[0])
        printf("# %s\n", error.message);
    dt_trainer_free(trainer);
    return step;
}

static void compare(const trajectory *t, const dt_safetensors *file, const char *name, const float *got)
{
    size_t count = 0;
    float *want = golden_floats(file, name, &count);
    if (ok(want != NULL, "the reference has %s", name))
        near(name, got, want, count, golden_tolerance(t->tolerances, "trajectory.safetensors", name));
    free(want);
}

/* The key part of an attention bias has no effect on the loss: its value is noise around where it started, and Adam
 * makes steps of full size out of noise. */
static size_t without_effect(const char *name, size_t count, size_t *from)
{
    bool bias = strstr(name, "attn.in_proj_bias") != NULL;
    *from = count / 3;
    return bias ? count / 3 : 0;
}

static void compare_final(trajectory *t, const dt_safetensors *file)
{
    for (int i = 0; i < dt_params_count(t->model->params); i++) {
        const dt_param_info *info = dt_params_info(t->model->params, i);
        float *want = golden_floats(file, info->name, NULL), *got = dt_params_value(t->model->params, i);
        double tolerance = golden_tolerance(t->tolerances, "final.safetensors", info->name);
        size_t from, noise = without_effect(info->name, info->count, &from);
        if (!ok(want != NULL, "the reference ends with %s", info->name))
            continue;
        near(info->name, got, want, noise ? from : info->count, tolerance);
        if (noise)
            near(info->name, got + from + noise, want + from + noise, info->count - from - noise, tolerance);
        free(want);
    }
}

static void check(const char *name)
{
    trajectory t = {0};
    float loss[256], norm[256], lr[256], scale[256];
    dt_error error = {""};
    if (!load(&t, name)) {
        skip(name, "the golden folder is not here");
        unload(&t);
        return;
    }
    int steps = run(&t, 0, loss, norm, lr, scale);
    ok(steps == (int)number(t.settings, "steps"), "%s: %d steps", name, steps);
    dt_safetensors *file = dt_safetensors_open(at(&t, "trajectory.safetensors"), &error);
    compare(&t, file, "loss", loss);
    compare(&t, file, "grad_norm", norm);
    compare(&t, file, "lr", lr);
    compare(&t, file, "logit_scale", scale);
    dt_safetensors_close(file);
    file = dt_safetensors_open(at(&t, "final.safetensors"), &error);
    compare_final(&t, file);
    dt_safetensors_close(file);
    unload(&t);
}

/* One step in chunks of 2 gives the loss and the norm of the whole batch of 8, and so the same parameters. */
static void check_chunks(void)
{
    trajectory t = {0};
    float whole[4][256], chunked[4][256];
    if (!load(&t, "train")) {
        skip("gradient caching", "the golden folder is not here");
        unload(&t);
        return;
    }
    json_object_set_new(t.settings, "steps", json_integer(5));
    run(&t, 0, whole[0], whole[1], whole[2], whole[3]);
    unload(&t);
    t = (trajectory){0};
    load(&t, "train");
    json_object_set_new(t.settings, "steps", json_integer(5));
    run(&t, 2, chunked[0], chunked[1], chunked[2], chunked[3]);
    near("loss in chunks", chunked[0], whole[0], 5, 2e-5);
    near("gradient norm in chunks", chunked[1], whole[1], 5, 2e-4);
    near("logit_scale in chunks", chunked[3], whole[3], 5, 2e-6);
    unload(&t);
}

int main(void)
{
    check("train");
    if (op_backend() == dt_cpu()) {
        check("train-sgd");
        check_chunks();
    } else { /* a simulated one takes a minute for each; tests/device.c has chunks, tests/backend.c has SGD */
        skip("train-sgd", "on the CPU only");
        skip("gradient caching", "on the CPU only");
    }
    return done();
}
