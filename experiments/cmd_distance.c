/* duet distance: how far generated pictures are from real ones. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/findings.h"
#include "eval/generated.h"
#include "eval/manifold.h"
#include "experiments/commands.h"
#include "experiments/device.h"
#include "experiments/load.h"
#include "experiments/options.h"
#include "experiments/print.h"
#include "experiments/progress.h"
#include "experiments/shared_options.h"

typedef struct settings {
    const char *weights, *real, *generated, *layer, *cache, *name, *out;
    bool files, first, no_cache, json, quiet;
    int64_t seed;
    int count, k, batch, threads;
    dt_device_options device;
} settings;

/* Everything that is open. */
typedef struct work {
    const settings *s;
    const dt_backend *backend; /* NULL: of files */
    dt_model *model;
    char *cache;
    dt_dataset *real, *generated;
    dt_features rows[2]; /* of files */
    dt_reference *reference;
    dt_distances distances;
} work;

static int distance(const settings *s);
static const char *mistake(const settings *s);

static const char summary[] =
    "Measures how far GENERATED is from REAL in a model's features: the Frechet distance (FID; with a published CLIP "
    "CLIP-FID), the kernel distances KID and CMMD (less is better for all three), precision and recall. REAL and "
    "GENERATED are pair stores (NAME.lmdb) or folders of pictures. Figures can be compared where model, layer and both "
    "numbers of images are the same. Features of all images are kept in RUN/features.";

int dt_cmd_distance(int argc, char **argv)
{
    settings s = {0};
    const dt_option options[] = {
        DT_WEIGHTS_OPTION(s.weights, false),
        {"features", 0, DT_FLAG, &s.files,
         .help = "REAL and GENERATED are safetensors files with \"features\" or \"images\" [n, d] and \"labels\" [n]"},
        {"layer", 'l', DT_CHOICE, &s.layer, "features|embedding",
         "what to compare: features before the projection, or unit-length embeddings, which CMMD is meant for",
         .preset = "features"},
        {"count", 'n', DT_INT, &s.count, "N", .help = "take only N images of each, drawn by --seed (default: all)",
         .least = 2, .most = -1},
        {"first", 0, DT_FLAG, &s.first, .help = "with --count: take the first N instead"},
        {"k", 'k', DT_INT, &s.k, "K", "nearest neighbours by which precision and recall measure reach", "3", .least = 1,
         .most = DT_MANIFOLD_K_MOST},
        {"seed", 0, DT_LONG, &s.seed, "N", "seed of the draw, and of the subsets of KID's deviation", .preset = "1"},
        DT_CACHE_OPTIONS(s.cache, s.no_cache, "features", "; with --count only those images are encoded"),
        DT_NAME_OPTION(s.name, "the names of the data"),
        DT_FINDINGS_OPTION(s.out),
        DT_JSON_OPTION(s.json, ""),
        DT_BATCH_OPTION(s.batch, "128", ""),
        DT_THREADS_OPTION(0, s.threads, 1024),
        DT_DEVICE_OPTIONS(s.device),
        DT_QUIET_OPTION('q', s.quiet),
    };
    const dt_usage usage = {"duet distance", "REAL GENERATED", summary, options, sizeof options / sizeof options[0],
                            .least = 2,      .most = 2};
    char **words;
    int count, status = dt_options_parse(&usage, argc, argv, &words, &count);
    if (status >= 0)
        return status;
    s.real = words[0];
    s.generated = words[1];
    const char *wrong = mistake(&s);
    if (!wrong)
        return distance(&s);
    fprintf(stderr, "duet distance: %s\n", wrong);
    return DT_EXIT_USAGE;
}

static const char *mistake(const settings *s)
{
    if (s->files == (s->weights != NULL))
        return s->files ? "--weights and --features do not go together" : "give --weights RUN, or --features with files";
    if (s->files && dt_device_asked(&s->device))
        return "--device and --precision are for encoding images; --features has done that";
    if (s->files && s->count)
        return "--count is for images; --features takes all rows";
    if (s->first && !s->count)
        return "--first needs --count N";
    return s->cache && s->no_cache ? "--cache and --no-cache do not go together" : NULL;
}

/* ---- computing ---- */

static void note(const char *text)
{
    if (*text)
        fprintf(stderr, "duet distance: note: %s\n", text);
}

