/* duet probe: a linear classifier on frozen features. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/classes.h"
#include "eval/findings.h"
#include "eval/probe_json.h"
#include "experiments/commands.h"
#include "experiments/device.h"
#include "experiments/load.h"
#include "experiments/options.h"
#include "experiments/print.h"
#include "experiments/progress.h"
#include "experiments/shared_options.h"

typedef struct settings {
    const char *weights, *train, *test, *validation, *C_text, *shots_text, *cache, *name, *out, *save;
    bool files, after_projection, no_cache, json, quiet;
    double share, C; /* C 0: the sweep */
    size_t shots[DT_SHOTS_MAX], shot_count;
    int64_t seed;
    int seeds, folds, iterations, batch, threads;
    dt_device_options device;
} settings;

enum { TRAIN, VALIDATION, TEST, PARTS };
static const char *const parts[PARTS] = {"training", "validation", "test"};

/* Everything that is open; of validation and test perhaps nothing. */
typedef struct work {
    const settings *s;
    dt_model *model;
    char *cache;
    dt_dataset *data[PARTS];
    dt_features features[PARTS];
    dt_probe_result result;
} work;

static int probe(const settings *s);
static const char *settle(settings *s, char *message, size_t size);

static const char summary[] = "Trains a logistic regression on a model's frozen image features and tests it: "
                              "the linear probe of the CLIP paper "
                              "(Radford et al., 2021, A.3). TRAIN and TEST are pair stores (NAME.lmdb) or "
                              "folders of class folders; their classes are "
                              "matched by name. Features are those before the projection, used as they are, "
                              "without standardisation; they are computed "
                              "once and kept in RUN/features. The regulariser is chosen by the accuracy on "
                              "the validation part, by the paper's "
                              "search over 96 logarithmic steps of C (the inverse strength) from 1e-6 to "
                              "1e6; the last fit then takes the validation part too. TEST may be left "
                              "out with --folds or --save.";

int dt_cmd_probe(int argc, char **argv)
{
    settings s = {0};
    const dt_option options[] = {
        DT_WEIGHTS_OPTION(s.weights, false),
        {"features", 0, DT_FLAG, &s.files,
         .help = "TRAIN, TEST and --validation are safetensors files with \"features\" or \"images\" [n, d] "
                 "and \"labels\" [n]"},
        {"validation", 0, DT_STRING, &s.validation, "DATA", .help = "choose C on this data (default: a part of TRAIN)"},
        {"validation-share", 0, DT_FLOAT, &s.share, "SHARE",
         "without --validation: the share of TRAIN, class by class, that is held out to choose C on", "0.1", .least = 0,
         .most = 1},
        {"after-projection", 0, DT_FLAG, &s.after_projection,
         .help = "probe the unit-length embeddings instead"},
        {"C", 'C', DT_STRING, &s.C_text, "sweep|C", "how to choose C, or its value", .preset = "sweep"},
        {"few-shot", 'k', DT_STRING, &s.shots_text, "K,...",
         .help = "also train on so few images of each class: --few-shot 1,2,4,8,16"},
        {"seeds", 0, DT_INT, &s.seeds, "N", "draws for each number of --few-shot", "3", .least = 1,
         .most = DT_SHOT_SEEDS_MAX},
        {"folds", 0, DT_INT, &s.folds, "K",
         .help = "also K-fold cross-validation on TRAIN, class by class, at the C that was chosen", .least = 2,
         .most = 1000},
        {"seed", 0, DT_LONG, &s.seed, "N", "seed of the part held out, the draws, the folds and the intervals",
         .preset = "1"},
        {"max-iterations", 0, DT_INT, &s.iterations, "N", "most iterations of a fit", "1000", .least = 1, .most = -1},
        DT_CACHE_OPTIONS(s.cache, s.no_cache, "features", ""),
        DT_NAME_OPTION(s.name, "TEST's name"),
        DT_FINDINGS_OPTION(s.out),
        {"save", 0, DT_STRING, &s.save, "FILE", .help = "write weights and bias to this .safetensors file"},
        DT_JSON_OPTION(s.json, ""),
        DT_BATCH_OPTION(s.batch, "128", ""),
        DT_THREADS_OPTION(0, s.threads, 1024),
        DT_DEVICE_OPTIONS(s.device),
        DT_QUIET_OPTION(0, s.quiet),
    };
    const dt_usage usage = {
        "duet probe", "TRAIN [TEST]", summary, options, sizeof options / sizeof options[0],
        .least = 1,   .most = 2};
    char **words, message[256];
    int count, status = dt_options_parse(&usage, argc, argv, &words, &count);
    if (status >= 0)
        return status;
    s.train = words[0];
    s.test = count > 1 ? words[1] : NULL;
    const char *wrong = settle(&s, message, sizeof message);
    if (!wrong)
        return probe(&s);
    fprintf(stderr, "duet probe: %s\n", wrong);
    return DT_EXIT_USAGE;
}

