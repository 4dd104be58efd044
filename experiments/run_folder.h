/* The folder of a training run, RUN/{config.json, log.jsonl, checkpoints, model.safetensors, ...}: one process in it at a time,
 * one configuration for its whole life, and interruptions that end in a checkpoint. In the order of use:
 *
 *     dt_run_folder folder = {.path = "runs/mine"};
 *     dt_run_catch_signals(&folder);                    first of all
 *     dt_run_check_config(&folder, config, &error)      unless it is to begin anew
 *     dt_run_claim(&folder, &error)                     when everything that can be wrong has been looked at
 *     dt_run_start(&folder, config, ...)                the first writing, unless the run goes on
 *     ... each step: if (dt_run_interrupted(&folder)) write a checkpoint and leave ...
 *     dt_run_release_signals(&folder); dt_run_close(&folder); */
#ifndef DUET_EXPERIMENTS_RUN_FOLDER_H
#define DUET_EXPERIMENTS_RUN_FOLDER_H

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>

#include "data/error.h"
#include "data/tokenizer.h"
#include "experiments/log.h"
#include "kernels/backend.h"

enum { DT_RUN_PATH = 4096 };

typedef struct dt_run_folder {
    const char *path;
    sigset_t stopping; /* SIGINT, SIGTERM, and SIGHUP unless it was ignored */
    int signals;       /* a descriptor that tells of them */
    const dt_backend *backend; /* what the run computes on: to be set before dt_run_start */
    int lock;          /* one of the folder: a second process keeps out, and what killed ones left is swept */
} dt_run_folder;

/* The path of a file in a run's folder, in room. */
const char *dt_in_run(const char *folder, const char *name, char room[DT_RUN_PATH]);

/* "runs/NAME" for a configuration NAME.json. */
void dt_run_default_folder(const char *config, char room[DT_RUN_PATH]);

/* Keeps SIGINT, SIGTERM and SIGHUP for dt_run_interrupted; SIGHUP stays ignored where it is (nohup). Before any thread starts, so
 * that all of them leave these alone. */
void dt_run_catch_signals(dt_run_folder *run);
bool dt_run_interrupted(const dt_run_folder *run);
void dt_run_release_signals(dt_run_folder *run); /* from here a signal just ends the process */

/* Whether the run in the folder, if there is one, has this configuration (4 and 4.0 are the same); the message names the first
 * difference. A config.json that is damaged, or missing beside checkpoints, is refused with what to do. `free_keys` (dotted
 * paths, NULL-terminated; NULL: none) may differ: what does not change the training. */
bool dt_run_check_config(const dt_run_folder *run, const json_t *config, const char *const *free_keys, dt_error *error);

/* Says what the run computes on, if steps are left and the log is not quiet. Where the last steps before ran on another device or in
 * another precision, it says so in any case, for then the run does not end with the same bits, and config.json gets "after step N"
 * among its versions. */
bool dt_run_say_device(const dt_run_folder *run, dt_logger *log, uint64_t step, uint64_t steps, dt_error *error);

/* Makes the folder and keeps other processes out. */
bool dt_run_claim(dt_run_folder *run, dt_error *error);

/* Writes config.json (with the versions in force and how to repeat the run: `command`, "pretrain") and tokenizer.json (NULL: none), and removes old checkpoints and evaluation.json. Old
 * parameters go only when a new beginning was asked for. */
bool dt_run_start(const dt_run_folder *run, const char *command, const json_t *config, const dt_tokenizer *tokenizer,
                  bool restart, dt_error *error);

void dt_run_close(dt_run_folder *run);

#endif
