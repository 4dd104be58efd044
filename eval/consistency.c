#include "eval/consistency.h"

#include <stdlib.h>

#include "eval/assessment.h"
#include "eval/name_list.h"

/* The head's classes [count] that the labels mean. */
static bool translate(const dt_model *model, const int32_t *labels, size_t count, const char *const *names, size_t name_count,
                      int32_t *classes, dt_error *error)
{
    size_t heads = (size_t)model->head.classes;
    const char **known = calloc(heads + 1, sizeof *known);
    for (size_t c = 0; known && c < heads; c++)
        known[c] = dt_model_class_name(model, c);
    json_t *index = known ? dt_name_index(known, heads, NULL, error) : NULL;
    bool good = known ? index != NULL : dt_fail(error, "no memory for %zu classes", heads);
    for (size_t i = 0; good && i < count; i++) {
        int32_t label = labels[i];
        if (label >= 0 && (size_t)label >= (names ? name_count : heads))
            good = dt_fail(error, "picture %zu has the label %d; expected less than %zu", i, label, names ? name_count : heads);
        else
            classes[i] = label < 0 ? -1 : names ? dt_name_number(index, names[label]) : label;
        if (good && label >= 0 && classes[i] < 0)
            good = dt_fail(error, "picture %zu was made for the class '%.100s', which the classifier does not know", i,
                           names[label]);
    }
    free(known);
    json_decref(index);
    return good;
}

/* The assessment's first figure under its own name. */
static json_t *findings(const dt_assessment *assessment, const char *set, const char *checkpoint, dt_error *error)
{
    json_t *all = dt_assessment_figures(assessment, error);
    if (!all)
        return NULL;
    json_t *figure = json_array_get(all, 0);
    json_object_set_new(figure, "key", json_string("consistency"));
    json_object_set_new(figure, "name", json_sprintf("%s: label consistency", set));
    json_object_set_new(figure, "note", json_sprintf("pictures that %s names as they were meant", checkpoint));
    json_t *found = json_pack("{s:[O]}", "figures", figure);
    json_decref(all);
    if (!found)
        dt_fail(error, "no memory for the figures of %s", set);
    return found;
}

/* scores [count, classes] of all pictures. */
static float *score(dt_model *model, const dt_picture_set *pictures, const dt_features_options *o, dt_error *error)
{
    size_t batch = o->batch > 0 ? (size_t)o->batch : 128, count = pictures->count, cells;
    dt_encoder *encoder = dt_encoder_new(model, o->backend ? o->backend : dt_cpu(), DT_TOWER_IMAGE, DT_LAYER_LOGITS,
                                         (int)(batch < count ? batch : count), error);
    bool fits = encoder && !__builtin_mul_overflow(count, dt_encoder_width(encoder), &cells);
    float *scores = fits ? calloc(cells, sizeof *scores) : NULL;
    bool good = scores && dt_picture_set_encode(pictures, model, encoder, o->threads, scores, o->progress, error);
    if (encoder && !scores)
        dt_fail(error, "no memory for the scores of %zu pictures", count);
    dt_encoder_free(encoder);
    if (good)
        return scores;
    free(scores);
    return NULL;
}

bool dt_label_consistency(dt_model *model, const dt_picture_set *pictures, const int32_t *labels, const char *const *names,
                          size_t name_count, const dt_features_options *options, const char *set, const char *checkpoint,
                          double *share, json_t **found, dt_error *error)
{
    const dt_features_options defaults = {0};
    if (!pictures->count)
        return dt_fail(error, "there are no pictures to name");
    float *scores = score(model, pictures, options ? options : &defaults, error);
    int32_t *classes = scores ? calloc(pictures->count, sizeof *classes) : NULL;
    if (scores && !classes)
        dt_fail(error, "no memory for %zu labels", pictures->count);
    const dt_assessment_options wanted = {.name = set, .classes = (size_t)model->head.classes};
    dt_assessment *assessment = classes ? dt_assessment_new(&wanted, error) : NULL;
    bool good = assessment && translate(model, labels, pictures->count, names, name_count, classes, error) &&
                dt_assessment_add(assessment, scores, classes, NULL, pictures->count, error);
    if (good && !assessment->n)
        good = dt_fail(error, "none of the %zu pictures has a label", pictures->count);
    if (good)
        *share = dt_classification_top(assessment->counts, 1);
    if (good && found)
        good = (*found = findings(assessment, set, checkpoint, error)) != NULL;
    dt_assessment_free(assessment);
    free(classes);
    free(scores);
    return good;
}
