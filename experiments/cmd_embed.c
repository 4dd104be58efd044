/* duet embed: embeddings of images, captions and texts, for use elsewhere. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/npy.h"
#include "data/safetensors.h"
#include "eval/dataset.h"
#include "eval/texts.h"
#include "experiments/commands.h"
#include "experiments/device.h"
#include "experiments/load.h"
#include "experiments/options.h"
#include "experiments/progress.h"
#include "experiments/shared_options.h"

typedef struct settings {
    const char *weights, *data, *texts, *out;
    bool images, captions, quiet, npy;
    int batch, threads;
    dt_device_options device;
} settings;

/* What is embedded, and where it goes. */
typedef struct work {
    const dt_backend *backend;
    dt_model *model;
    dt_dataset *data;
    dt_captions captions;
    dt_texts texts;
    dt_progress progress;
    float *image_rows, *text_rows;
    size_t images, rows; /* of texts */
} work;

static int embed(settings *s);

static const char summary[] = "Writes unit-length embeddings. DATA is a pair store (NAME.lmdb) or a folder "
                              "of class folders. OUT.safetensors holds "
                              "image_embeddings [n, d] and labels [n] (-1: none), and text_embeddings [m, d] "
                              "with caption_image [m], the image that each "
                              "caption belongs to, where there are captions; or the texts of --texts. "
                              "OUT.npy holds one float32 matrix: say which with "
                              "--images, --captions or --texts.";

int dt_cmd_embed(int argc, char **argv)
{
    settings s = {0};
    const dt_option options[] = {
        DT_WEIGHTS_OPTION(s.weights, true),
        {"out", 'o', DT_STRING, &s.out, "FILE", "where to write: NAME.safetensors or NAME.npy",
         .required = true},
        {"images", 0, DT_FLAG, &s.images, .help = "embed the images of DATA (default: images and captions)"},
        {"captions", 0, DT_FLAG, &s.captions, .help = "embed the captions of DATA"},
        {"texts", 0, DT_STRING, &s.texts, "FILE",
         .help = "embed these texts, one a line, instead of captions; -: standard input"},
        DT_BATCH_OPTION(s.batch, "128", ""),
        DT_THREADS_OPTION(0, s.threads, 1024),
        DT_DEVICE_OPTIONS(s.device),
        DT_QUIET_OPTION('q', s.quiet),
    };
    const dt_usage usage = {"duet embed", "[DATA]", summary, options, sizeof options / sizeof options[0],
                            .least = 0,   .most = 1};
    char **words;
    int count, status = dt_options_parse(&usage, argc, argv, &words, &count);
    if (status >= 0)
        return status;
    s.data = count ? words[0] : NULL;
    return embed(&s);
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), k = strlen(end);
    return n > k && !strcmp(text + n - k, end);
}

/* Which of the things that could be meant are; NULL, or why the words do not fit together. */
static const char *settle(settings *s)
{
    s->npy = ends_with(s->out, ".npy");
    if (!s->npy && !ends_with(s->out, ".safetensors"))
        return "--out: expected a name that ends in .safetensors or .npy";
    if (!s->data && !s->texts)
        return "nothing to embed; give DATA or --texts FILE";
    if (!s->data && (s->images || s->captions))
        return "--images and --captions need DATA";
    if (s->texts && s->captions)
        return "--texts and --captions do not go together";
    if (s->npy && s->images + s->captions + (s->texts != NULL) != 1)
        return "a .npy file holds one matrix; choose one of --images, --captions and --texts";
    if (s->npy && s->texts && s->data)
        return "a .npy file holds one matrix; choose between DATA and --texts";
    if (s->data && !s->images && !s->captions) {
        s->images = true;
        s->captions = !s->texts;
    }
    return NULL;
}

static int clipped(int batch, size_t count)
{
    return count < (size_t)batch ? (int)count : batch;
}

/* Rows for `count` samples of an encoder, which may be NULL: it failed, and so does this. */
static float *rows_for(const dt_encoder *encoder, size_t count, dt_error *error)
{
    size_t dim = encoder ? dt_encoder_width(encoder) : 0;
    float *rows = dim && count <= SIZE_MAX / dim ? calloc(count * dim, sizeof *rows) : NULL;
    if (encoder && !rows)
        dt_fail(error, "no memory for %zu embeddings of width %zu", count, dim);
    return rows;
}

