#include "experiments/gan_draw.h"

#include "data/file.h"
#include "data/png.h"
#include "data/sheet.h"
#include "experiments/gan_condition.h"
#include "experiments/gan_sampler.h"
#include "experiments/generative.h"
#include "experiments/load.h"
#include "experiments/measure.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { EACH = 8, ALL = 64 };

typedef struct work {
    const dt_gan_draw *asked;
    dt_model *model;
    const dt_gan_config *config;
    dt_conditions conditions;
    dt_gan_sampler *sampler;
    const char **names; /* what to draw, in turn; NULL entries do not occur */
    size_t name_count;  /* 0: the generator takes no condition */
    size_t count, each; /* pictures in all, and of a name */
    char *rows;         /* the names' conditions */
    float *pictures;
} work;

/* The prompts or classes that were asked for, else those that the model names. */
static bool choose_names(work *w, dt_error *error)
{
    const dt_gan_draw *a = w->asked;
    bool vector = w->config->condition == DT_CONDITION_VECTOR, class = w->config->condition == DT_CONDITION_CLASS;
    if (a->prompts.count && !vector)
        return dt_fail(error, "%s is not conditioned on text%s", a->weights, class ? "; choose with --class" : "; it draws without --prompt");
    if (a->classes.count && !class)
        return dt_fail(error, "%s is not conditioned on classes%s", a->weights, vector ? "; choose with --prompt" : "; it draws without --class");
    if (!vector && !class)
        return true;
    const dt_strings *given = vector ? &a->prompts : &a->classes;
    size_t known = json_array_size(w->conditions.names);
    w->name_count = given->count ? given->count : known;
    w->names = calloc(w->name_count + 1, sizeof *w->names);
    if (!w->names)
        return dt_fail(error, "out of memory");
    for (size_t i = 0; i < w->name_count; i++)
        w->names[i] = given->count ? given->items[i] : json_string_value(json_array_get(w->conditions.names, i));
    return w->name_count || dt_fail(error, "say what to draw with --%s", vector ? "prompt" : "class");
}

static bool load(work *w, dt_error *error)
{
    if (!(w->model = dt_load_weights("duet gan", w->asked->weights, error)))
        return false;
    w->config = &w->model->config.gan;
    if (w->model->config.vision != DT_VISION_GAN)
        return dt_fail(error, "%s is no generator; expected what duet gan has trained", w->asked->weights);
    if (w->config->network == DT_GAN_MLP)
        return dt_fail(error, "%s makes points of the plane, not pictures; they are in its report", w->asked->weights);
    return dt_conditions_draw(&w->conditions, w->model, w->asked->text_weights, error) && choose_names(w, error) &&
           (w->sampler = dt_gan_sampler_new(w->model->params, w->config, dt_cpu(), error)) != NULL;
}

static bool draw(work *w, dt_error *error)
{
    size_t latent = (size_t)w->config->latent, bytes = dt_condition_bytes(&w->conditions), names = w->name_count ? w->name_count : 1;
    size_t wanted = w->asked->count ? (size_t)w->asked->count : w->name_count ? EACH * names : ALL;
    w->each = (wanted + names - 1) / names;
    w->count = w->name_count ? w->each * names : wanted;
    float *z = calloc(w->count, latent * sizeof *z);
    w->pictures = calloc(w->count, dt_gan_sampler_numbers(w->sampler) * sizeof(float));
    w->rows = calloc(w->count + 1, bytes + 1);
    bool good = (z && w->pictures && w->rows) || dt_fail(error, "no memory for %zu pictures", w->count);
    if (good)
        dt_draw_normals((uint64_t)w->asked->seed, z, w->count * latent);
    for (size_t i = 0; good && i < w->name_count; i++) {
        char *first = w->rows + i * w->each * bytes;
        good = dt_condition_named(&w->conditions, w->names[i], first, error);
        for (size_t k = 1; good && k < w->each; k++)
            memcpy(first + k * bytes, first, bytes);
    }
    good = good && dt_gan_sampler_draw(w->sampler, z, w->name_count ? w->rows : NULL, w->count, w->pictures, error);
    free(z);
    return good;
}

/* Class folders where classes are drawn, so that the folder is a labelled data set. */
static bool write_folder(const work *w, const char *folder, dt_error *error)
{
    char path[DT_RUN_PATH];
    size_t numbers = dt_gan_sampler_numbers(w->sampler);
    bool classes = w->config->condition == DT_CONDITION_CLASS, good = true;
    for (size_t i = 0; good && i < w->count; i++) {
        const char *name = classes ? w->names[i / w->each] : "";
        snprintf(path, sizeof path, "%s%s%s", folder, classes ? "/" : "", name);
        for (char *c = path + strlen(folder) + 1; classes && *c; c++)
            *c = *c == '/' ? '_' : *c;
        size_t used = strlen(path);
        good = dt_make_directories(path, error);
        snprintf(path + used, sizeof path - used, "/%06zu.png", i);
        uint8_t *bytes = dt_picture_bytes(w->pictures + i * numbers, numbers, -1);
        dt_image image = dt_image_borrow(bytes, w->config->image_size, w->config->image_size, w->config->channels);
        good = good && (bytes || dt_fail(error, "out of memory")) && dt_png_write(path, &image, error);
        free(bytes);
    }
    return good;
}

static bool write_drawn(const work *w, dt_error *error)
{
    const char *out = w->asked->out ? w->asked->out : "samples.png";
    size_t length = strlen(out);
    bool file = length > 4 && !strcmp(out + length - 4, ".png");
    const dt_sheet sheet = {.floats = w->pictures, .low = -1, .high = 1, .count = w->count, .height = w->config->image_size,
                            .width = w->config->image_size, .channels = w->config->channels,
                            .columns = w->name_count ? (int)(w->each < 32 ? w->each : 0) : 0};
    if (!(file ? dt_sheet_write(out, &sheet, error) : write_folder(w, out, error)))
        return false;
    printf("%s: %zu pictures", out, w->count);
    for (size_t i = 0; file && i < w->name_count; i++)
        printf("%s%s", i ? ", " : "; by rows: ", w->names[i]);
    printf("\n");
    return true;
}

int dt_gan_draw_run(const dt_gan_draw *asked)
{
    dt_error error;
    work w = {.asked = asked};
    bool good = load(&w, &error) && draw(&w, &error) && write_drawn(&w, &error);
    if (!good)
        fprintf(stderr, "duet gan: %s\n", error.message);
    dt_gan_sampler_free(w.sampler);
    dt_conditions_free(&w.conditions);
    dt_model_free(w.model);
    free(w.names);
    free(w.rows);
    free(w.pictures);
    return good ? DT_EXIT_GOOD : DT_EXIT_FAILURE;
}
