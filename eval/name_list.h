/* Lists of class names: which number each name has, and the list as text. */
#ifndef DUET_EVAL_NAME_LIST_H
#define DUET_EVAL_NAME_LIST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"

/* The numbers of names [count], for dt_name_number; of a name that stands there several times, the first. *twice (NULL:
 * not wanted) says whether there is such a name. The caller frees with json_decref. NULL: a name that is not UTF-8, which
 * the message shows, or no memory. */
json_t *dt_name_index(const char *const *names, size_t count, bool *twice, dt_error *error);

/* -1: the name is not among them. */
int32_t dt_name_number(const json_t *index, const char *name);

/* ["cat", "dog"], as the metadata of files have it. The caller frees. NULL as above. */
char *dt_names_text(const char *const *names, size_t count, dt_error *error);

#endif