static bool embed_images(work *w, const settings *s, dt_error *error)
{
    w->images = dt_dataset_count(w->data);
    dt_encoder *encoder = dt_image_encoder_new(w->model, w->backend, clipped(s->batch, w->images), error);
    w->image_rows = rows_for(encoder, w->images, error);
    bool good = w->image_rows &&
                dt_dataset_embed(w->data, w->model, encoder, s->threads, w->image_rows, w->progress, error);
    dt_encoder_free(encoder);
    return good;
}

static bool embed_texts(work *w, const settings *s, const char *const *texts, size_t count, dt_error *error)
{
    w->rows = count;
    dt_encoder *encoder = dt_text_encoder_new(w->model, w->backend, clipped(s->batch, count), error);
    w->text_rows = rows_for(encoder, count, error);
    bool good = w->text_rows && dt_embed_texts(w->model, encoder, texts, count, w->text_rows, w->progress, error);
    dt_encoder_free(encoder);
    return good;
}

/* Captions are optional where they were not asked for by name. */
static bool embed_captions(work *w, const settings *s, dt_error *error)
{
    if (!dt_dataset_captions(w->data, 0, &w->captions, error))
        return false;
    if (!w->captions.count)
        return s->images || dt_fail(error, "%s has no captions", s->data);
    return embed_texts(w, s, w->captions.texts, w->captions.count, error);
}

static bool write_out(const work *w, const settings *s, dt_error *error)
{
    int64_t dim = w->model->config.embed_dim, images = (int64_t)w->images, texts = (int64_t)w->rows;
    if (s->npy)
        return dt_npy_write_float(s->out, images ? w->image_rows : w->text_rows, 2,
                                  (int64_t[]){images ? images : texts, dim}, error);
    dt_st_tensor tensors[4];
    size_t count = 0;
    if (images) {
        tensors[count++] = (dt_st_tensor){.name = "image_embeddings",
                                          .type = DT_ST_F32,
                                          .rank = 2,
                                          .shape = {images, dim},
                                          .data = w->image_rows};
        tensors[count++] = (dt_st_tensor){.name = "labels",
                                          .type = DT_ST_I32,
                                          .rank = 1,
                                          .shape = {images},
                                          .data = dt_dataset_labels(w->data)};
    }
    if (texts)
        tensors[count++] = (dt_st_tensor){.name = "text_embeddings",
                                          .type = DT_ST_F32,
                                          .rank = 2,
                                          .shape = {texts, dim},
                                          .data = w->text_rows};
    if (w->captions.count)
        tensors[count++] = (dt_st_tensor){.name = "caption_image",
                                          .type = DT_ST_I32,
                                          .rank = 1,
                                          .shape = {texts},
                                          .data = w->captions.images};
    dt_st_meta meta[3] = {{"weights", s->weights}};
    size_t notes = 1;
    if (s->data)
        meta[notes++] = (dt_st_meta){"data", s->data};
    if (s->texts)
        meta[notes++] = (dt_st_meta){"texts", s->texts};
    return dt_safetensors_write(s->out, tensors, count, meta, notes, error);
}

static bool run(work *w, const settings *s, dt_error *error)
{
    if (s->texts && !dt_texts_load(&w->texts, s->texts, false, error))
        return false;
    if (s->data && !(w->data = dt_dataset_open(s->data, error)))
        return false;
    if (!(w->model = dt_load_weights("duet embed", s->weights, s->quiet, error)) ||
        !(w->backend = dt_device_open(&s->device, dt_device_news(s->quiet), error)))
        return false;
    return (!s->images || embed_images(w, s, error)) && (!s->captions || embed_captions(w, s, error)) &&
           (!s->texts || embed_texts(w, s, (const char *const *)w->texts.items, w->texts.count, error)) &&
           write_out(w, s, error);
}

static int embed(settings *s)
{
    const char *wrong = settle(s);
    if (wrong) {
        fprintf(stderr, "duet embed: %s\n", wrong);
        return DT_EXIT_USAGE;
    }
    dt_error error;
    work w = {.progress = dt_terminal_progress(s->quiet)};
    bool good = run(&w, s, &error);
    if (good)
        printf("%s: %zu images, %zu texts, width %d\n", s->out, w.images, w.rows, w.model->config.embed_dim);
    else
        fprintf(stderr, "duet embed: %s\n", error.message);
    dt_model_free(w.model);
    dt_dataset_close(w.data);
    dt_captions_free(&w.captions);
    dt_texts_free(&w.texts);
    free(w.image_rows);
    free(w.text_rows);
    return good && fflush(stdout) == 0 ? DT_EXIT_GOOD : DT_EXIT_FAILURE;
}
