/* Both towers' embeddings in the plane: where images and texts lie, and how far apart.
 *
 * The plane is that of the two principal components of images and texts together. CLIP's towers keep a
 * distance even where they agree: the "modality gap" of Liang et al., "Mind the gap: understanding the
 * modality gap in multi-modal contrastive representation learning", NeurIPS 2022. */
#ifndef DUET_EVAL_MAP_H
#define DUET_EVAL_MAP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"

enum { DT_MAP_SHOWN = 1000 }; /* points of each kind */

/* What is embedded; everything is borrowed. */
typedef struct dt_towers {
    size_t n, m, dim;         /* images, texts; either may be 0, not both */
    const float *images;      /* [n, dim]; of any length, which is taken out */
    const float *texts;       /* [m, dim] */
    const int32_t *labels;    /* [n], -1: none; NULL: no labels */
    const size_t *indices;    /* [n]: of the images in their store; NULL: 0 .. n-1 */
    const char *const *words; /* [m]; NULL: not stated; what is not UTF-8 is left out */
    /* [m]: whose each text is, one of the n images; NULL: the texts are prompts, text k of class k, and
     * belong to the images with that label. */
    const int32_t *owners;
    const char *const *classes; /* [class_count]: names; NULL: none */
    size_t class_count;
} dt_towers;

typedef struct dt_projected {
    bool is_text;
    size_t at; /* which image or text */
    double x, y;
} dt_projected;

typedef struct dt_projection {
    double *mean;         /* [dim]: of the sample */
    double *axes;         /* [2, dim], orthonormal; zero where the sample has fewer directions */
    double explained[2];  /* share of the variance along each axis; the first is the greater */
    double gap;           /* between the centres of all images and of all texts; NaN: one of them has none */
    double cosine;        /* mean over the pairs; NaN without any */
    size_t pairs;         /* texts with their image; of prompts, images with a prompt */
    dt_projected *points; /* images first, in order */
    size_t count;
} dt_projection;

/* Projects all images and texts, or of more than DT_MAP_SHOWN of a kind that many, evenly chosen: number i of
 * k is item floor((2 i + 1) n / (2 k)). The components are those of the sample. An axis points from the texts
 * to the images; where their centres do not differ along it, its largest entry is positive. A pure function
 * of its input. An embedding that is zero or not finite, an owner or a label out of range are errors. The
 * caller frees, also after a failure. */
bool dt_projection_make(dt_projection *projection, const dt_towers *towers, dt_error *error);
void dt_projection_free(dt_projection *projection); /* zeroes it */

/* The same as an entry of an evaluation's "maps" (eval/findings.h); store: path of the images, NULL: not
 * stated; coordinates to six decimals. Of more than DT_FINDINGS_MOST classes there are neither names nor labels.
 * The caller owns the reference. NULL on failure. */
json_t *dt_map_json(const dt_towers *towers, const char *name, const char *store, dt_error *error);

#endif