/* "1,2,4" */
static bool read_shots(settings *s)
{
    for (const char *at = s->shots_text; at; at++) {
        char *end;
        errno = 0;
        unsigned long number = strtoul(at, &end, 10);
        if (end == at || *at < '0' || *at > '9' || errno || !number || s->shot_count == DT_SHOTS_MAX ||
            (*end && *end != ','))
            return false;
        s->shots[s->shot_count++] = number;
        if (!*end)
            return true;
        at = end;
    }
    return true;
}

/* Reads what the option parser does not; NULL, or why the words do not fit together. */
static const char *settle(settings *s, char *message, size_t size)
{
    char *end;
    if (s->files == (s->weights != NULL))
        return s->files ? "--weights and --features do not go together"
                        : "give --weights RUN, or --features with files";
    if (s->files && dt_device_asked(&s->device))
        return "--device and --precision are for encoding images; --features has done that";
    if (!s->test && !s->folds && !s->save)
        return "nothing to test on; give TEST, --folds K or --save FILE";
    if (s->shots_text && !s->test)
        return "--few-shot needs TEST";
    if (s->cache && s->no_cache)
        return "--cache and --no-cache do not go together";
    if (s->share <= 0 || s->share >= 1)
        return "--validation-share: expected a share above 0 and below 1";
    if (!read_shots(s)) {
        snprintf(message, size,
                 "--few-shot: expected up to %d whole numbers from 1, as in 1,2,4,8,16; found '%.100s'",
                 DT_SHOTS_MAX, s->shots_text);
        return message;
    }
    if (strcmp(s->C_text, "sweep")) {
        s->C = strtod(s->C_text, &end);
        if (end == s->C_text || *end || !(s->C > 0) || !isfinite(s->C)) {
            snprintf(message, size, "--C: expected a positive number or sweep, found '%.100s'", s->C_text);
            return message;
        }
    }
    return s->C > 0 && s->validation ? "--validation chooses C; it does not go with a given --C" : NULL;
}

/* ---- features ---- */

static const char *layer_name(const settings *s)
{
    return s->files ? "of a file" : s->after_projection ? "embedding" : "features";
}

/* Mistakes in the words should show before the long computation: the data opens, has classes, and training
 * has them too. */
static bool check_classes(const dt_dataset *train, const dt_dataset *data, dt_error *error)
{
    size_t count = dt_dataset_class_count(train), labelled = 0;
    const char **names = calloc(count + 1, sizeof *names);
    int32_t *class_of_label = calloc(dt_dataset_class_count(data) + 1, sizeof *class_of_label);
    for (size_t i = 0; i < dt_dataset_count(data); i++)
        labelled += dt_dataset_labels(data)[i] >= 0;
    for (size_t c = 0; names && c < count; c++)
        names[c] = dt_dataset_class_name(train, c);
    bool good = ((names && class_of_label) || dt_fail(error, "no memory for %zu classes", count)) &&
                (labelled || dt_fail(error, "%s: none of its %zu images has a class", dt_dataset_path(data),
                                     dt_dataset_count(data))) &&
                dt_classes_find(names, count, data, class_of_label, error);
    free(names);
    free(class_of_label);
    return good;
}

static bool open_data(work *w, dt_error *error)
{
    const char *const paths[PARTS] = {w->s->train, w->s->validation, w->s->test};
    for (int i = 0; i < PARTS; i++)
        if (paths[i] && (!(w->data[i] = dt_dataset_open(paths[i], error)) ||
                         !check_classes(w->data[TRAIN], w->data[i], error)))
            return false;
    return true;
}

static bool compute(work *w, dt_error *error)
{
    const settings *s = w->s;
    const dt_backend *backend;
    if (!open_data(w, error) || !(w->model = dt_load_weights("duet probe", s->weights, s->quiet, error)) ||
        !(backend = dt_device_open(&s->device, dt_device_news(s->quiet), error)))
        return false;
    if (!s->no_cache && !(w->cache = s->cache ? strdup(s->cache) : dt_features_folder(s->weights)))
        return dt_fail(error, "no memory");
    const dt_features_options options = {.layer =
                                             s->after_projection ? DT_LAYER_EMBEDDING : DT_LAYER_FEATURES,
                                         .cache = w->cache,
                                         .weights = s->weights,
                                         .backend = backend,
                                         .batch = s->batch,
                                         .threads = s->threads,
                                         .progress = dt_terminal_progress(s->quiet)};
    for (int i = 0; i < PARTS; i++) {
        if (w->data[i] && !dt_features_of(&w->features[i], w->model, w->data[i], &options, error))
            return false;
        if (*w->features[i].note)
            fprintf(stderr, "duet probe: note: %s\n", w->features[i].note);
    }
    return true;
}

