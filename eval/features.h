/* Rows of features: what one tower gives for every image of a data set, computed once and kept on disk; or
 * read from files that others made. The linear probe and all else that trains on frozen features starts here. */
#ifndef DUET_EVAL_FEATURES_H
#define DUET_EVAL_FEATURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"
#include "eval/dataset.h"
#include "eval/model.h"

typedef struct dt_features {
    char *source; /* path of the data or file, for messages */
    size_t count, width;
    float *rows;     /* [count, width]; every number is finite */
    int32_t *labels; /* [count]; below 0: none */
    size_t *images;  /* [count]: which image of the data each row is */

    char **classes;     /* [class_count] names, in the order of the labels; NULL: a file that names none */
    size_t class_count; /* labels are below it */

    size_t unlabelled;    /* rows that dt_features_labelled left out */
    bool cached;          /* read, not computed */
    dt_embed_times times; /* of computing; zero where cached */
    char *path;           /* the file they were read from or written to; NULL: none */
    char note[1024];      /* what was wrong with a cache file, for the user to see; "": nothing */
} dt_features;

typedef struct dt_features_options {
    dt_layer layer;
    const char *cache;         /* folder of cache files, made where there is none; NULL: no cache */
    const char *weights;       /* where the model came from, as a remark in the cache file; NULL: not stated */
    const dt_backend *backend; /* NULL: dt_cpu() */
    int batch;                 /* images that the encoder takes at a time; 0: 128 */
    int threads;               /* that decode; 0: one a processor */
    dt_progress progress;
} dt_features_options;

/* The image features of the data. With a cache they are kept in CACHE/NAME-LAYER-KEY.safetensors: NAME is the
 * data's, LAYER also says a precision other than fp32, KEY is a hash of the contents of model and data, LAYER and the
 * preprocessing (eval/fingerprint.h), which the metadata repeat, with a hash of the rows. A file that is damaged or that was
 * computed from something else is not used: the features are computed anew, written in its place, and `note` says what was
 * found and what was expected. So it does where the cache cannot be written.
 *
 * A cache file that is written takes the place of older ones of the same NAME and LAYER that have the same `weights` in
 * their metadata: those of another checkpoint, which was at that path before, and those of the same data's path, which
 * held something else. They are removed; all others stay.
 *
 * The caller frees with dt_features_free; after a failure *features is empty. Refused: an image that cannot be read,
 * features that are not finite. */
bool dt_features_of(dt_features *features, dt_model *model, const dt_dataset *data,
                    const dt_features_options *options, dt_error *error);

/* From a safetensors file with "features", "images" or "image_embeddings" (the first of these that is there) [n, d] of a
 * float type and "labels" [n] of an integer type, and perhaps "classes" in the metadata, a JSON list of names. Refused, besides
 * damage: other shapes, no rows, numbers that are not finite, labels beyond the names. */
bool dt_features_load(dt_features *features, const char *path, dt_error *error);

void dt_features_free(dt_features *features); /* zeroes it; a zeroed one is allowed */

/* Leaves only the rows with a label, in order, and counts the others. False: there are none with one. */
bool dt_features_labelled(dt_features *features, dt_error *error);

/* Where caches of a run's folder or a weights file go: RUN/features, or "features" beside the file. The
 * caller frees. NULL: no memory. */
char *dt_features_folder(const char *weights);

#endif