static dt_distance_options options_of(const work *w)
{
    const settings *s = w->s;
    return (dt_distance_options){
        .features = {.layer = strcmp(s->layer, "features") ? DT_LAYER_EMBEDDING : DT_LAYER_FEATURES,
                     .cache = w->cache,
                     .weights = s->weights,
                     .backend = w->backend,
                     .batch = s->batch,
                     .threads = s->threads,
                     .progress = dt_terminal_progress(s->quiet)},
        .count = (size_t)s->count,
        .first = s->first,
        .seed = (uint64_t)s->seed,
        .k = (size_t)s->k,
    };
}

static bool compare_data(work *w, dt_error *error)
{
    const settings *s = w->s;
    if (!(w->real = dt_dataset_open(s->real, error)) || !(w->generated = dt_dataset_open(s->generated, error)) ||
        !(w->model = dt_load_weights("duet distance", s->weights, s->quiet, error)) ||
        !(w->backend = dt_device_open(&s->device, dt_device_news(s->quiet), error)))
        return false;
    if (!s->no_cache && !(w->cache = s->cache ? strdup(s->cache) : dt_features_folder(s->weights)))
        return dt_fail(error, "no memory");
    const dt_distance_options options = options_of(w);
    if (!(w->reference = dt_reference_new(w->model, w->real, &options, error)))
        return false;
    note(dt_reference_note(w->reference));
    bool good = dt_distances_of_dataset(w->reference, w->generated, &w->distances, error);
    if (good)
        note(dt_reference_note(w->reference));
    return good;
}

static dt_feature_rows rows_of(const dt_features *f)
{
    return (dt_feature_rows){f->rows, f->count, f->width};
}

static bool compare_files(work *w, dt_error *error)
{
    const dt_distance_options options = options_of(w);
    return dt_features_load(&w->rows[0], w->s->real, error) && dt_features_load(&w->rows[1], w->s->generated, error) &&
           (w->reference = dt_reference_of_rows(rows_of(&w->rows[0]), &options, error)) &&
           dt_distances_of_rows(w->reference, rows_of(&w->rows[1]), &w->distances, error);
}

/* ---- telling ---- */

static void print_table(const work *w)
{
    const settings *s = w->s;
    const dt_distances *d = &w->distances;
    printf("real        %s: %zu images\n", s->real, d->real);
    printf("generated   %s: %zu images\n", s->generated, d->generated);
    if (d->layer)
        printf("%-11s of %s, %zu wide\n\n", d->layer, s->weights, d->width);
    else
        printf("features    of files, %zu wide\n\n", d->width);
    printf("Frechet distance  %12.6g\n", d->frechet);
    printf("KID               %12.6g", d->kid.value);
    if (d->kid.subsets)
        printf("  +- %.2g over %zu subsets of %zu", d->kid.deviation, d->kid.subsets, d->kid.subset);
    printf("\nCMMD              %12.6g%s\n", d->cmmd,
           d->layer && !strcmp(d->layer, "embedding") ? "" : "  of features brought to unit length");
    printf("precision         %10.2f %%  k = %zu\n", 100 * d->precision, d->k);
    printf("recall            %10.2f %%\n", 100 * d->recall);
    dt_device_print_note();
}

static bool tell(const work *w, dt_error *error)
{
    char real[128], generated[128], name[300];
    const settings *s = w->s;
    snprintf(name, sizeof name, "%s, %s", dt_dataset_stem(s->real, real, sizeof real),
             dt_dataset_stem(s->generated, generated, sizeof generated));
    json_t *json = dt_distances_json(&w->distances, s->name ? s->name : name, s->weights, error);
    dt_device_note(json);
    dt_load_note(json, w->model);
    bool good = json && (!s->json || dt_print_json(json, 2, error));
    if (good && !s->json)
        print_table(w);
    good = good && dt_print_flush(error);
    if (good)
        note(w->distances.note);
    good = good && (!s->out || dt_findings_merge(s->out, json, error));
    json_decref(json);
    return good;
}

static int distance(const settings *s)
{
    dt_error error;
    work w = {.s = s};
    bool good = (s->files ? compare_files : compare_data)(&w, &error) && tell(&w, &error);
    dt_reference_free(w.reference);
    dt_features_free(&w.rows[0]);
    dt_features_free(&w.rows[1]);
    dt_dataset_close(w.real);
    dt_dataset_close(w.generated);
    dt_model_free(w.model);
    free(w.cache);
    if (!good)
        fprintf(stderr, "duet distance: %s\n", error.message);
    return good ? DT_EXIT_GOOD : DT_EXIT_FAILURE;
}
