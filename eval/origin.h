/* What a path that is given for weights holds, and whose it is. */
#ifndef DUET_EVAL_ORIGIN_H
#define DUET_EVAL_ORIGIN_H

#include "eval/model.h"
#include "eval/names.h"
#include "eval/weights.h"

#include "data/json.h"
#include "data/tokenizer.h"

typedef struct dt_origin {
    dt_weights *weights;
    json_t *description; /* in Duet's fields */
    dt_naming naming;
    bool foreign;        /* not written by Duet */
    char folder[4096];   /* where a tokenizer may lie */
    char note[512];      /* what was assumed, passed over, or could not be used; "": nothing */
} dt_origin;

/* `path` is one of
 *   a run's folder           its newest weights
 *   an open_clip folder      open_clip_config.json, and open_clip_model.safetensors or open_clip_pytorch_model.bin
 *   a Hugging Face folder    config.json with a model_type, and model.safetensors or pytorch_model.bin, or the index of shards
 *   a file of tensors, or an index: by its metadata Duet's; else by the configuration that lies beside it; else inferred
 *                            (eval/infer.h)
 * `given` is used in place of the description that would be found; NULL: none. Close it whatever the outcome. */
bool dt_origin_open(dt_origin *origin, const char *path, const json_t *given, dt_error *error);
void dt_origin_close(dt_origin *origin);

/* The tokenizer that came with it: tokenizer.json, vocab.json with merges.txt, or bpe_simple_vocab_16e6.txt.gz, in the
 * folder, or above a run's checkpoints. *tokenizer is NULL where there is none. One of another model's than CLIP's that cannot
 * be read is as good as none, with a note. */
bool dt_origin_tokenizer(dt_origin *origin, dt_tokenizer **tokenizer, dt_error *error);

/* For a loaded model that texts are to be given to: that it has no tokenizer, and where which files were looked for. Always
 * false. */
bool dt_no_tokenizer(const dt_model *model, dt_error *error);

#endif
