/* Lists of class names and of templates in JSON files, as CLIP_benchmark publishes them: many in one file, by the names of data
 * sets, {"cifar10": ["airplane", ...], "imagenet1k": [...]}. FILE.json#imagenet1k takes one. */
#ifndef DUET_EVAL_NAMED_LISTS_H
#define DUET_EVAL_NAMED_LISTS_H

#include <jansson.h>

#include "data/error.h"
#include "eval/texts.h"

/* Whether `text` names such a file: it ends with .json, or with .json#NAME. */
bool dt_is_list_file(const char *text);

/* The list at FILE.json or FILE.json#NAME: the file's own, where it is a list; else the member NAME, or `usual`, or the only list
 * that there is. The caller owns the reference. NULL: a failure; where a name is wanting, with the names that there are. */
json_t *dt_named_list(const char *path, const char *usual, dt_error *error);

/* Templates: such a list, where "{c}" stands for the class as "{}" does; or a text file with one a line. The caller frees with
 * dt_texts_free, also after a failure. */
bool dt_templates_load(dt_texts *templates, const char *path, dt_error *error);

#endif
