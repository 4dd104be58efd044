#include "experiments/load.h"

#include "data/file.h"
#include "eval/findings.h"
#include "eval/weights.h"

#include <stdio.h>
#include <stdlib.h>

/* Whether the weights are a checkpoint (experiments/checkpoint.h) that steps were to follow. */
static bool unfinished(const dt_model *model, long long *step, long long *steps)
{
    const char *done = model->weights ? dt_weights_meta(model->weights, "duet.step") : NULL;
    const char *all = done ? dt_weights_meta(model->weights, "duet.total_steps") : NULL;
    *step = done ? strtoll(done, NULL, 10) : 0;
    *steps = all ? strtoll(all, NULL, 10) : 0;
    return *step < *steps;
}

dt_model *dt_load_weights(const char *command, const char *path, bool quiet, dt_error *error)
{
    long long step, steps;
    dt_model *model = dt_model_load(path, error);
    if (model && *model->note)
        fprintf(stderr, "%s: note: %s\n", command, model->note);
    if (model && !quiet && dt_is_directory(path) && unfinished(model, &step, &steps)) /* who names a checkpoint means it */
        fprintf(stderr, "%s: note: %s is not finished: step %lld of %lld\n", command, path, step, steps);
    return model;
}

void dt_load_note(json_t *found, const dt_model *model)
{
    char text[64];
    long long step, steps;
    if (!found || !model || !unfinished(model, &step, &steps))
        return;
    snprintf(text, sizeof text, "at step %lld of %lld", step, steps);
    dt_findings_note(found, text);
    json_object_set_new(found, "unfinished", json_pack("{s:I, s:I}", "step", (json_int_t)step, "of", (json_int_t)steps));
}