static bool load(work *w, dt_error *error)
{
    const char *const paths[PARTS] = {w->s->train, w->s->validation, w->s->test};
    bool good = true;
    for (int i = 0; good && i < PARTS; i++)
        good = !paths[i] || dt_features_load(&w->features[i], paths[i], error);
    return good;
}

/* ---- the report ---- */

static void print_features(const char *role, const dt_features *f, size_t rows)
{
    printf("%-11s %s: %zu images", role, f->source, rows);
    if (f->unlabelled)
        printf(" (%zu more without a class)", f->unlabelled);
    printf(", %zu features", f->width);
    if (f->cached)
        printf(", from %s\n", f->path);
    else
        printf(", computed in %.1f s, %.1f %% of it waiting for images\n", f->times.seconds,
               f->times.seconds > 0 ? 100 * f->times.waited / f->times.seconds : 0);
}

static void print_choice(const dt_probe_result *r)
{
    const dt_sweep *sweep = &r->sweep;
    printf("%zu classes, C = %.4g", r->data.class_count, r->C);
    if (sweep->count)
        printf(", the best of %zu fits in %.1f s: %.2f %% of %zu validation images", sweep->count,
               r->sweep_seconds, 100 * sweep->points[sweep->best].accuracy, sweep->validated);
    printf("\n\n");
}

/* One row; what is below 0 stays blank. */
static void print_row(const char *what, double value, const char *spread, size_t n, double C, double seconds)
{
    printf("%-28s  %7.2f %%  %-16s  %7zu", what, 100 * value, spread, n);
    if (C > 0)
        printf("  %10.4g", C);
    else if (seconds >= 0)
        printf("  %10s", "");
    if (seconds >= 0)
        printf("  %8.1f", seconds);
    printf("\n");
}

/* The figures of the test. The set's name stands before each, and is told above. */
static void print_figures(const dt_probe_result *r, const json_t *json)
{
    size_t i;
    const json_t *figure;
    json_array_foreach(json_object_get(json, "figures"), i, figure)
    {
        const char *name = json_string_value(json_object_get(figure, "name"));
        const char *key = json_string_value(json_object_get(figure, "key"));
        const json_t *low = json_object_get(figure, "low"), *high = json_object_get(figure, "high");
        char spread[48] = "";
        if (!strcmp(key, "folds") || !strncmp(key, "shots_", 6))
            continue; /* these have rows of their own */
        if (low && high)
            snprintf(spread, sizeof spread, "%.2f to %.2f %%", 100 * json_number_value(low),
                     100 * json_number_value(high));
        print_row(name + strlen(r->name) + 2, json_number_value(json_object_get(figure, "value")), spread,
                  (size_t)json_integer_value(json_object_get(figure, "n")), i ? 0 : r->C,
                  i ? -1 : r->facts.seconds);
    }
}

static void print_shots(const dt_shot_curve *curve, double seconds)
{
    for (size_t i = 0; curve && i < curve->count; i++) {
        const dt_shot_point *p = &curve->points[i];
        char what[64], spread[48];
        snprintf(what, sizeof what, "%zu per class, %zu draws", p->shots, curve->seeds);
        snprintf(spread, sizeof spread, "sd %.2f %%", 100 * p->deviation);
        print_row(what, p->mean, spread, curve->tested, curve->seeds == 1 ? p->of_seed[0].C : 0,
                  i + 1 == curve->count ? seconds : -1);
    }
}

static void print_folds(const dt_probe_result *r)
{
    if (!r->fold_accuracies)
        return;
    char what[64], spread[48];
    snprintf(what, sizeof what, "%d folds of the training", r->settings.folds);
    snprintf(spread, sizeof spread, "sd %.2f %%", 100 * r->fold_deviation);
    print_row(what, r->fold_mean, spread, r->data.trained, r->C, r->folds_seconds);
}

