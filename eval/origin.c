#include "eval/origin.h"

#include "data/file.h"
#include "data/tokenizer_hf.h"
#include "eval/config_fields.h"
#include "eval/hf_config.h"
#include "eval/infer.h"
#include "eval/model_file.h"
#include "eval/open_clip_config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_there(const char *folder, const char *name, char path[4200])
{
    snprintf(path, 4200, "%s/%s", folder, name);
    return dt_file_exists(path);
}

static void folder_of(const char *file, char folder[4096])
{
    const char *slash = strrchr(file, '/');
    snprintf(folder, 4096, "%.*s", slash ? (int)(slash - file) : 1, slash ? file : ".");
}

/* The first of these names that is in the folder, in `path`. */
static bool pick(const char *folder, const char *const *names, size_t count, char path[4200])
{
    for (size_t i = 0; i < count; i++)
        if (is_there(folder, names[i], path))
            return true;
    return false;
}

static const char *const open_clip_files[] = {"open_clip_model.safetensors", "open_clip_pytorch_model.safetensors",
                                              "open_clip_pytorch_model.bin"};
static const char *const hf_files[] = {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                                       "pytorch_model.bin.index.json"};

static bool starts(const dt_weights *w, const char *prefix)
{
    for (size_t i = 0; i < dt_weights_count(w); i++)
        if (!strncmp(dt_weights_at(w, i)->name, prefix, strlen(prefix)))
            return true;
    return false;
}

/* By the tensors' names; only a folder's config.json tells CLIP from SigLIP of Hugging Face. */
static dt_naming naming_of(const dt_weights *w)
{
    return starts(w, "vision_model.") ? DT_NAMES_HF_CLIP : starts(w, "visual.trunk.") ? DT_NAMES_TIMM
           : starts(w, "text.transformer.resblocks.") || starts(w, "text.token_embedding.") ? DT_NAMES_CUSTOM_TEXT
                                                                                           : DT_NAMES_DUET;
}

