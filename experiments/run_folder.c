#include "experiments/run_folder.h"

#include "data/file.h"
#include "data/json.h"
#include "eval/model_file.h"
#include "experiments/checkpoint.h"
#include "experiments/device.h"
#include "experiments/version.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <unistd.h>

const char *dt_in_run(const char *folder, const char *name, char room[DT_RUN_PATH])
{
    snprintf(room, DT_RUN_PATH, "%s/%s", folder, name);
    return room;
}

void dt_run_default_folder(const char *config, char room[DT_RUN_PATH])
{
    const char *slash = strrchr(config, '/'), *name = slash ? slash + 1 : config, *dot = strrchr(name, '.');
    snprintf(room, DT_RUN_PATH, "runs/%.*s", dot ? (int)(dot - name) : (int)strlen(name), name);
}

void dt_run_catch_signals(dt_run_folder *r)
{
    struct sigaction hangup;
    r->lock = -1;
    sigemptyset(&r->stopping);
    sigaddset(&r->stopping, SIGINT);
    sigaddset(&r->stopping, SIGTERM);
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN) /* as it is under nohup */
        sigaddset(&r->stopping, SIGHUP);
    sigprocmask(SIG_BLOCK, &r->stopping, NULL);
    r->signals = signalfd(-1, &r->stopping, SFD_NONBLOCK | SFD_CLOEXEC);
}

bool dt_run_interrupted(const dt_run_folder *r)
{
    struct signalfd_siginfo info;
    return read(r->signals, &info, sizeof info) == sizeof info;
}

void dt_run_release_signals(dt_run_folder *r)
{
    sigprocmask(SIG_UNBLOCK, &r->stopping, NULL);
}

/* 4 and 4.0 are the same. */
static bool same_value(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b) && json_is_real(a) != json_is_real(b))
        return json_number_value(a) == json_number_value(b);
    if (!json_is_array(a) || !json_is_array(b))
        return json_equal((json_t *)a, (json_t *)b);
    bool same = json_array_size(a) == json_array_size(b);
    for (size_t i = 0; same && i < json_array_size(a); i++)
        same = same_value(json_array_get(a, i), json_array_get(b, i));
    return same;
}

/* The first place where two configurations differ, as a dotted path. False: they are equal. */
static bool difference(const json_t *a, const json_t *b, const char *const *free_keys, char *path, size_t size)
{
    const char *key;
    json_t *value;
    for (size_t i = 0; free_keys && free_keys[i]; i++)
        if (!strcmp(free_keys[i], path))
            return false;
    if (!json_is_object(a) || !json_is_object(b))
        return !same_value(a, b);
    size_t used = strlen(path);
    for (int turn = 0; turn < 2; turn++) {
        json_object_foreach((json_t *)(turn ? b : a), key, value)
        {
            snprintf(path + used, size - used, "%s%s", used ? "." : "", key);
            json_t *other = json_object_get(turn ? a : b, key);
            if (difference(value, other, free_keys, path, size)) /* of NULL and anything: there is one */
                return true;
            path[used] = 0;
        }
    }
    return false;
}

/* The configuration that the run in the folder was begun with, *old; NULL where nothing has been begun. */
static bool read_old(const dt_run_folder *r, json_t **old, dt_error *error)
{
    char path[DT_RUN_PATH], checkpoint[DT_RUN_PATH];
    uint64_t step;
    dt_in_run(r->path, "config.json", path);
    *old = NULL;
    if (!dt_file_exists(path))
        return !dt_run_checkpoint(r->path, checkpoint, sizeof checkpoint, &step) ||
               dt_fail(error, "%s is missing, so that nothing says what %s was made with; put it back, choose another --out, or "
                              "begin anew with --restart", path, checkpoint);
    *old = dt_json_load(path, error);
    if (*old && json_is_object(*old))
        return true;
    if (*old)
        dt_fail(error, "%s: expected an object, found %s", path, dt_json_kind_name(*old));
    json_decref(*old);
    return dt_fail_prefix(error, "the run's configuration cannot be used (put it back, choose another --out, or begin anew with "
                                 "--restart)");
}

bool dt_run_check_config(const dt_run_folder *r, const json_t *config, const char *const *free_keys, dt_error *error)
{
    char where[256] = "";
    json_t *old;
    if (!read_old(r, &old, error))
        return false;
    if (!old)
        return true;
    json_object_del(old, "versions");
    json_object_del(old, "command");
    bool differs = difference(old, config, free_keys, where, sizeof where);
    json_decref(old);
    return !differs || dt_fail(error, "%s was made with another configuration (%s differs); go on with that one, choose another "
                                      "--out, or begin anew with --restart", r->path, where);
}

/* The step after which a key of config.json's versions notes another device; 0: it notes something else. */
static uint64_t noted_step(const char *key)
{
    static const char after[] = "after step ";
    return strncmp(key, after, sizeof after - 1) ? 0 : strtoull(key + sizeof after - 1, NULL, 10);
}

