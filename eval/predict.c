#include "eval/predict.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "data/loader.h"

struct dt_predictor {
    dt_model *model;
    dt_encoder *encoder;
    size_t batch, classes, top;
    float *logits;  /* [batch, classes] */
    float *images;  /* [batch, size, size, 3]: what is left of a batch with bad images */
    size_t *which;  /* [batch]: and which they are */
    dt_guess *best; /* [top] */
};

/* ---- Naming ---- */

static size_t image_floats(const dt_predictor *p)
{
    size_t size = (size_t)p->model->preprocess.size;
    return size * size * 3;
}

static bool make_room(dt_predictor *p, dt_error *error)
{
    size_t cells, pixels;
    bool fits = !__builtin_mul_overflow(p->batch, p->classes, &cells) &&
                !__builtin_mul_overflow(p->batch, image_floats(p), &pixels);
    p->logits = fits ? calloc(cells, sizeof *p->logits) : NULL;
    p->images = fits && p->model->head.tower == DT_TOWER_IMAGE ? calloc(pixels, sizeof *p->images) : NULL;
    p->which = calloc(p->batch, sizeof *p->which);
    p->best = calloc(p->top, sizeof *p->best);
    return (p->logits && p->which && p->best && (p->images || p->model->head.tower == DT_TOWER_TEXT)) ||
           dt_fail(error, "no memory for %zu samples of %zu classes", p->batch, p->classes);
}

dt_predictor *dt_predictor_new(dt_model *model, const dt_backend *backend, int batch, size_t top, dt_error *error)
{
    dt_predictor *p = calloc(1, sizeof *p);
    if (!p) {
        dt_fail(error, "no memory");
        return NULL;
    }
    size_t classes = (size_t)model->head.classes;
    *p = (dt_predictor){
        .model = model, .batch = (size_t)batch, .classes = classes, .top = top < classes ? top : classes};
    p->encoder = dt_encoder_new(model, backend, model->head.tower, DT_LAYER_LOGITS, batch, error);
    if (p->encoder && make_room(p, error))
        return p;
    dt_predictor_free(p);
    return NULL;
}

void dt_predictor_free(dt_predictor *p)
{
    if (!p)
        return;
    dt_encoder_free(p->encoder);
    free(p->logits);
    free(p->images);
    free(p->which);
    free(p->best);
    free(p);
}

/* The likeliest classes of one row, into p->best. False: a score is no number. */
static bool find_best(dt_predictor *p, const float *logits)
{
    size_t count = 0;
    for (size_t c = 0; c < p->classes; c++) {
        double score = (double)logits[c];
        if (!isfinite(score))
            return false;
        if (count == p->top && score <= p->best[count - 1].probability)
            continue;
        size_t at = count < p->top ? count++ : count - 1;
        for (; at && p->best[at - 1].probability < score; at--)
            p->best[at] = p->best[at - 1];
        p->best[at] = (dt_guess){(int32_t)c, score}; /* the score, for now */
    }
    double most = p->best[0].probability, sum = 0;
    for (size_t c = 0; c < p->classes; c++)
        sum += exp((double)logits[c] - most);
    for (size_t i = 0; i < p->top; i++)
        p->best[i].probability = exp(p->best[i].probability - most) / sum;
    return true;
}

/* Tells of `count` rows of p->logits, samples first, first + 1 ..., or which[0], which[1] ... */
static bool tell(dt_predictor *p, size_t first, const size_t *which, size_t count, const dt_predict_listener *to,
                 dt_error *error)
{
    for (size_t i = 0; i < count; i++) {
        size_t index = which ? which[i] : first + i;
        if (!find_best(p, p->logits + i * p->classes))
            return dt_fail(error, "the scores of sample %zu are not finite; the model has diverged", index);
        if (!to->named(to->context, index, p->best, p->top, error))
            return false;
    }
    return true;
}

static void tell_progress(const dt_predict_listener *to, size_t done, size_t total)
{
    if (to->progress.tell)
        to->progress.tell(to->progress.context, "images", done, total);
}

/* From image *done on, batch by batch, until the end or a batch that has a bad image. */
static bool name_batches(dt_predictor *p, dt_loader_options *options, size_t *done, size_t total,
                         const dt_predict_listener *to, dt_error *error)
{
    options->batch = *done / p->batch;
    dt_loader *loader = dt_loader_open(options, error);
    bool good = loader != NULL;
    dt_batch batch;
    while (good && *done < total && dt_loader_next(loader, &batch, NULL)) {
        good = dt_encoder_run(p->encoder, batch.images, batch.count, p->logits, error) &&
               tell(p, *done, NULL, (size_t)batch.count, to, error);
        *done += (size_t)batch.count;
        if (good)
            tell_progress(to, *done, total);
    }
    dt_loader_close(loader);
    return good;
}

/* Image by image: the bad ones of a batch are refused, the others named. */
static bool name_rest(dt_predictor *p, const dt_sample_maker *maker, size_t first, size_t count,
                      const dt_predict_listener *to, dt_error *error)
{
    dt_error why;
    size_t kept = 0;
    dt_sample_scratch *scratch = dt_sample_scratch_new(error);
    bool good = scratch != NULL;
    for (size_t i = first; good && i < first + count; i++) {
        int32_t label;
        const dt_sample out = {p->images + kept * image_floats(p), NULL, &label};
        if (dt_sample_make(maker, scratch, i, 0, i, &out, &why))
            p->which[kept++] = i;
        else
            good = to->refused(to->context, i, &why, error);
    }
    dt_sample_scratch_free(scratch);
    return good && (!kept || (dt_encoder_run(p->encoder, p->images, (int)kept, p->logits, error) &&
                              tell(p, 0, p->which, kept, to, error)));
}

bool dt_predict_images(dt_predictor *p, const dt_pairs *pairs, const dt_image_files *files, int threads,
                       const dt_predict_listener *to, dt_error *error)
{
    const dt_sample_maker maker = {.pairs = pairs, .files = files, .transform = p->model->preprocess};
    dt_loader_options options = {.pairs = pairs,
                                 .files = files,
                                 .transform = p->model->preprocess,
                                 .batch_size = (int)p->batch,
                                 .epochs = 1,
                                 .threads = threads > 0 ? threads : omp_get_max_threads()};
    size_t done = 0, total = (size_t)(files ? files->count : dt_pairs_count(pairs));
    while (done < total) {
        if (!name_batches(p, &options, &done, total, to, error))
            return false;
        if (done == total)
            break;
        size_t part = total - done < p->batch ? total - done : p->batch;
        if (!name_rest(p, &maker, done, part, to, error))
            return false;
        done += part;
        tell_progress(to, done, total);
    }
    return true;
}

bool dt_predict_texts(dt_predictor *p, const char *const *texts, size_t count, const dt_predict_listener *to,
                      dt_error *error)
{
    for (size_t done = 0; done < count;) {
        size_t part = count - done < p->batch ? count - done : p->batch;
        if (!dt_encode_texts(p->model, p->encoder, texts + done, part, p->logits, error) ||
            !tell(p, done, NULL, part, to, error))
            return false;
        done += part;
    }
    return true;
}
