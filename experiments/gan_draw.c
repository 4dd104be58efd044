#include "experiments/gan_draw.h"

#include "data/file.h"
#include "data/png.h"
#include "data/sheet.h"
#include "experiments/gan_condition.h"
#include "experiments/gan_sampler.h"
#include "experiments/generative.h"
#include "experiments/load.h"
#include "experiments/measure.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { EACH = 8, ALL = 64, WIDE = 32, FEW = 64, SHEET_MOST = 4096 };

typedef struct work {
    const dt_gan_draw *asked;
    const dt_backend *backend;
    dt_model *model;
    const dt_gan_config *config;
    dt_conditions conditions;
    dt_gan_sampler *sampler;
    const char **names; /* what to draw, in turn; NULL entries do not occur */
    size_t name_count;  /* 0: the generator takes no condition */
    size_t count, each; /* pictures in all, and of a name */
    char *named;        /* the names' conditions */
    float *pictures;    /* all of a sheet, FEW of a folder */
} work;

/* The prompts or classes that were asked for, else those that the model names. */
static bool choose_names(work *w, dt_error *error)
{
    const dt_gan_draw *a = w->asked;
    bool vector = w->config->condition == DT_CONDITION_VECTOR, class = w->config->condition == DT_CONDITION_CLASS;
    if (a->prompts.count && !vector)
        return dt_fail(error, "%s is not conditioned on text%s", a->weights, class ? "; choose with --class" : "; it draws without --prompt");
    if (a->text_weights && !vector)
        return dt_fail(error, "%s is not conditioned on text; it draws without --text-weights", a->weights);
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
    for (size_t i = 0; class && i < w->name_count; i++)
        for (size_t k = 0; k < i; k++)
            if (!strcmp(w->names[i], w->names[k]))
                return dt_fail(error, "--class %s is given twice; --count says how many pictures", w->names[i]);
    return w->name_count || dt_fail(error, "say what to draw with --%s", vector ? "prompt" : "class");
}

static bool load(work *w, dt_error *error)
{
    if (!(w->model = dt_load_weights("duet gan", w->asked->weights, w->asked->quiet, error)) ||
        !(w->backend = dt_device_open(w->asked->device, dt_device_news(w->asked->quiet), error)))
        return false;
    w->config = &w->model->config.gan;
    if (w->model->config.vision != DT_VISION_GAN)
        return dt_fail(error, "%s is no generator; expected what duet gan has trained", w->asked->weights);
    if (w->config->network == DT_GAN_MLP)
        return dt_fail(error, "%s makes points of the plane, not pictures; they are in its report", w->asked->weights);
    return dt_conditions_draw(&w->conditions, w->backend, w->model, w->asked->text_weights, w->asked->quiet, error) && choose_names(w, error) &&
           (w->sampler = dt_gan_sampler_new(w->model->params, w->config, w->backend, error)) != NULL;
}

/* Room for the pictures of a sheet, or for a few of a folder, and the conditions of the names. */
static bool prepare(work *w, bool sheet, dt_error *error)
{
    size_t bytes = dt_condition_bytes(&w->conditions), names = w->name_count ? w->name_count : 1;
    size_t wanted = w->asked->count ? (size_t)w->asked->count : w->name_count ? EACH * names : ALL;
    w->each = (wanted + names - 1) / names;
    w->count = w->each * names;
    w->pictures = calloc(sheet ? w->count : FEW, dt_gan_sampler_numbers(w->sampler) * sizeof(float));
    w->named = calloc(names, bytes + 1);
    bool good = (w->pictures && w->named) || dt_fail(error, "no memory for %zu pictures", w->count);
    for (size_t i = 0; good && i < w->name_count; i++)
        good = dt_condition_named(&w->conditions, w->names[i], w->named + i * bytes, error);
    return good;
}

/* Pictures from number `from` on; picture i has the z of its own number, whatever is drawn with it. */
static bool draw(const work *w, size_t from, size_t count, float *pictures, dt_error *error)
{
    size_t latent = (size_t)w->config->latent, bytes = dt_condition_bytes(&w->conditions);
    float *z = calloc(count, latent * sizeof *z);
    char *rows = calloc(count, bytes + 1);
    bool good = (z && rows) || dt_fail(error, "no memory for %zu pictures", count);
    for (size_t i = 0; good && i < count; i++) {
        dt_draw_normals((uint64_t)w->asked->seed * 0x9E3779B97F4A7C15u + from + i, z + i * latent, latent);
        if (w->name_count)
            memcpy(rows + i * bytes, w->named + (from + i) / w->each * bytes, bytes);
    }
    good = good && dt_gan_sampler_draw(w->sampler, z, w->name_count ? rows : NULL, count, pictures, error);
    free(z);
    free(rows);
    return good;
}

