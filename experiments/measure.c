#include "experiments/measure.h"

#include "eval/consistency.h"
#include "eval/generated.h"
#include "experiments/load.h"
#include "experiments/progress.h"

#include <math.h>
#include <stdlib.h>

uint8_t *dt_picture_bytes(const float *pictures, size_t numbers, float low)
{
    uint8_t *bytes = malloc(numbers + 1);
    for (size_t i = 0; bytes && i < numbers; i++) {
        float level = 255 * (pictures[i] - low) / (1 - low);
        bytes[i] = level >= 255 ? 255 : level > 0 ? (uint8_t)lrintf(level) : 0; /* a NaN is black */
    }
    return bytes;
}

const char *dt_first_train(const dt_generative_config *c)
{
    return json_string_value(json_is_array(c->train) ? json_array_get(c->train, 0) : c->train);
}

bool dt_measure_check(const dt_generative *run, const char *command, const char *classifier, dt_error *error)
{
    const char *weights[] = {run->config.measure, classifier};
    bool good = true;
    for (size_t i = 0; good && i < 2; i++) {
        dt_model *model = weights[i] ? dt_load_weights(command, weights[i], run->quiet, error) : NULL;
        good = !weights[i] || model || dt_fail_prefix(error, "measure");
        dt_model_free(model);
    }
    if (good && run->config.measure && run->config.test) {
        dt_dataset *test = dt_dataset_open(run->config.test, error);
        good = test != NULL;
        dt_dataset_close(test);
    }
    return good;
}

static bool take_distances(const dt_generative *run, const char *command, const dt_picture_set *set, const char *set_name,
                           dt_error *error)
{
    const dt_generative_config *c = &run->config;
    dt_distances d;
    dt_dataset *real = dt_dataset_open(c->test ? c->test : dt_first_train(c), error);
    dt_model *model = real ? dt_load_weights(command, c->measure, true, error) : NULL;
    char *cache = dt_features_folder(c->measure);
    const dt_distance_options o = {.features = {.layer = c->measure_layer, .cache = cache, .weights = c->measure,
                                                .backend = run->folder.backend,
                                                .threads = c->threads, .progress = dt_terminal_progress(run->quiet)},
                                   .count = (size_t)c->measure_count, .seed = 1};
    dt_reference *reference = model ? dt_reference_new(model, real, &o, error) : NULL;
    bool good = reference && dt_distances_of_pictures(reference, set, &d, error);
    if (good)
        dt_log_say(run->log, "%zu pictures against %zu of %s in %s: Frechet distance %.4g, KID %.3g, CMMD %.3g, precision %.3f, "
                             "recall %.3f%s%s", d.generated, d.real, dt_dataset_path(real), c->measure, d.frechet, d.kid.value,
                   d.cmmd, d.precision, d.recall, *d.note ? "; " : "", d.note);
    json_t *found = good ? dt_distances_json(&d, set_name, c->measure, error) : NULL;
    good = good && found && dt_generative_found(run, found, error);
    dt_reference_free(reference);
    free(cache);
    dt_model_free(model);
    dt_dataset_close(real);
    return good;
}

static bool judge_labels(const dt_generative *run, const char *command, const dt_picture_set *set, const dt_drawn *drawn,
                         const char *classifier, dt_error *error)
{
    size_t count = json_array_size(drawn->classes);
    const char **names = calloc(count + 1, sizeof *names);
    const dt_features_options o = {.backend = run->folder.backend};
    double share = NAN;
    json_t *found = NULL;
    for (size_t i = 0; names && i < count; i++)
        names[i] = json_string_value(json_array_get(drawn->classes, i));
    dt_model *model = names ? dt_load_weights(command, classifier, true, error) : NULL;
    bool good = (names || dt_fail(error, "out of memory")) && model &&
                dt_label_consistency(model, set, drawn->labels, names, count, &o, drawn->name, classifier, &share, &found, error);
    if (good)
        dt_log_say(run->log, "%s names %.2f %% of %zu pictures as what they were made to show", classifier, 100 * share, set->count);
    good = good && dt_generative_found(run, found, error);
    dt_model_free(model);
    free(names);
    return good;
}

bool dt_measure_drawn(const dt_generative *run, const char *command, const dt_drawn *drawn, const char *classifier, dt_error *error)
{
    size_t side = (size_t)drawn->side;
    uint8_t *bytes = dt_picture_bytes(drawn->pictures, drawn->count * side * side * (size_t)drawn->channels, drawn->low);
    const dt_picture_set set = {bytes, drawn->count, drawn->side, drawn->side, drawn->channels};
    bool good = (bytes || dt_fail(error, "no memory for %zu pictures", drawn->count)) &&
                (!run->config.measure || take_distances(run, command, &set, drawn->name, error)) &&
                (!classifier || !drawn->labels || judge_labels(run, command, &set, drawn, classifier, error));
    free(bytes);
    return good;
}
