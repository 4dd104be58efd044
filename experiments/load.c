#include "experiments/load.h"

#include <stdio.h>

dt_model *dt_load_weights(const char *command, const char *path, dt_error *error)
{
    dt_model *model = dt_model_load(path, error);
    if (model && *model->note)
        fprintf(stderr, "%s: note: %s\n", command, model->note);
    return model;
}
