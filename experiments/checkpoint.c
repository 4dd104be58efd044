#include "experiments/checkpoint.h"

#include "data/file.h"
#include "eval/model_file.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH = 4096 };

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Removes the checkpoints of a run beyond the newest `keep`. */
static bool prune(const char *run, int keep, dt_error *error)
{
    char path[PATH];
    uint64_t number, *list = NULL;
    size_t count = 0, room = 0;
    snprintf(path, sizeof path, "%s/checkpoints", run);
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        if (sscanf(entry->d_name, "step-%" SCNu64 ".safetensors", &number) != 1)
            continue;
        if (count == room) {
            uint64_t *larger = realloc(list, (room = room * 2 + 16) * sizeof *list);
            if (!larger)
                break;
            list = larger;
        }
        list[count++] = number;
    }
    if (directory)
        closedir(directory);
    if (count)
        qsort(list, count, sizeof *list, by_number);
    bool good = true;
    for (size_t i = (size_t)keep; good && i < count; i++) {
        snprintf(path, sizeof path, "%s/checkpoints/step-%08" PRIu64 ".safetensors", run, list[i]);
        good = unlink(path) == 0 || errno == ENOENT || dt_fail(error, "%s: %s", path, strerror(errno));
    }
    free(list);
    return good;
}

bool dt_checkpoint_clear(const char *run, dt_error *error)
{
    return prune(run, 0, error);
}

static void slot_name(char *name, size_t size, const dt_optimizer *optimizer, int slot)
{
    snprintf(name, size, "optimizer.%s", dt_optimizer_slot_name(optimizer, slot));
}

bool dt_checkpoint_save(const char *run, const dt_model *model, dt_optimizer *optimizer, const dt_run_state *state,
                        int keep, dt_error *error)
{
    char path[PATH], step[32], total[32], settled[2], seconds[40], best[40], best_step[32], names[2][64];
    size_t count;
    snprintf(path, sizeof path, "%s/checkpoints", run);
    if (!dt_make_directories(path, error))
        return false;
    dt_st_tensor *tensors = dt_model_tensors(model, 2 + state->extra_count, &count);
    char *description = dt_json_text(model->json, 0, error);
    for (int i = 0; tensors && i < dt_optimizer_slots(optimizer); i++) {
        slot_name(names[i], sizeof names[i], optimizer, i);
        tensors[count++] = (dt_st_tensor){.name = names[i], .type = DT_ST_F32, .rank = 1,
                                          .shape = {(int64_t)dt_params_size(model->params)},
                                          .data = dt_optimizer_look(optimizer, i)};
    }
    for (size_t i = 0; tensors && i < state->extra_count; i++)
        tensors[count++] = (dt_st_tensor){.name = state->extras[i].name, .type = DT_ST_F32, .rank = 1,
                                          .shape = {(int64_t)state->extras[i].count}, .data = state->extras[i].values};
    snprintf(step, sizeof step, "%" PRIu64, state->step);
    snprintf(total, sizeof total, "%" PRId64, state->total_steps);
    snprintf(settled, sizeof settled, "%d", state->settled);
    snprintf(seconds, sizeof seconds, "%.17g", state->seconds);
    snprintf(best, sizeof best, "%.17g", state->best);
    snprintf(best_step, sizeof best_step, "%" PRIu64, state->best_step);
    const dt_st_meta meta[] = {{"format", "pt"}, {"duet.model", description}, {"duet.step", step},
                               {"duet.total_steps", total}, {"duet.settled", settled}, {"duet.seconds", seconds},
                               {"duet.best", best}, {"duet.best_step", best_step}};
    snprintf(path, sizeof path, "%s/checkpoints/step-%08" PRIu64 ".safetensors", run, state->step);
    bool good = tensors && description ? dt_model_gathered(model, error) &&
                                             dt_safetensors_write(path, tensors, count, meta, sizeof meta / sizeof *meta, error)
                                       : description ? dt_fail(error, "out of memory") : false;
    free(tensors);
    free(description);
    return good && prune(run, keep, error);
}