/* What the steps up to `step` were last computed on, "cuda in bf16": what was noted last, or at the start. Notes of later steps, which
 * were lost with their checkpoints, are taken out; *changed says so. */
static void last_device(json_t *versions, uint64_t step, char *to, size_t size, bool *changed)
{
    const char *key, *device = json_string_value(json_object_get(versions, "device"));
    const char *precision = json_string_value(json_object_get(versions, "precision"));
    uint64_t latest = 0;
    json_t *value;
    void *next;
    snprintf(to, size, "%s in %s", device ? device : "cpu", precision ? precision : "fp32"); /* there was no other before it was noted */
    json_object_foreach_safe(versions, next, key, value) {
        uint64_t noted = noted_step(key);
        if (noted > latest && noted < step && json_is_string(value))
            latest = noted, snprintf(to, size, "%s", json_string_value(value));
        if (noted && noted >= step)
            *changed = json_object_del(versions, key) == 0;
    }
}

bool dt_run_say_device(const dt_run_folder *r, dt_logger *log, uint64_t step, uint64_t steps, dt_error *error)
{
    char path[DT_RUN_PATH], before[64], now[64], key[64];
    if (step >= steps)
        return true; /* nothing is left to compute */
    json_t *config = dt_json_load(dt_in_run(r->path, "config.json", path), error);
    json_t *versions = json_object_get(config, "versions");
    bool changed = false;
    last_device(versions, step, before, sizeof before, &changed);
    snprintf(now, sizeof now, "%s in %s", r->backend->name, dt_precision_name(r->backend->precision));
    if (!dt_log_quiet(log))
        dt_log_say(log, "device: %s", dt_device_words());
    if (config && step && strcmp(before, now)) {
        dt_log_say(log, "the steps before ran on %s, the next run on %s: the numbers will be close, but not the same bits",
                   before, now);
        snprintf(key, sizeof key, "after step %" PRIu64, step);
        changed = versions && json_object_set_new(versions, key, json_string(now)) == 0;
    }
    bool good = config && (!changed || dt_json_write(path, config, error));
    json_decref(config);
    return good;
}

/* What made the run, to be given again: `device` too, where it is not the CPU in float32. */
static json_t *command_of(const dt_run_folder *r, const char *command)
{
    char path[DT_RUN_PATH];
    json_t *words = json_pack("[s, s, s, s, s]", "duet", command, dt_in_run(r->path, "config.json", path), "--out", "NEW_FOLDER");
    if (words && (!r->backend->on_host || r->backend->precision != DT_FP32)) {
        json_array_append_new(words, json_string("--device"));
        json_array_append_new(words, json_string(r->backend->name));
        json_array_append_new(words, json_string("--precision"));
        json_array_append_new(words, json_string(dt_precision_name(r->backend->precision)));
    }
    return words;
}

bool dt_run_claim(dt_run_folder *r, dt_error *error)
{
    char path[DT_RUN_PATH];
    if (!dt_make_directories(r->path, error))
        return false;
    r->lock = open(r->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->lock < 0)
        return dt_fail(error, "cannot open %s: %s", r->path, strerror(errno));
    if (flock(r->lock, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK) /* where a file system has no locks, all goes without */
        return dt_fail(error, "%s: another process trains in this folder", r->path);
    dt_remove_temporaries(r->path);
    dt_remove_temporaries(dt_in_run(r->path, "checkpoints", path));
    return true;
}

bool dt_run_start(const dt_run_folder *r, const char *command, const json_t *config, const dt_tokenizer *tokenizer,
                  bool restart, dt_error *error)
{
    char path[DT_RUN_PATH];
    json_t *whole = json_copy((json_t *)config);
    bool good = (whole && json_object_set_new(whole, "versions", dt_versions(r->backend)) == 0 &&
                 json_object_set_new(whole, "command", command_of(r, command)) == 0) ||
                dt_fail(error, "out of memory, or %s is not UTF-8", r->path);
    if (good && restart && unlink(dt_in_run(r->path, "model.safetensors", path)) && errno != ENOENT)
        good = dt_fail(error, "cannot remove %s: %s", path, strerror(errno));
    if (good)
        unlink(dt_in_run(r->path, "evaluation.json", path)); /* figures of an earlier training in this folder */
    good = good && dt_checkpoint_clear(r->path, error) &&
           (!tokenizer || dt_tokenizer_save(tokenizer, dt_in_run(r->path, "tokenizer.json", path), error)) &&
           dt_json_write(dt_in_run(r->path, "config.json", path), whole, error);
    json_decref(whole);
    return good;
}

void dt_run_close(dt_run_folder *r)
{
    if (r->signals >= 0)
        close(r->signals);
    if (r->lock >= 0)
        close(r->lock);
    r->signals = r->lock = -1;
}