static void print_table(const work *w, const json_t *json)
{
    const dt_probe_result *r = &w->result;
    for (int i = 0; i < PARTS; i++)
        if (w->features[i].source) /* the rows of the training have moved on */
            print_features(parts[i], &w->features[i], i == TRAIN ? r->data.trained : w->features[i].count);
    print_choice(r);
    printf("%-28s  %9s  %-16s  %7s  %10s  %8s\n", "figure", "value", "95 % interval", "n", "C", "seconds");
    print_figures(r, json);
    print_shots(r->shots, r->shots_seconds);
    print_folds(r);
    dt_device_print_note();
}

/* Fits that ended early are not wrong by much, but are told. */
static void warn(const dt_probe_result *r, int iterations)
{
    size_t unfinished = 0, draws = 0;
    for (size_t i = 0; i < r->sweep.count; i++)
        unfinished += !r->sweep.points[i].facts.converged;
    for (size_t i = 0; r->shots && i < r->shots->count; i++)
        for (size_t s = 0; s < r->shots->seeds; s++)
            draws += !r->shots->points[i].of_seed[s].converged;
    if (r->sweep.count && (r->sweep.points[r->sweep.best].step == 0 || r->sweep.points[r->sweep.best].step == DT_SWEEP_STEPS))
        fprintf(stderr, "duet probe: warning: C = %.4g is an end of the range that is searched\n", r->C);
    if (!r->facts.converged)
        fprintf(stderr, "duet probe: warning: the fit at C = %.4g had not converged after %d iterations\n",
                r->C, iterations);
    if (unfinished)
        fprintf(
            stderr,
            "duet probe: warning: %zu of the %zu fits that chose C had not converged after %d iterations\n",
            unfinished, r->sweep.count, iterations);
    if (draws)
        fprintf(stderr, "duet probe: warning: %zu few-shot fits had not converged after %d iterations\n",
                draws, iterations);
}

static bool features_json(json_t *list, const char *part, const dt_features *f)
{
    return json_object_set_new(list, part,
                               json_pack("{s:b, s:f, s:f, s:I}", "cached", f->cached, "seconds",
                                         f->times.seconds, "waited", f->times.waited, "unlabelled",
                                         (json_int_t)f->unlabelled)) == 0;
}

static bool print_json(const work *w, json_t *json, dt_error *error)
{
    json_t *list = json_object();
    bool good = json_object_set_new(json, "features", list) == 0;
    for (int i = 0; good && i < PARTS; i++)
        good = !w->features[i].source || features_json(list, parts[i], &w->features[i]);
    if (!good)
        return dt_fail(error, "no memory for the results");
    return dt_print_json(json, 2, error);
}

static bool report(const work *w, dt_error *error)
{
    json_t *json = dt_probe_json(&w->result, error);
    bool good = json != NULL;
    dt_device_note(json);
    dt_load_note(json, w->model);
    if (good && w->s->json)
        good = print_json(w, json, error);
    else if (good)
        print_table(w, json);
    if (good)
        warn(&w->result, w->s->iterations);
    good = good && dt_print_flush(error) &&
           (!w->s->out || dt_findings_merge(w->s->out, json, error)) &&
           (!w->s->save || dt_probe_save(&w->result, layer_name(w->s), w->s->save, error));
    json_decref(json);
    return good;
}

static bool run(work *w, dt_error *error)
{
    const settings *s = w->s;
    char stem[256];
    const dt_probe_settings wanted = {
        .set = s->name ? s->name : dt_dataset_stem(s->test ? s->test : s->train, stem, sizeof stem),
        .method = s->after_projection ? "probe of embeddings" : "probe",
        .C = s->C,
        .share = s->share,
        .seed = (uint64_t)s->seed,
        .shots = s->shots,
        .shot_count = s->shot_count,
        .seeds = (size_t)s->seeds,
        .folds = s->folds,
        .fits = {.max_iterations = s->iterations, .progress = dt_terminal_progress(s->quiet)}};
    dt_features *f = w->features;
    return (s->files ? load : compute)(w, error) &&
           dt_probe_run(&w->result, &f[TRAIN], s->validation ? &f[VALIDATION] : NULL,
                        s->test ? &f[TEST] : NULL, &wanted, error) &&
           report(w, error);
}

static int probe(const settings *s)
{
    dt_error error;
    work w = {.s = s};
    bool good = run(&w, &error);
    dt_probe_result_free(&w.result);
    for (int i = 0; i < PARTS; i++) {
        dt_features_free(&w.features[i]);
        dt_dataset_close(w.data[i]);
    }
    dt_model_free(w.model);
    free(w.cache);
    if (!good)
        fprintf(stderr, "duet probe: %s\n", error.message);
    return good ? DT_EXIT_GOOD : DT_EXIT_FAILURE;
}
