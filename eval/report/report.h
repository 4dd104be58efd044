/* The report of a run: one HTML file that needs nothing else.
 *
 * It is made from what is in the run's folder, a part that it does not have is no section, and a file that
 * is absent is said to be under the title:
 *
 *   config.json      any JSON object, shown with "a.b[0]" for what is nested. "name" (text) is the report's
 *                    title instead of the folder's name, "description" (text) stands under it, "command"
 *                    (text, or a list of words) is how to repeat the run instead of pretraining by this
 *                    file, "versions" (an object) is what it ran on
 *   log.jsonl        see eval/report/run_log.h: a curve for every series of numbers; those of
 *                    eval/report/training.c are known by name and come first
 *   evaluation.json  see eval/findings.h: the headline figures, the pictures that the run made, curves,
 *                    confusions, tables, calibration, the map of the embeddings, and the pictures that queries found
 *
 * The same files give the same bytes. Pictures are taken from the pair stores, folders and files that
 * evaluation.json names; nothing in the page is fetched from anywhere, and its content security policy
 * forbids it. */
#ifndef DUET_EVAL_REPORT_REPORT_H
#define DUET_EVAL_REPORT_REPORT_H

#include <stdbool.h>

#include "data/error.h"

/* Writes RUN/report.html, atomically. False, and the old report stays as it was: `run` is no folder or holds
 * none of the three files, one of them is there but damaged (a torn last line of the log is not), or the disk
 * is full. */
bool dt_report_write(const char *run, dt_error *error);

#endif
