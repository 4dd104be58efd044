/* Between the two halves of a suite, private to them: suite.c reads it, suite_run.c runs it. */
#ifndef DUET_EXPERIMENTS_SUITE_PARTS_H
#define DUET_EXPERIMENTS_SUITE_PARTS_H

#include "eval/few_shot.h"
#include "experiments/suite.h"

enum { DT_SUITE_TEMPLATES = 256 };

typedef enum dt_suite_task { DT_TASK_ZEROSHOT, DT_TASK_RETRIEVAL, DT_TASK_PROBE, DT_TASK_CLASSIFY, DT_TASKS } dt_suite_task;
extern const char *const dt_suite_tasks[DT_TASKS]; /* as the file writes them */

typedef struct dt_suite_set { /* texts and lists are borrowed from the suite's JSON */
    const json_t *weights;    /* a path or a list of paths */
    const char *name, *data, *train, *validation, *classes;
    const char *templates[DT_SUITE_TEMPLATES];
    size_t template_count, captions, shots[DT_SHOTS_MAX], shot_count;
    int seeds;
    bool after_projection, tasks[DT_TASKS];
    char short_name[256];
} dt_suite_set;

struct dt_suite {
    json_t *json;
    const char *name;
    const json_t *weights; /* for all sets that have none of their own; NULL: each has */
    dt_suite_set *sets;
    size_t set_count;
    json_t *results;
};

/* Path i of a set's weights; NULL beyond the last. */
const char *dt_suite_weights(const json_t *weights, size_t i);

#endif
