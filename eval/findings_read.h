/* How the parts of evaluation.json are read: between eval/findings.c and eval/findings_plots.c. */
#ifndef DUET_EVAL_FINDINGS_READ_H
#define DUET_EVAL_FINDINGS_READ_H

#include "data/json.h"
#include "eval/findings.h"

enum { DT_PLACE = 160 }; /* bytes of "galleries[12].hits[3]" */

typedef struct dt_findings_reader {
    dt_findings *findings;
    const char *file;
    dt_error *error;
} dt_findings_reader;

/* Zeroed memory of the findings, freed with them. NULL: none left, and the error says so. */
void *dt_findings_take(dt_findings_reader *reader, size_t count, size_t size);

/* Reads one item, zeroed before, from its JSON at `place`. */
typedef bool dt_item_read(dt_findings_reader *reader, void *item, const json_t *json, const char *place);

/* The items of a list (NULL: an absent one), `size` bytes each, at most `most` of them. NULL on failure only. */
void *dt_findings_list(dt_findings_reader *reader, const json_t *list, const char *place, size_t most,
                       size_t size, dt_item_read *read, size_t *count);

/* dt_json_read_known, with the reader's file and error. */
bool dt_findings_fields(dt_findings_reader *reader, const json_t *json, const char *place,
                        const dt_json_field *fields, size_t count);

/* Items of lists: const char *, and the parts of eval/findings_plots.c. */
dt_item_read dt_read_text, dt_read_confusion, dt_read_reliability, dt_read_table, dt_read_curve, dt_read_map;

/* Refuses `low` without `high`, and ends in the wrong order. */
bool dt_read_interval_check(dt_findings_reader *reader, double low, double high, const char *place);

#endif
