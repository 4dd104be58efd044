/* Labelled samples of one tower, to train a classifier on and to judge it by: the images of a pair store or folder, or texts (the
 * captions of a pair store, each with its image's class; or a table of texts). What has no class is left out. */
#ifndef DUET_EXPERIMENTS_EXAMPLES_H
#define DUET_EXPERIMENTS_EXAMPLES_H

#include "eval/dataset.h"
#include "eval/model.h"

typedef struct dt_examples dt_examples;

/* `path`: as eval/dataset.h; for texts also .csv, .tsv or .jsonl (data/labelled_texts.h). The caller frees. NULL: it cannot be
 * read, or holds nothing with a class. */
dt_examples *dt_examples_open(const char *path, dt_tower tower, dt_error *error);
void dt_examples_free(dt_examples *examples); /* NULL is allowed */

const char *dt_examples_path(const dt_examples *examples);
size_t dt_examples_count(const dt_examples *examples);
size_t dt_examples_left_out(const dt_examples *examples); /* without a class */
size_t dt_examples_class_count(const dt_examples *examples);
const char *dt_examples_class_name(const dt_examples *examples, size_t c);

/* Numbers the classes as `names` does; one that has samples and is not among them is an error that names it. Before this the
 * data's own numbers are in force. */
bool dt_examples_classes(dt_examples *examples, const char *const *names, size_t count, dt_error *error);

/* [count], by the numbers in force. Borrowed. */
const int32_t *dt_examples_labels(const dt_examples *examples);

/* Which image of the store or folder a sample is, [count]; NULL for texts. */
const uint64_t *dt_examples_indices(const dt_examples *examples);

/* Of captions: whose each sample is, [count], numbers of images below *images; NULL for images and tables. */
const int32_t *dt_examples_owners(const dt_examples *examples, size_t *images);

/* What a loader needs of images; NULL where there is no such thing. */
const dt_dataset *dt_examples_images(const dt_examples *examples);

/* Sample i's text; NULL for images. */
const char *dt_examples_text(const dt_examples *examples, size_t i);

/* The encoder's rows [count, width] for the samples numbered rows [count]; NULL: all of them. */
bool dt_examples_encode(const dt_examples *examples, const size_t *rows, size_t count, dt_model *model, dt_encoder *encoder,
                        float *out, dt_progress progress, dt_error *error);

#endif
