/* What Duet's tensors are called in the checkpoints of others. Duet has the names of OpenAI/open_clip itself; the others are
 *   Hugging Face   transformers' CLIPModel and SiglipModel: queries, keys and values apart, projections transposed;
 *   timm           SigLIP as open_clip has it: the image tower below visual.trunk, the text tower below text.
 *   custom text    open_clip's CustomTextCLIP with a tower of its own ("custom_text": true): the text tower below text. */
#ifndef DUET_EVAL_NAMES_H
#define DUET_EVAL_NAMES_H

#include <stdbool.h>

typedef enum dt_naming { DT_NAMES_DUET, DT_NAMES_HF_CLIP, DT_NAMES_HF_SIGLIP, DT_NAMES_TIMM, DT_NAMES_CUSTOM_TEXT } dt_naming;

enum { DT_NAME_PARTS = 3, DT_NAME_ROOM = 256 };

/* Where one of Duet's tensors is found: in one tensor, or in several that lie one below another along the first axis (queries,
 * keys, values). */
typedef struct dt_foreign_name {
    int parts;
    char name[DT_NAME_PARTS][DT_NAME_ROOM];
    bool transposed; /* a matrix [in, out] there is [out, in] here */
    int leading;     /* axes of length 1 that it has there before its own; a reader takes any number */
} dt_foreign_name;

/* For Duet's tensor `name`. False: that naming has none for it. */
bool dt_foreign_name_of(dt_naming naming, const char *name, dt_foreign_name *foreign);

/* Tensors that a checkpoint may hold and no model needs: position_ids, attention masks, the numbers beside OpenAI's weights. */
bool dt_foreign_passed_over(const char *name);

#endif
