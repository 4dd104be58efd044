#include "eval/report/run.h"

#include <stdlib.h>
#include <string.h>

#include "data/file.h"
#include "data/json.h"

/* The path of a file in the run's folder, or NULL where there is none. The caller frees. */
static char *find(const dt_run *run, const char *name)
{
    char *path = dt_join(run->path, name);
    if (path && dt_file_exists(path))
        return path;
    free(path);
    return NULL;
}

static bool load_config(dt_run *run, const char *path, dt_error *error)
{
    run->config = dt_json_load(path, error);
    if (run->config && !json_is_object(run->config))
        return dt_fail(error, "%s: expected an object, found %s", path, dt_json_kind_name(run->config));
    return run->config;
}

static bool load_parts(dt_run *run, const char *config, const char *log, const char *evaluation,
                       dt_error *error)
{
    if (!config && !log && !evaluation)
        return dt_fail(error,
                       "%s holds no config.json, log.jsonl or evaluation.json: expected the folder of a run",
                       run->path);
    run->has_log = log;
    run->has_findings = evaluation;
    return (!config || load_config(run, config, error)) && (!log || dt_run_log_read(&run->log, log, error)) &&
           (!evaluation || dt_findings_read(&run->findings, evaluation, error));
}

bool dt_run_read(dt_run *run, const char *path, dt_error *error)
{
    *run = (dt_run){.path = path};
    if (!dt_is_directory(path))
        return dt_fail(error, "%s is no folder: expected the folder of a run", path);
    char *whole = realpath(path, NULL);
    const char *slash = whole ? strrchr(whole, '/') : NULL;
    run->folder = strdup(slash && slash[1] ? slash + 1 : path);
    free(whole);
    char *config = find(run, "config.json"), *log = find(run, "log.jsonl"),
         *evaluation = find(run, "evaluation.json");
    bool good = run->folder ? load_parts(run, config, log, evaluation, error)
                            : dt_fail(error, "no memory for the report");
    free(config);
    free(log);
    free(evaluation);
    return good;
}

void dt_run_free(dt_run *run)
{
    dt_findings_free(&run->findings);
    dt_run_log_free(&run->log);
    json_decref(run->config);
    free(run->folder);
    *run = (dt_run){0};
}

const char *dt_run_text(const dt_run *run, const char *key)
{
    const char *text = json_string_value(json_object_get(run->config, key));
    return text && *text ? text : NULL;
}

const char *dt_run_title(const dt_run *run)
{
    const char *name = dt_run_text(run, "name");
    return name ? name : run->folder;
}

const char *dt_run_path_if_needed(const dt_run *runs, size_t count, size_t run)
{
    for (size_t i = 0; i < count; i++)
        if (i != run && !strcmp(dt_run_title(&runs[i]), dt_run_title(&runs[run])))
            return runs[run].path;
    return NULL;
}
