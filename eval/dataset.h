/* What is evaluated: the images of a pair store or of a plain folder with their classes and captions, and
 * their embeddings. */
#ifndef DUET_EVAL_DATASET_H
#define DUET_EVAL_DATASET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"
#include "data/pairs.h"
#include "data/sample.h"
#include "eval/model.h"

typedef struct dt_dataset dt_dataset;

/* Opens a pair store (NAME.lmdb, a pattern, or a directory with data.mdb or *.lmdb in it; data/pairs.h), or
 * any other directory as a folder of class folders (data/source_folder.c: the first folder below the root is
 * the class, its underscores read as spaces; images in the root have none; NAME.txt beside NAME.jpg holds
 * captions). Labels are read now, images when they are embedded. The caller closes. NULL on failure. */
dt_dataset *dt_dataset_open(const char *path, dt_error *error);
void dt_dataset_close(dt_dataset *dataset); /* NULL is allowed */

const char *dt_dataset_path(const dt_dataset *dataset);

/* What to call data at a path: "packed/emoji-test.lmdb" -> "emoji-test", "photos/" -> "photos". Written to name[size] and
 * returned. */
const char *dt_dataset_stem(const char *path, char *name, size_t size);

size_t dt_dataset_count(const dt_dataset *dataset); /* images: 1 to INT32_MAX */
size_t dt_dataset_class_count(const dt_dataset *dataset);
const char *dt_dataset_class_name(const dt_dataset *dataset, size_t label); /* NULL beyond the last */

/* [count]: 0 .. class_count-1, or -1: none. Borrowed. */
const int32_t *dt_dataset_labels(const dt_dataset *dataset);

/* Captions in the order of their images. The texts belong to the dataset. */
typedef struct dt_captions {
    const char **texts;
    int32_t *images; /* whose each is */
    size_t count;
} dt_captions;

/* The first `each` captions of every image; each 0: all. There may be none at all. The caller frees. */
bool dt_dataset_captions(const dt_dataset *dataset, size_t each, dt_captions *captions, dt_error *error);
void dt_captions_free(dt_captions *captions); /* zeroes it; a zeroed one is allowed */

/* What to show for an image: its first caption, else its class name, else its file name, else its number.
 * Written to text[size], cut at a whole character. */
bool dt_dataset_describe(const dt_dataset *dataset, size_t index, char *text, size_t size, dt_error *error);

/* The picture file's own bytes (JPEG in a store; whatever a folder holds): borrowed from a store's map; of a folder read
 * into *room, which the caller frees. */
bool dt_dataset_picture(const dt_dataset *dataset, size_t index, const uint8_t **bytes, size_t *size, uint8_t **room,
                        dt_error *error);

/* The file of a folder's image; NULL for a store. */
const char *dt_dataset_file(const dt_dataset *dataset, size_t index);

/* For a loader: the store itself, or the files of a folder; NULL for the other one. */
const dt_pairs *dt_dataset_pairs(const dt_dataset *dataset);
const dt_image_files *dt_dataset_files(const dt_dataset *dataset);

/* Told now and then how far a long computation is. `tell` NULL: nobody listens. */
typedef struct dt_progress {
    void (*tell)(void *context, const char *what, size_t done, size_t total);
    void *context;
} dt_progress;

/* Encodes all images, in order, into rows [count, dt_encoder_width]. The images are decoded and transformed by
 * the model's preprocess on `threads` threads (0: one a processor); an image that does not decode is an error
 * that names it. */
bool dt_dataset_embed(const dt_dataset *dataset, const dt_model *model, dt_encoder *image_encoder,
                      int threads, float *embeddings, dt_progress progress, dt_error *error);

/* The same for the images numbered which [count]; NULL: all of them, and count is dt_dataset_count. *waited (NULL: not
 * wanted) gets the seconds that the encoder had nothing to do, as images were still being read or decoded. */
bool dt_dataset_encode(const dt_dataset *dataset, const uint64_t *which, size_t count, const dt_model *model,
                       dt_encoder *encoder, int threads, float *rows, dt_progress progress, double *waited, dt_error *error);

/* The same for all, telling where the time went. */
typedef struct dt_embed_times {
    double seconds; /* in all */
    double waited;  /* of them spent with nothing to encode: images were still being read or decoded */
} dt_embed_times;
bool dt_dataset_embed_timed(const dt_dataset *dataset, const dt_model *model, dt_encoder *image_encoder, int threads,
                            float *embeddings, dt_progress progress, dt_embed_times *times, dt_error *error);

/* Encodes one picture file into a row of dt_encoder_width. */
bool dt_embed_file(const char *path, const dt_model *model, dt_encoder *image_encoder, float *row, dt_error *error);

/* dt_encode_texts with progress. */
bool dt_embed_texts(dt_model *model, dt_encoder *text_encoder, const char *const *texts, size_t count,
                    float *embeddings, dt_progress progress, dt_error *error);

#endif
