/* The folder of a run, as far as reports need it: its configuration, log and findings, each where it is
 * there. */
#ifndef DUET_EVAL_REPORT_RUN_H
#define DUET_EVAL_REPORT_RUN_H

#include <jansson.h>

#include "eval/findings.h"
#include "eval/report/run_log.h"

typedef struct dt_run {
    const char *path; /* as it was given; borrowed */
    char *folder;     /* the run's own name, whatever path led to it */
    json_t *config;   /* an object, or NULL without config.json */
    dt_run_log log;
    dt_findings findings;
    bool has_log, has_findings;
} dt_run;

/* Reads what is there. False: `path` is no folder or holds none of config.json, log.jsonl and
 * evaluation.json, or one of them is damaged (a torn last line of the log is not). The caller frees with
 * dt_run_free, also after a failure. */
bool dt_run_read(dt_run *run, const char *path, dt_error *error);
void dt_run_free(dt_run *run); /* zeroes it */

/* A text of the configuration's root, or NULL where it is absent or empty. */
const char *dt_run_text(const dt_run *run, const char *key);

/* The configuration's "name", else the folder's name. */
const char *dt_run_title(const dt_run *run);

/* The path of one of several runs, where its title does not tell it from the others; else NULL. */
const char *dt_run_path_if_needed(const dt_run *runs, size_t count, size_t run);

#endif
