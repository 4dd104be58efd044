/* Figures and answers on the standard output, the same from every command. */
#ifndef DUET_EXPERIMENTS_PRINT_H
#define DUET_EXPERIMENTS_PRINT_H

#include "eval/dataset.h"
#include "eval/queries.h"
#include "eval/scores.h"

/* A table: figure, value, n, chance, note. Nothing where there are none. */
void dt_print_scores(const dt_score *scores, size_t count);

/* The query and a line for each hit: place, score, * where it is right, text, image, and the file of a
 * folder's image. */
void dt_print_query(const dt_query_found *found, const dt_dataset *data);

/* One JSON object, indented, or on one line with indent 0. */
bool dt_print_json(const json_t *json, int indent, dt_error *error);

/* What was printed has arrived; false, with the reason, where it has not (a full disk). */
bool dt_print_flush(dt_error *error);

#endif
