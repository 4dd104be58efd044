/* The log of a run (log.jsonl) as series of numbers, thinned while it is read: what is kept does not grow
 * with the run. */
#ifndef DUET_EVAL_REPORT_RUN_LOG_H
#define DUET_EVAL_REPORT_RUN_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"

enum {
    DT_SERIES_POINTS = 1000, /* most points of a series */
    DT_SERIES_MOST = 128,    /* series that are kept; further ones are counted */
};

/* What one point stands for: `count` values in a row, of the steps first .. last. */
typedef struct dt_point {
    double first, last;
    double mean, least, most; /* of the finite ones; NaN where there was none */
    uint64_t count, finite;
} dt_point;

typedef struct dt_series {
    char *event; /* "" for the values of steps, else the event that they belong to ("evaluation") */
    char *key;
    dt_point points[DT_SERIES_POINTS];
    size_t point_count;
    uint64_t span;          /* values a point stands for; the last one may stand for fewer. A power of two */
    uint64_t count, finite; /* values in all; the finite ones: neither null, as the log writes NaN, nor beyond 1e100 */
    double first, last;     /* the first and the last finite value, NaN without one */
    double sum;             /* of the finite values */
    double greatest, greatest_step; /* of the finite values, and the first step that has it */
} dt_series;

typedef struct dt_run_log {
    dt_series **series; /* in order of first appearance */
    size_t series_count;
    uint64_t steps;    /* lines with values of a step */
    double last_step;  /* 0 without one */
    uint64_t refused;  /* lines that are no JSON objects, or go back in the count of steps (or beyond 2^53) */
    uint64_t left_out; /* values of series beyond DT_SERIES_MOST */
} dt_run_log;

/* Reads a file of one JSON object a line: numbers and nulls are values of their key's series at the line's
 * "step" (without one: the step before it plus one); an object with "event" belongs to that event's series.
 * Strings, booleans, lists and objects are passed over, and so is a torn last line (one that begins as an
 * object). A series' points hold the
 * mean, least and most of 1, 2, 4 ... values in a row, whatever keeps them within DT_SERIES_POINTS. False:
 * the file cannot be read, or has lines of which none is a JSON object.
 * The caller frees with dt_run_log_free, also after a failure. */
bool dt_run_log_read(dt_run_log *log, const char *path, dt_error *error);
void dt_run_log_free(dt_run_log *log); /* zeroes it */

/* The series of that name, or NULL. */
const dt_series *dt_run_log_find(const dt_run_log *log, const char *event, const char *key);

#endif
