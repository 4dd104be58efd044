#include "experiments/log.h"

#include "data/file.h"
#include "data/json.h"
#include "tests/tap.h"

static dt_error error;
static const char *path;

static bool file_is(const char *want)
{
    char *text = dt_file_read(path, 1 << 20, NULL, &error);
    bool same = text && strcmp(text, want) == 0;
    if (!same)
        printf("# got: %s\n", text ? text : error.message);
    free(text);
    return same;
}

#define ONE                                                                                                  \
    "{\"step\": 1, \"loss\": 2.5, \"pairs_per_second\": 100, \"waiting\": 0.25, \"scale\": 0.100000001}\n"
#define EVENT "{\"step\": 1, \"event\": \"evaluation\", \"top1\": null}\n"
#define TWO   "{\"step\": 2, \"loss\": 1e-10, \"pairs_per_second\": 5.5, \"waiting\": 0}\n"

static void add(dt_logger *log, int64_t step)
{
    const dt_log_value scale = {"scale", 0.1f}, top1 = {"top1", NAN};
    if (step == 1) {
        dt_log_add(log, &(dt_log_step){1, 2.5, 100, 0.25, &scale, 1}, &error);
        dt_log_event(log, 1, "evaluation", &top1, 1, &error);
    } else {
        dt_log_add(log, &(dt_log_step){step, 1e-10, 5.5, 0, NULL, 0}, &error);
    }
}

/* Opens the log to go on from `step`, closes it, and compares what is left. */
static bool resumed(const char *before, int64_t step, const char *after)
{
    dt_file_write(path, before, strlen(before), &error);
    dt_logger *log = dt_log_open(&(dt_log_options){.path = path, .resume = true, .resume_step = step}, &error);
    dt_log_close(log);
    return log && file_is(after);
}

int main(void)
{
    path = in("log.jsonl");
    char *text = NULL;
    size_t size = 0;
    FILE *people = tmpfile();
    dt_logger *log = dt_log_open(&(dt_log_options){.path = path, .steps = 3, .people = people}, &error);
    if (!ok(log != NULL, "opens %s", error.message))
        return done();
    add(log, 1);
    ok(file_is(ONE EVENT), "each line is in the file at once");
    add(log, 2);
    ok(file_is(ONE EVENT TWO), "steps follow");
    dt_log_say(log, "saved %s", "x");
    add(log, 3);
    dt_log_close(log);
    char said[512] = "";
    rewind(people);
    size = fread(said, 1, sizeof said - 1, people);
    fclose(people);
    text = strstr(said, "saved x\nstep 3/3  loss 0.0000  5.50 pairs/s  0:00 left  waiting 0%\n");
    ok(size && text, "a pipe gets plain lines: the first, and the last whatever the time");
    ok(strncmp(said, "step 1/3  loss 2.5000  100 pairs/s", 34) == 0 && !strstr(said, "step 2/3"),
       "and few between");

    ok(resumed(ONE EVENT TWO, 2, ONE EVENT TWO), "resume keeps what is good");
    ok(resumed(ONE EVENT TWO, 1, ONE EVENT), "cuts later steps");
    ok(resumed(ONE EVENT TWO "{\"step\": 3, \"lo", 9, ONE EVENT TWO), "cuts a torn line");
    ok(resumed(ONE EVENT TWO "garbage\n", 9, ONE EVENT TWO), "cuts what is not JSON");
    ok(resumed(ONE EVENT, 0, ""), "cuts all before the first step");
    ok(resumed("", 5, ""), "an empty file");

    dt_file_write(path, ONE, strlen(ONE), &error);
    log =
        dt_log_open(&(dt_log_options){.path = path, .resume = true, .resume_step = 1, .quiet = true}, &error);
    add(log, 2);
    dt_log_close(log);
    ok(file_is(ONE TWO), "and goes on behind it");
    dt_log_close(dt_log_open(&(dt_log_options){.path = path}, &error));
    ok(file_is(""), "a new run starts anew");
    ok(!dt_log_open(&(dt_log_options){.path = "/proc/x/log.jsonl"}, &error) &&
           strstr(error.message, "/proc/x/log"),
       "a bad path is told: %s", error.message);
    if (access("/dev/full", W_OK) == 0) {
        log = dt_log_open(&(dt_log_options){.path = "/dev/full", .quiet = true}, &error);
        ok(!dt_log_add(log, &(dt_log_step){.step = 1}, &error) && strstr(error.message, "No space left"),
           "a full disk is told: %s", error.message);
        dt_log_close(log);
    }
    return done();
}
