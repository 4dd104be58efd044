#include "eval/picture_set.h"

#include <omp.h>
#include <stdlib.h>

#include "data/transform.h"

typedef struct work {
    const dt_picture_set *set;
    const dt_transform *transform;
    dt_transform_scratch **scratch; /* [threads] */
    int threads;
    float *images; /* a batch */
} work;

static bool check(const dt_picture_set *s, dt_error *error)
{
    bool fits = s->height >= 1 && s->width >= 1 && s->height <= DT_IMAGE_MAX_SIDE && s->width <= DT_IMAGE_MAX_SIDE;
    return (s->pixels && fits && (s->channels == 1 || s->channels == 3)) ||
           dt_fail(error, "pictures of %d x %d with %d channels; expected 1 or 3 channels and sides of 1 to %d", s->width,
                   s->height, s->channels, DT_IMAGE_MAX_SIDE);
}

static bool make_work(work *w, int batch, dt_error *error)
{
    size_t size = (size_t)w->transform->size;
    w->images = calloc((size_t)batch * size * size * 3, sizeof *w->images);
    w->scratch = calloc((size_t)w->threads, sizeof(dt_transform_scratch *));
    if (!w->images || !w->scratch)
        return dt_fail(error, "no memory for %d pictures of %zu x %zu", batch, size, size);
    for (int i = 0; i < w->threads; i++)
        if (!(w->scratch[i] = dt_transform_scratch_new(error)))
            return false;
    return true;
}

static void free_work(work *w)
{
    for (int i = 0; w->scratch && i < w->threads; i++)
        dt_transform_scratch_free(w->scratch[i]);
    free(w->scratch);
    free(w->images);
}

/* Pictures first .. first + count - 1 into w->images; of several failures the first picture's is told. */
static bool transform(const work *w, size_t first, size_t count, dt_error *error)
{
    const dt_picture_set *s = w->set;
    size_t size = (size_t)w->transform->size, bytes = (size_t)s->height * (size_t)s->width * (size_t)s->channels, bad = count;
#pragma omp parallel for num_threads(w->threads) schedule(static)
    for (size_t i = 0; i < count; i++) {
        dt_error why;
        const dt_image image = dt_image_borrow(s->pixels + (first + i) * bytes, s->width, s->height, s->channels);
        if (dt_transform_pixels(w->transform, w->scratch[omp_get_thread_num()], &image, 0, w->images + i * size * size * 3,
                                &why))
            continue;
#pragma omp critical
        if (i < bad) {
            bad = i;
            dt_fail(error, "picture %zu: %.900s", first + i, why.message);
        }
    }
    return bad == count;
}

bool dt_picture_set_encode(const dt_picture_set *set, const dt_model *model, dt_encoder *encoder, int threads, float *rows,
                           dt_progress progress, dt_error *error)
{
    size_t batch = (size_t)dt_encoder_batch(encoder), width = dt_encoder_width(encoder);
    work w = {.set = set, .transform = &model->preprocess, .threads = threads > 0 ? threads : omp_get_max_threads()};
    bool good = check(set, error) && make_work(&w, (int)batch, error);
    for (size_t done = 0; good && done < set->count;) {
        size_t part = set->count - done < batch ? set->count - done : batch;
        good = transform(&w, done, part, error) && dt_encoder_run(encoder, w.images, (int)part, rows + done * width, error);
        done += part;
        if (good && progress.tell)
            progress.tell(progress.context, "pictures", done, set->count);
    }
    free_work(&w);
    return good;
}
