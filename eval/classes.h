/* The classes that images are told apart by: names put into prompt templates, or whole prompts; and what is
 * known of each class (attributes). */
#ifndef DUET_EVAL_CLASSES_H
#define DUET_EVAL_CLASSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"
#include "eval/dataset.h"

#define DT_DEFAULT_TEMPLATE "a photo of a {}."

enum { DT_ATTRIBUTES_MAX = 32, DT_ATTRIBUTE_NAME = 64 };

/* One thing that classes differ in: "gender", with the values "woman", "man", "person". */
typedef struct dt_attribute {
    char name[DT_ATTRIBUTE_NAME];
    size_t value_count;
    int32_t *of_class; /* [classes]: number of the value, in order of first appearance; -1: the class has none */
} dt_attribute;

typedef struct dt_classes {
    char *origin; /* where they come from, for messages */
    size_t count;
    char **names;
    char **prompts; /* whole ones, to which no template applies; NULL: names go into templates */
    dt_attribute *attributes;
    size_t attribute_count;
} dt_classes;

/* `text` is one of
 *
 *   a JSON file    {"classes": [...]}, the list alone, or one of several lists (eval/named_lists.h: FILE.json#NAME); a class is its
 *                  name, or an object with "name" or "prompt" (or both), and perhaps "attributes": {"gender": "woman", "tone": null}
 *   a text file    one name a line; blank lines are passed over
 *   names          "cat,dog,ice cream", where no such file exists
 *
 * The caller frees. NULL: what is wrong, and where. */
dt_classes *dt_classes_load(const char *text, dt_error *error);

/* The classes that the data itself names; one without classes is an error. */
dt_classes *dt_classes_of(const dt_dataset *dataset, dt_error *error);

void dt_classes_free(dt_classes *classes); /* NULL is allowed */

/* Which class each label of the data is: class_of_label [dt_dataset_class_count]. By name where the classes
 * have every name of the data (they may have more); else by position, where there are as many and no name
 * stands in both lists at different positions; else an error. So is a class whose name is not UTF-8. */
bool dt_classes_match(const dt_classes *classes, const dt_dataset *dataset, int32_t *class_of_label,
                      dt_error *error);

/* By name alone, for classes that a classifier was trained on: a class of the data that has images, and that is not among
 * the `count` names, is an error that names it, and so is one of these that is not UTF-8. Labels that occur in no image may
 * be unknown: -1. */
bool dt_classes_find(const char *const *names, size_t count, const dt_dataset *dataset, int32_t *class_of_label,
                     dt_error *error);

/* Whether a template has its "{}" and is UTF-8. */
bool dt_template_check(const char *template, dt_error *error);

/* `name` in place of every "{}" of the template. The caller frees. NULL: no memory. */
char *dt_template_fill(const char *template, const char *name);

/* The embeddings of all classes, [classes, embed_dim], the mean over the templates (dt_encode_classes); of
 * whole prompts without a template. */
bool dt_classes_embed(const dt_classes *classes, const char *const *templates, size_t template_count,
                      dt_model *model, dt_encoder *text_encoder, float *weights, dt_progress progress,
                      dt_error *error);

#endif
