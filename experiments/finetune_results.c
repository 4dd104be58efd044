#include "experiments/finetune_results.h"
#include "experiments/device.h"

#include "data/file.h"
#include "eval/findings.h"
#include "eval/report/report.h"
#include "experiments/run_folder.h"

#include <stdio.h>
#include <unistd.h>

/* The weights of the best epoch; without validation those of the last. A run that has been here before has no
 * best.safetensors any more: its model.safetensors is it. */
static bool settle_weights(const dt_finetune_end *e, dt_error *error)
{
    char best[DT_RUN_PATH], path[DT_RUN_PATH];
    dt_in_run(e->folder, "model.safetensors", path);
    const char *from = dt_file_exists(dt_in_run(e->folder, "best.safetensors", best)) ? best : path;
    if (dt_finetune_validated(e->data) && dt_file_exists(from) && !dt_model_read(e->model, from, error))
        return false;
    return dt_model_save(e->model, path, error);
}

static bool note(const dt_finetune_end *e, json_t *found, dt_error *error)
{
    char path[DT_RUN_PATH];
    dt_device_note(found);
    bool good = found && dt_findings_merge(dt_in_run(e->folder, "evaluation.json", path), found, error);
    json_decref(found);
    return good;
}

static void say_figures(const dt_finetune_end *e, const json_t *found)
{
    size_t i;
    const json_t *figure;
    json_array_foreach(json_object_get(found, "figures"), i, figure)
    {
        double value = json_number_value(json_object_get(figure, "value"));
        const json_t *low = json_object_get(figure, "low"), *high = json_object_get(figure, "high");
        char interval[64] = "";
        if (low && high)
            snprintf(interval, sizeof interval, " (%.2f to %.2f)", 100 * json_number_value(low), 100 * json_number_value(high));
        dt_log_say(e->log, "  %-48s %6.2f %%%s of %lld", json_string_value(json_object_get(figure, "name")), 100 * value,
                   interval, (long long)json_integer_value(json_object_get(figure, "n")));
    }
}

static bool test_all(const dt_finetune_end *e, dt_error *error)
{
    bool good = true;
    for (size_t i = 0; good && i < e->data->test_count; i++) {
        char name[300];
        snprintf(name, sizeof name, "%s, fine-tuned", e->data->test_names[i]);
        json_t *found = dt_judge_fully(e->model, e->data->backend, e->data->tests[i], name, e->seed, error);
        if (found)
            say_figures(e, found);
        good = found && note(e, found, error);
    }
    return good;
}

static json_t *curve(const char *name, size_t n)
{
    return json_pack("{s:s, s:I, s:[]}", "name", name, "n", (json_int_t)n, "points");
}

static void add_point(json_t *series, double share, double accuracy)
{
    json_array_append_new(json_object_get(series, "points"), json_pack("[f, f]", share, accuracy));
}

/* One point of every curve; the model holds the weights in question. */
static bool judge_point(const dt_finetune_end *e, double share, json_t *series, double *on_validation, dt_error *error)
{
    dt_verdict verdict;
    bool good = true;
    for (size_t i = 0; good && i < e->data->test_count; i++) {
        good = dt_judge(e->model, e->data->backend, e->data->tests[i], NULL, 0, &verdict, error);
        if (good)
            add_point(json_array_get(series, i), share, verdict.accuracy);
    }
    if (good && dt_finetune_validated(e->data) && (good = dt_finetune_validate(e->data, e->model, &verdict, error))) {
        add_point(json_array_get(series, e->data->test_count), share, verdict.accuracy);
        *on_validation = verdict.accuracy;
    }
    return good;
}

/* WiSE-FT: accuracy along the line from the zero-shot weights to the fine-tuned ones; what is best on validation is kept beside
 * the model. */
static bool interpolate(const dt_finetune_end *e, dt_error *error)
{
    char path[DT_RUN_PATH];
    dt_snapshot end = {0};
    json_t *series = json_array();
    double best = -1, chosen = 1;
    bool good = dt_snapshot_take(&end, e->model, error);
    for (size_t i = 0; i < e->data->test_count; i++)
        json_array_append_new(series, curve(e->data->test_names[i], dt_examples_count(e->data->tests[i])));
    if (dt_finetune_validated(e->data))
        json_array_append_new(series, curve("validation", dt_finetune_validated(e->data)));
    int points = e->interpolate + 1;
    for (int i = 0; good && i <= points; i++) {
        double share = (double)i / points, accuracy = -1;
        dt_interpolate(e->model, e->start, &end, share);
        good = judge_point(e, share, series, &accuracy, error);
        if (good && accuracy > best) {
            best = accuracy;
            chosen = share;
        }
    }
    if (good && dt_finetune_validated(e->data)) {
        dt_interpolate(e->model, e->start, &end, chosen);
        dt_log_say(e->log, "interpolation: %.0f %% of the way is best on validation (%.2f %%); interpolated.safetensors",
                   100 * chosen, 100 * best);
        good = dt_model_save(e->model, dt_in_run(e->folder, "interpolated.safetensors", path), error);
    }
    if (end.values && end.buffers)
        dt_interpolate(e->model, e->start, &end, 1);
    dt_snapshot_free(&end);
    json_t *found = json_pack("{s:[{s:s, s:s, s:s, s:o}]}", "curves", "name", "Weight interpolation", "x",
                              "share of the way from zero-shot to fine-tuned weights", "y", "accuracy", "series", series);
    if (good)
        return note(e, found, error);
    json_decref(found);
    return false;
}

bool dt_finetune_finish(const dt_finetune_end *e, dt_error *error)
{
    char path[DT_RUN_PATH];
    bool measures = e->data->test_count || dt_finetune_validated(e->data);
    if (!settle_weights(e, error) || !test_all(e, error) ||
        (e->start && measures && !interpolate(e, error)) || !dt_report_write(e->folder, error))
        return false;
    unlink(dt_in_run(e->folder, "best.safetensors", path)); /* it is model.safetensors now */
    return true;
}
