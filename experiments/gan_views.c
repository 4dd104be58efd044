#include "experiments/gan_views.h"

#include "data/file.h"
#include "data/scatter.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS = 10, POINTS = 2000, SIDE = 420 };

/* The conditions of `rows` names evenly spread over all, each for `columns` pictures; the caller frees. */
static void *conditions_by_rows(const dt_gan_views *w, size_t rows, size_t columns, dt_error *error)
{
    size_t bytes = dt_condition_bytes(w->conditions), names = json_array_size(w->conditions->names);
    char *all = calloc(rows * columns + 1, bytes);
    bool good = all || dt_fail(error, "out of memory");
    for (size_t r = 0; good && r < rows; r++) {
        char *first = all + r * columns * bytes;
        good = dt_condition_named(w->conditions, json_string_value(json_array_get(w->conditions->names, r * names / rows)), first,
                                  error);
        for (size_t k = 1; good && k < columns; k++)
            memcpy(first + k * bytes, first, bytes);
    }
    if (good)
        return all;
    free(all);
    return NULL;
}

/* Pictures for rows x columns z: where something is conditioned on, a row for each of so many names. */
static float *draw(const dt_gan_views *w, const float *z, size_t rows, size_t columns, dt_error *error)
{
    bool conditioned = w->model->condition != DT_CONDITION_NONE;
    float *pictures = calloc(rows * columns, dt_gan_sampler_numbers(w->sampler) * sizeof *pictures);
    void *conditions = pictures && conditioned ? conditions_by_rows(w, rows, columns, error) : NULL;
    bool good = pictures ? !conditioned || conditions : dt_fail(error, "out of memory");
    good = good && dt_gan_sampler_draw(w->sampler, z, conditions, rows * columns, pictures, error);
    free(conditions);
    if (good)
        return pictures;
    free(pictures);
    return NULL;
}

float *dt_gan_views_draw(const dt_gan_views *w, uint64_t seed, size_t count, const void *conditions, dt_error *error)
{
    size_t latent = (size_t)w->model->latent;
    float *z = calloc(count, latent * sizeof *z);
    float *pictures = calloc(count, dt_gan_sampler_numbers(w->sampler) * sizeof *pictures);
    bool good = (z && pictures) || dt_fail(error, "no memory for %zu samples", count);
    if (good)
        dt_draw_normals(seed, z, count * latent);
    good = good && dt_gan_sampler_draw(w->sampler, z, conditions, count, pictures, error);
    free(z);
    if (good)
        return pictures;
    free(pictures);
    return NULL;
}

static dt_sheet sheet_of(const dt_gan_views *w, const float *pictures, size_t count, int columns)
{
    return (dt_sheet){.floats = pictures, .low = -1, .high = 1, .count = count, .columns = columns,
                      .height = w->model->image_size, .width = w->model->image_size, .channels = w->model->channels};
}

static bool show_samples(const dt_gan_views *w, const dt_generative *run, dt_error *error)
{
    bool conditioned = w->model->condition != DT_CONDITION_NONE;
    size_t names = json_array_size(w->conditions->names), rows = !conditioned ? 1 : names < ROWS ? names : ROWS;
    size_t columns = ((size_t)w->count + rows - 1) / rows, count = rows * columns;
    float *z = calloc(count, (size_t)w->model->latent * sizeof *z);
    if (!z)
        return dt_fail(error, "out of memory");
    dt_draw_normals(w->seed, z, count * (size_t)w->model->latent);
    float *pictures = draw(w, z, rows, columns, error);
    dt_titled_sheet title = {.name = "samples", .group = "samples", .keep = true,
                             .caption = conditioned ? "The same z each time; a row for each class or prompt."
                                                    : "What is drawn from the same z each time."};
    title.sheet = sheet_of(w, pictures, count, conditioned ? (int)columns : 0);
    bool good = pictures && dt_generative_sheet(run, &title, error);
    free(pictures);
    free(z);
    return good;
}

static bool show_between(const dt_gan_views *w, const dt_generative *run, dt_error *error)
{
    size_t latent = (size_t)w->model->latent, count = DT_WAYS * DT_BETWEEN;
    float *ends = calloc(2 * DT_WAYS, latent * sizeof *ends), *z = calloc(count, latent * sizeof *z), *pictures = NULL;
    bool good = (ends && z) || dt_fail(error, "out of memory");
    if (good) {
        dt_draw_normals(w->seed + 1, ends, 2 * DT_WAYS * latent);
        dt_draw_between(ends, DT_WAYS, latent, z);
        pictures = draw(w, z, DT_WAYS, DT_BETWEEN, error);
        dt_titled_sheet title = {.name = "interpolation", .group = "interpolation",
                                 .caption = "On straight lines between two z.", .sheet = sheet_of(w, pictures, count, DT_BETWEEN)};
        good = pictures && dt_generative_sheet(run, &title, error);
    }
    free(ends);
    free(z);
    free(pictures);
    return good;
}

static bool show_points(const dt_gan_views *w, const dt_generative *run, dt_error *error)
{
    char file[DT_RUN_PATH], name[64], kept[96];
    float *real = calloc(POINTS, 2 * sizeof *real), *drawn = dt_gan_views_draw(w, w->seed, POINTS, NULL, error);
    bool good = drawn && (real || dt_fail(error, "out of memory"));
    if (good) {
        dt_ring_draw(w->ring, w->seed + 1, 0, real, POINTS);
        float side = (float)(1.5 * w->ring->radius);
        const dt_scatter scatter = {real, drawn, POINTS, POINTS, -side, side};
        snprintf(kept, sizeof kept, "pictures/points-%08llu.png", (unsigned long long)run->state.step);
        snprintf(name, sizeof name, "points, step %llu", (unsigned long long)run->state.step);
        good = dt_make_directories(dt_in_run(run->folder.path, "pictures", file), error) &&
               dt_scatter_write(dt_in_run(run->folder.path, kept, file), &scatter, 1, 1, SIDE, error) &&
               dt_scatter_write(dt_in_run(run->folder.path, "samples.png", file), &scatter, 1, 1, SIDE, error) &&
               dt_generative_picture(run, name, kept, "samples", "Real points grey, generated ones blue.", error);
    }
    free(real);
    free(drawn);
    return good;
}

bool dt_gan_views_show(const dt_gan_views *w, const dt_generative *run, bool last, dt_error *error)
{
    if (w->ring->modes)
        return show_points(w, run, error);
    return show_samples(w, run, error) && (!last || show_between(w, run, error));
}
