/* duet convert: weights of others as Duet's own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/file.h"
#include "eval/origin.h"
#include "experiments/commands.h"
#include "experiments/options.h"
#include "experiments/load.h"

typedef struct settings {
    const char *in, *out, *config;
    int image_size;
} settings;

static const char summary[] = "Reads a model and writes it in Duet's form: safetensors with the description in the metadata, "
                              "and tokenizer.json beside it. IN is " DT_WEIGHTS_HELP ". OUT is "
                              "NAME.safetensors, or a folder, for model.safetensors.";

static bool convert(const settings *s, dt_error *error);

int dt_cmd_convert(int argc, char **argv)
{
    settings s = {0};
    const dt_option options[] = {
        {"config", 'c', DT_STRING, &s.config, "FILE|PRESET",
         .help = "the model's description, where none comes with the weights, or another"},
        {"image-size", 0, DT_INT, &s.image_size, "N",
         "pixels of a side, to which positional embeddings are interpolated (default: the model's)",
         .least = 1, .most = 8192},
    };
    const dt_usage usage = {"duet convert", "IN OUT", summary, options, sizeof options / sizeof options[0],
                            .least = 2,     .most = 2};
    char **words;
    int count, status = dt_options_parse(&usage, argc, argv, &words, &count);
    if (status >= 0)
        return status;
    dt_error error;
    s.in = words[0];
    s.out = words[1];
    if (convert(&s, &error))
        return DT_EXIT_GOOD;
    fprintf(stderr, "duet convert: %s\n", error.message);
    return DT_EXIT_FAILURE;
}

static bool is_file_name(const char *path)
{
    static const char end[] = ".safetensors";
    size_t length = strlen(path);
    return length > strlen(end) && !strcmp(path + length - strlen(end), end);
}

/* Whether two tokenizers have the same vocabulary, told by what they write. */
static bool same_tokenizer(const dt_tokenizer *tokenizer, const char *folder, const char *path, dt_error *error)
{
    char own[4300];
    size_t sizes[2];
    snprintf(own, sizeof own, "%s/.tokenizer-%ld.json", folder, (long)getpid());
    if (!dt_tokenizer_save(tokenizer, own, error))
        return false;
    char *a = dt_file_read(own, (size_t)1 << 30, &sizes[0], error), *b = dt_file_read(path, (size_t)1 << 30, &sizes[1], error);
    bool same = a && b && sizes[0] == sizes[1] && !memcmp(a, b, sizes[0]);
    if (a && b && !same)
        dt_fail(error, "%s is another model's; write into a folder of its own", path);
    unlink(own);
    free(a);
    free(b);
    return same;
}

/* A folder that belongs to another format, or to a model with another tokenizer, would be left broken. */
static bool check_folder(const dt_model *model, const char *folder, dt_error *error)
{
    static const char *const foreign[] = {"config.json", "open_clip_config.json", "preprocessor_config.json"};
    char path[4300];
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, foreign[i]);
        if (dt_file_exists(path))
            return dt_fail(error, "%s is there: the folder is a run's, or of another format, which would no longer fit its "
                                  "weights; write into a folder of its own", path);
    }
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    return !model->tokenizer || !dt_file_exists(path) || same_tokenizer(model->tokenizer, folder, path, error);
}

static bool write_model(const dt_model *model, const char *out, dt_error *error)
{
    bool file = is_file_name(out);
    const char *slash = file ? strrchr(out, '/') : NULL;
    char folder[4096], path[4200];
    if (strlen(out) >= sizeof folder)
        return dt_fail(error, "%.100s...: the path is too long", out);
    snprintf(folder, sizeof folder, "%.*s", file ? slash ? (int)(slash - out + (slash == out)) : 1 : (int)strlen(out),
             file && !slash ? "." : out);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    if (!check_folder(model, folder, error) || !dt_make_directories(folder, error) ||
        !dt_model_save(model, file ? out : path, error))
        return false;
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    return !model->tokenizer || dt_file_exists(path) || dt_tokenizer_save(model->tokenizer, path, error);
}

static bool convert(const settings *s, dt_error *error)
{
    char passed_over[256] = "";
    json_t *config = s->config ? dt_model_description(s->config, passed_over, sizeof passed_over, error) : NULL;
    dt_model *model = s->config && !config ? NULL : dt_model_load_as(s->in, config, s->image_size, error);
    bool good = model && write_model(model, s->out, error);
    if (good) {
        if (*passed_over)
            fprintf(stderr, "duet convert: note: %s: %s\n", s->config, passed_over);
        if (model->config.has_text && !model->tokenizer && !dt_no_tokenizer(model, error))
            fprintf(stderr, "duet convert: note: %s\n", error->message);
        else if (*model->note)
            fprintf(stderr, "duet convert: note: %s\n", model->note);
        printf("%s: %zu parameters, images of %d pixels, %s\n", s->out, dt_params_trainable(model->params),
               model->preprocess.size, model->tokenizer ? "with its tokenizer" : "without a tokenizer");
    }
    dt_model_free(model);
    json_decref(config);
    return good;
}