static void add_note(dt_origin *o, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add_note(dt_origin *o, const char *format, ...)
{
    va_list arguments;
    size_t used = strlen(o->note);
    used += (size_t)snprintf(o->note + used, sizeof o->note - used, "%s", used ? "; " : "");
    va_start(arguments, format);
    if (used < sizeof o->note)
        vsnprintf(o->note + used, sizeof o->note - used, format, arguments);
    va_end(arguments);
    for (char *c = o->note; *c; c++) /* one line, whatever a name holds */
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
}

static bool infer(dt_origin *o, dt_error *error)
{
    if (o->naming == DT_NAMES_DUET && !(o->description = dt_infer_description(o->weights, error)))
        return false;
    if (!o->description)
        return dt_fail(error, "%s: there is no %s beside it to tell what model this is", dt_weights_path(o->weights),
                       o->naming == DT_NAMES_HF_CLIP ? "config.json" : "open_clip_config.json");
    add_note(o, "%.160s says nothing of its model; 64 features a head and QuickGELU were assumed, as OpenAI's have them",
             dt_weights_path(o->weights));
    return true;
}

/* Whose the opened weights are, and what they describe. */
static bool describe(dt_origin *o, const json_t *given, dt_error *error)
{
    char path[4200];
    const char *own = dt_weights_meta(o->weights, "duet.model");
    o->foreign = own == NULL;
    o->naming = own ? DT_NAMES_DUET : naming_of(o->weights);
    bool hf = o->naming == DT_NAMES_HF_CLIP;
    if (given) {
        if (hf && dt_weights_find(o->weights, "vision_model.head.probe") >= 0)
            o->naming = DT_NAMES_HF_SIGLIP;
        return (o->description = json_deep_copy(given)) || dt_fail(error, "out of memory");
    }
    if (own)
        return (o->description = dt_json_parse(own, strlen(own), dt_weights_path(o->weights), error)) != NULL;
    if (hf && is_there(o->folder, "config.json", path)) {
        char passed_over[256];
        if (!(o->description = dt_hf_description(path, &o->naming, passed_over, sizeof passed_over, error)))
            return false;
        if (*passed_over)
            add_note(o, "%s", passed_over);
        return true;
    }
    if (!hf && is_there(o->folder, "open_clip_config.json", path))
        return (o->description = dt_open_clip_description(path, error)) != NULL;
    return infer(o, error);
}

/* The file of weights that a path stands for, in `file`. */
static bool find_file(const char *path, char file[4200], dt_error *error)
{
    char other[4200];
    bool open_clip = is_there(path, "open_clip_config.json", other), hf = dt_is_hf_folder(path);
    if (open_clip && pick(path, open_clip_files, sizeof open_clip_files / sizeof *open_clip_files, file))
        return true;
    if ((open_clip || hf) && pick(path, hf_files, sizeof hf_files / sizeof *hf_files, file))
        return true;
    if (open_clip || hf)
        return dt_fail(error, "%s: neither %s nor %s is there", path, open_clip ? open_clip_files[0] : hf_files[0],
                       open_clip ? open_clip_files[2] : hf_files[2]);
    return dt_run_weights(path, file, 4200, error) || pick(path, hf_files, sizeof hf_files / sizeof *hf_files, file) ||
           pick(path, open_clip_files, sizeof open_clip_files / sizeof *open_clip_files, file);
}

/* Nobody waits for a pipe in somebody's folder. */
static bool check_files(const char *folder, dt_error *error)
{
    static const char *const names[] = {"config.json", "open_clip_config.json", "preprocessor_config.json",
                                        "processor_config.json", "model.safetensors.index.json",
                                        "pytorch_model.bin.index.json", "tokenizer.json", "vocab.json", "merges.txt",
                                        "bpe_simple_vocab_16e6.txt.gz"};
    char path[4200];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (is_there(folder, names[i], path) && !dt_check_no_device(path, error))
            return false;
    return true;
}

bool dt_origin_open(dt_origin *o, const char *path, const json_t *given, dt_error *error)
{
    char file[4200];
    *o = (dt_origin){0};
    if (!dt_file_exists(path))
        return dt_fail(error, "%s: no such file or run", path);
    if (strlen(path) >= sizeof o->folder)
        return dt_fail(error, "%.100s...: the path is too long", path);
    snprintf(file, sizeof file, "%s", path);
    bool folder = dt_is_directory(path);
    if (folder && (!check_files(path, error) || !find_file(path, file, error)))
        return false;
    folder_of(file, o->folder);
    return (folder || check_files(o->folder, error)) && (o->weights = dt_weights_open(file, error)) &&
           describe(o, given, error);
}

void dt_origin_close(dt_origin *o)
{
    dt_weights_close(o->weights);
    json_decref(o->description);
    *o = (dt_origin){0};
}

/* What is looked for, in this order, and for whose weights. */
static const struct {
    const char *name, *beside; /* beside: the file that it is a pair with; NULL: none */
    bool own, foreign;
} tokenizers[] = {
    {"tokenizer.json", NULL, true, true},
    {"../tokenizer.json", NULL, true, false}, /* a run's, above its checkpoints */
    {"bpe_simple_vocab_16e6.txt.gz", NULL, false, true},
    {"vocab.json", "merges.txt", true, true},
};

static bool load_tokenizer(const dt_origin *o, dt_tokenizer **tokenizer, dt_error *error)
{
    char path[4200], other[4200];
    for (size_t i = 0; i < sizeof tokenizers / sizeof *tokenizers; i++) {
        const char *beside = tokenizers[i].beside;
        if (!(o->foreign ? tokenizers[i].foreign : tokenizers[i].own) || !is_there(o->folder, tokenizers[i].name, path) ||
            (beside && !is_there(o->folder, beside, other)))
            continue;
        *tokenizer = beside ? dt_tokenizer_load_pair(path, other, error) : dt_tokenizer_load(path, error);
        return *tokenizer != NULL;
    }
    return true;
}

bool dt_origin_tokenizer(dt_origin *o, dt_tokenizer **tokenizer, dt_error *error)
{
    dt_error why;
    *tokenizer = NULL;
    if (load_tokenizer(o, tokenizer, &why))
        return true;
    if (o->naming == DT_NAMES_DUET || o->naming == DT_NAMES_HF_CLIP)
        return dt_fail(error, "%s", why.message);
    add_note(o, "its tokenizer cannot be used: %.200s", why.message);
    return true;
}

bool dt_no_tokenizer(const dt_model *model, dt_error *error)
{
    char folder[4096], names[160] = "", path[4200];
    const dt_weights *w = model->weights;
    if (!w)
        return dt_fail(error, "the model came without a tokenizer; put its tokenizer.json beside the weights");
    bool foreign = !dt_weights_meta(w, "duet.model");
    folder_of(dt_weights_path(w), folder);
    for (size_t i = 0; i < sizeof tokenizers / sizeof *tokenizers; i++) {
        size_t used = strlen(names);
        const char *beside = tokenizers[i].beside;
        if (foreign ? tokenizers[i].foreign : tokenizers[i].own)
            snprintf(names + used, sizeof names - used, "%s%s%s%s", used ? ", " : "", tokenizers[i].name,
                     beside ? " with " : "", beside ? beside : "");
    }
    return dt_fail(error, "%.1000s came without a tokenizer; put its tokenizer.json beside the weights (looked in %.1000s for "
                          "%s%s)%s%s", dt_weights_path(w), folder, names,
                   is_there(folder, "spiece.model", path) ? "; spiece.model is not read" : "", *model->note ? "; " : "",
                   model->note);
}