static bool read_number(const dt_safetensors *file, const char *key, double *value, dt_error *error)
{
    const char *text = dt_safetensors_meta(file, key);
    char *end = NULL;
    *value = text ? strtod(text, &end) : 0;
    return (text && end != text && !*end) ||
           dt_fail(error, "%s: %s is not in its metadata; this is not a training checkpoint", dt_safetensors_path(file),
                   key);
}

static bool read_numbers(dt_safetensors *file, const char *name, float *values, size_t count, dt_error *error)
{
    const int64_t shape[] = {(int64_t)count};
    const dt_st_tensor *tensor = dt_safetensors_need(file, name, error);
    return (tensor && dt_st_has_shape(tensor, 1, shape, error) && dt_st_to_float(tensor, values, error)) ||
           dt_fail_prefix(error, "%s", dt_safetensors_path(file));
}

static bool restore(dt_safetensors *file, dt_model *model, dt_optimizer *optimizer, dt_run_state *state, dt_error *error)
{
    double step, total, settled, best_step = 0;
    if (!read_number(file, "duet.step", &step, error) || !read_number(file, "duet.total_steps", &total, error) ||
        !read_number(file, "duet.settled", &settled, error) ||
        !read_number(file, "duet.seconds", &state->seconds, error) || !dt_model_fill(model, file, error))
        return false;
    char *description = dt_json_text(model->json, 0, error);
    const char *recorded = dt_safetensors_meta(file, "duet.model");
    bool same = description && recorded && !strcmp(description, recorded);
    free(description);
    if (!same)
        return dt_fail(error, "%s was made for another model than this configuration describes (or its text tower has changed since); go on "
                              "with that one, choose another --out, or begin anew with --restart", dt_safetensors_path(file));
    bool keeps_best = dt_safetensors_meta(file, "duet.best") != NULL; /* checkpoints of older runs do not */
    if (keeps_best && (!read_number(file, "duet.best", &state->best, error) ||
                       !read_number(file, "duet.best_step", &best_step, error)))
        return false;
    for (int i = 0; i < dt_optimizer_slots(optimizer); i++) {
        char name[64];
        slot_name(name, sizeof name, optimizer, i);
        if (!read_numbers(file, name, dt_optimizer_slot(optimizer, i), dt_params_size(model->params), error))
            return false;
    }
    for (size_t i = 0; i < state->extra_count; i++)
        if (!read_numbers(file, state->extras[i].name, state->extras[i].values, state->extras[i].count, error))
            return false;
    state->step = (uint64_t)step;
    state->total_steps = (int64_t)total;
    state->settled = settled != 0;
    state->best_step = (uint64_t)best_step;
    dt_optimizer_set_steps(optimizer, state->step);
    return true;
}

bool dt_checkpoint_restore(const char *run, dt_model *model, dt_optimizer *optimizer, dt_run_state *state,
                           dt_error *error)
{
    char path[PATH];
    uint64_t step;
    if (!dt_run_checkpoint(run, path, sizeof path, &step))
        return dt_fail(error, "%s/checkpoints: no checkpoint is there", run);
    dt_safetensors *file = dt_safetensors_open(path, error);
    if (!file)
        return dt_fail_prefix(error, "the newest checkpoint is damaged (remove it to go on from the one before)");
    bool good = file && restore(file, model, optimizer, state, error);
    dt_safetensors_close(file);
    return good;
}

bool dt_checkpoint_tell(const char *run, dt_error *error)
{
    char path[PATH];
    uint64_t step;
    dt_error first = *error;
    if (dt_run_checkpoint(run, path, sizeof path, &step))
        return dt_fail(error, "%s; the checkpoint of step %" PRIu64 " is whole", first.message, step);
    return dt_fail(error, "%s; there was no checkpoint yet", first.message);
}
