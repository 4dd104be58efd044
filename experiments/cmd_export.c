/* duet export: models as others read them. */
#include <stdio.h>
#include <string.h>

#include "eval/export.h"
#include "experiments/commands.h"
#include "experiments/options.h"
#include "experiments/load.h"

static const char summary[] = "Writes a model as a folder that others load: hf for transformers' from_pretrained, open_clip "
                              "for open_clip's \"local-dir:FOLDER\". IN is " DT_WEIGHTS_HELP ".";

int dt_cmd_export(int argc, char **argv)
{
    const char *format = NULL;
    const dt_option options[] = {
        {"format", 'f', DT_CHOICE, &format, "hf|open_clip", "whose files are written", .required = true},
    };
    const dt_usage usage = {"duet export", "IN FOLDER", summary, options, 1, .least = 2, .most = 2};
    char **words;
    int count, status = dt_options_parse(&usage, argc, argv, &words, &count);
    if (status >= 0)
        return status;
    dt_error error;
    dt_model *model = dt_model_load(words[0], &error);
    bool good = model && (strcmp(format, "hf") ? dt_export_open_clip : dt_export_hf)(model, words[1], &error);
    if (good && *model->note)
        fprintf(stderr, "duet export: note: %s\n", model->note);
    if (good)
        printf("%s: %zu parameters, %s\n", words[1], dt_params_trainable(model->params),
               model->tokenizer ? "with its tokenizer" : "without a tokenizer");
    else
        fprintf(stderr, "duet export: %s\n", error.message);
    dt_model_free(model);
    return good ? DT_EXIT_GOOD : DT_EXIT_FAILURE;
}
