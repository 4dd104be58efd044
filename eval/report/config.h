/* A run's configuration as HTML: the whole of it, flattened; and what it says on repeating the run. */
#ifndef DUET_EVAL_REPORT_CONFIG_H
#define DUET_EVAL_REPORT_CONFIG_H

#include <jansson.h>
#include <stdbool.h>

#include "data/file.h"

/* Writes a table with one row a value: "model.vision.width" | 128. Lists of plain values are one row, long
 * texts are cut, and so is what lies deeper than 32 levels; after 1,000 rows the rest is left out and said to
 * be. */
void dt_config_write(dt_writer *writer, const json_t *config);

/* Calls `see` with the path of each value ("model.vision.width") and the value, as the table has them, in its
 * order, until it returns false. The path is valid during the call. */
typedef bool dt_config_see(void *context, const char *path, const json_t *value);
void dt_config_each(const json_t *config, dt_config_see *see, void *context);

/* Writes a value as a cell of the table: texts as they are, all else as JSON, cut where long. */
void dt_config_write_value(dt_writer *writer, const json_t *value);

/* Writes the command line, in the form that a shell takes, and the versions, as far as `config` has them;
 * without a command, the one that trains once more by the configuration in the folder `run`. */
void dt_reproduce_write(dt_writer *writer, const json_t *config, const char *run);

#endif