/* FOLDER, or FOLDER/CLASS where classes are drawn, so that the folder is a labelled data set. */
static bool open_folder(const work *w, const char *folder, size_t name, char path[DT_RUN_PATH], dt_error *error)
{
    bool classes = w->config->condition == DT_CONDITION_CLASS;
    const char *class = classes ? w->names[name] : "";
    int used = snprintf(path, DT_RUN_PATH, "%s%s%s", folder, classes ? "/" : "", class);
    if (used < 0 || used >= DT_RUN_PATH - 32)
        return dt_fail(error, "the name of the folder %.100s... is too long", folder);
    char *own = path + used - strlen(class);
    for (char *c = own; *c; c++) /* a name is one folder, and never the one above */
        *c = *c == '/' || (*c == '.' && c == own) ? '_' : *c;
    if (!dt_make_directories(path, error))
        return false;
    return true;
}

/* Nothing but "." and ".." in it, or not there yet: what is drawn must not mix with other pictures. */
static bool check_empty(const char *folder, dt_error *error)
{
    DIR *open = opendir(folder);
    int entries = 0;
    for (; open && entries < 3 && readdir(open); entries++)
        ;
    if (open)
        closedir(open);
    return entries < 3 || dt_fail(error, "%s is not empty; draw into a new folder", folder);
}

/* A few at a time. */
static bool write_folder(work *w, const char *folder, dt_error *error)
{
    char path[DT_RUN_PATH];
    size_t numbers = dt_gan_sampler_numbers(w->sampler), used = 0;
    bool good = check_empty(folder, error);
    for (size_t from = 0; good && from < w->count; from += FEW) {
        size_t n = w->count - from < FEW ? w->count - from : FEW;
        good = draw(w, from, n, w->pictures, error);
        for (size_t i = from; good && i < from + n; i++) {
            if (i == 0 || (w->config->condition == DT_CONDITION_CLASS && i % w->each == 0)) {
                good = open_folder(w, folder, i / w->each, path, error);
                used = strlen(path);
            }
            uint8_t *bytes = dt_picture_bytes(w->pictures + (i - from) * numbers, numbers, -1);
            dt_image image = dt_image_borrow(bytes, w->config->image_size, w->config->image_size, w->config->channels);
            snprintf(path + used, sizeof path - used, "/%06zu.png", i);
            good = good && (bytes || dt_fail(error, "out of memory")) && dt_png_write(path, &image, error);
            free(bytes);
        }
    }
    return good;
}

static bool write_sheet(const work *w, const char *out, dt_error *error)
{
    bool by_rows = w->name_count && w->each <= WIDE;
    const dt_sheet sheet = {.floats = w->pictures, .low = -1, .high = 1, .count = w->count, .height = w->config->image_size,
                            .width = w->config->image_size, .channels = w->config->channels, .columns = by_rows ? (int)w->each : 0};
    if (!draw(w, 0, w->count, w->pictures, error) || !dt_sheet_write(out, &sheet, error))
        return false;
    printf("%s: %zu pictures", out, w->count);
    for (size_t i = 0; by_rows && i < w->name_count; i++)
        printf("%s%s", i ? ", " : "; by rows: ", w->names[i]);
    printf("\n");
    return true;
}

static bool write_drawn(work *w, dt_error *error)
{
    const char *out = w->asked->out ? w->asked->out : "samples.png";
    size_t length = strlen(out);
    const char *dot = strrchr(out, '.');
    bool sheet = length > 4 && !strcasecmp(out + length - 4, ".png");
    if (dot && (!strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg")))
        return dt_fail(error, "%s: sheets are written as PNG; expected FILE.png, or a folder", out);
    if (sheet && w->asked->count > SHEET_MOST)
        return dt_fail(error, "a sheet of %d pictures is no longer one to look at (at most %d); give a folder", w->asked->count, SHEET_MOST);
    if (!prepare(w, sheet, error))
        return false;
    if (sheet)
        return write_sheet(w, out, error);
    if (!write_folder(w, out, error))
        return false;
    printf("%s: %zu pictures\n", out, w->count);
    return true;
}

int dt_gan_draw_run(const dt_gan_draw *asked)
{
    dt_error error;
    work w = {.asked = asked};
    bool good = load(&w, &error) && write_drawn(&w, &error);
    if (!good)
        fprintf(stderr, "duet gan: %s\n", error.message);
    dt_gan_sampler_free(w.sampler);
    dt_conditions_free(&w.conditions);
    dt_model_free(w.model);
    free(w.names);
    free(w.named);
    free(w.pictures);
    return good ? DT_EXIT_GOOD : DT_EXIT_FAILURE;
}
