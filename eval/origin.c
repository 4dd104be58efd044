#include "eval/origin.h"

#include "data/file.h"
#include "data/tokenizer_hf.h"
#include "eval/hf_config.h"
#include "eval/infer.h"
#include "eval/model_file.h"
#include "eval/open_clip_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_there(const char *folder, const char *name, char path[4200])
{
    snprintf(path, 4200, "%s/%s", folder, name);
    return dt_file_exists(path);
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
    return starts(w, "vision_model.") ? DT_NAMES_HF_CLIP : starts(w, "visual.trunk.") ? DT_NAMES_TIMM : DT_NAMES_DUET;
}

static bool infer(dt_origin *o, dt_error *error)
{
    if (o->naming == DT_NAMES_DUET && !(o->description = dt_infer_description(o->weights, error)))
        return false;
    if (!o->description)
        return dt_fail(error, "%s: there is no %s beside it to tell what model this is", dt_weights_path(o->weights),
                       o->naming == DT_NAMES_TIMM ? "open_clip_config.json" : "config.json");
    snprintf(o->note, sizeof o->note,
             "%s says nothing of its model; 64 features a head and QuickGELU were assumed, as OpenAI's have them",
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
    if (hf && dt_is_hf_folder(o->folder))
        return (o->description = dt_hf_description(o->folder, &o->naming, error)) != NULL;
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
    return dt_run_weights(path, file, 4200, error);
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
    if (dt_is_directory(path) && !find_file(path, file, error))
        return false;
    const char *slash = strrchr(file, '/');
    snprintf(o->folder, sizeof o->folder, "%.*s", slash ? (int)(slash - file) : 1, slash ? file : ".");
    return (o->weights = dt_weights_open(file, error)) && describe(o, given, error);
}

void dt_origin_close(dt_origin *o)
{
    dt_weights_close(o->weights);
    json_decref(o->description);
    *o = (dt_origin){0};
}

static bool load_tokenizer(const dt_origin *o, dt_tokenizer **tokenizer, dt_error *error)
{
    static const char *const one_file[] = {"tokenizer.json", "../tokenizer.json", "bpe_simple_vocab_16e6.txt.gz"};
    char path[4200], merges[4200];
    size_t places = o->foreign ? 3 : 2;
    for (size_t i = 0; i < places; i++)
        if (is_there(o->folder, one_file[i], path) && (i != 1 || !o->foreign))
            return (*tokenizer = dt_tokenizer_load(path, error)) != NULL;
    if (is_there(o->folder, "vocab.json", path) && is_there(o->folder, "merges.txt", merges))
        return (*tokenizer = dt_tokenizer_load_pair(path, merges, error)) != NULL;
    return true;
}

bool dt_origin_tokenizer(dt_origin *o, dt_tokenizer **tokenizer, dt_error *error)
{
    dt_error why;
    *tokenizer = NULL;
    if (o->naming == DT_NAMES_DUET || o->naming == DT_NAMES_HF_CLIP)
        return load_tokenizer(o, tokenizer, error);
    if (!load_tokenizer(o, tokenizer, &why)) {
        size_t used = strlen(o->note);
        snprintf(o->note + used, sizeof o->note - used, "%sits tokenizer cannot be used: %.200s", used ? "; " : "",
                 why.message);
    }
    return true;
}
