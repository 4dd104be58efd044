/* The one logger of a run: log.jsonl for machines, stderr for people.
 *
 * log.jsonl has one JSON object a line, each with its "step", flushed as it is written. After a kill,
 * resuming cuts a torn last line and everything beyond the step that the run goes on from. On a terminal one
 * progress line is redrawn in place; in a pipe a plain line comes at most every few seconds. */
#ifndef DUET_EXPERIMENTS_LOG_H
#define DUET_EXPERIMENTS_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "data/error.h"

typedef struct dt_logger dt_logger;

typedef struct dt_log_options {
    const char *path; /* of log.jsonl; NULL: no file */
    bool resume;      /* keep the file's lines up to resume_step; false: start it anew */
    int64_t resume_step;
    int64_t steps; /* of the whole run, for the progress line; 0: not known */
    bool quiet;    /* nothing for people but dt_log_say's lines */
    FILE *people;  /* NULL: stderr; tests give another. Borrowed */
} dt_log_options;

dt_logger *dt_log_open(const dt_log_options *options, dt_error *error);

/* Flushes, ends the progress line and frees. NULL is allowed. */
void dt_log_close(dt_logger *log);

typedef struct dt_log_value {
    const char *name;
    double value; /* written with 9 digits, which keeps a float; not finite: null */
} dt_log_value;

/* One line in the file, {"step": 12, "loss": 0.5, "pairs_per_second": 800, "waiting": 0.02, …values}, and the
 * progress line. */
typedef struct dt_log_step {
    int64_t step; /* steps done, this one included */
    double loss;
    double pairs_per_second;
    double waiting; /* share of the time since the last step that was spent waiting for data, 0..1 */
    const dt_log_value *values;
    size_t value_count;
} dt_log_step;

bool dt_log_add(dt_logger *log, const dt_log_step *step, dt_error *error);

/* The run has another number of steps in all than was thought at the start. */
void dt_log_set_steps(dt_logger *log, int64_t steps);

/* Something that is no step: {"step": 12, "event": "evaluation", "top1": 0.61, …}; file only. */
bool dt_log_event(dt_logger *log, int64_t step, const char *event, const dt_log_value *values, size_t count,
                  dt_error *error);

/* A line for people, above the progress line; also when quiet. */
void dt_log_say(dt_logger *log, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Whether the log was opened as quiet: then what goes without saying is better not said. */
bool dt_log_quiet(const dt_logger *log);

#endif
