#include "experiments/log.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "data/clock.h"
#include "data/file.h"

static const double redraw_seconds = 0.1, line_seconds = 5;

struct dt_logger {
    FILE *file, *people;
    char *path;
    int64_t steps, first_step; /* first_step: done before this process */
    bool quiet, terminal, drawn;
    double opened, shown; /* seconds */
};

/* The "step" of a line, or -1 when the line is not an object with one. */
static int64_t step_of(const uint8_t *line, size_t size)
{
    json_t *object = json_loadb((const char *)line, size, 0, NULL);
    const json_t *step = json_object_get(object, "step");
    int64_t value = json_is_integer(step) ? json_integer_value(step) : -1;
    json_decref(object);
    return value;
}

/* How many bytes of the log stay: through the last whole line whose step is at most `step`. */
static size_t kept_bytes(const dt_map *map, int64_t step)
{
    size_t end = map->size;
    while (end && map->data[end - 1] != '\n')
        end--;
    while (end) {
        size_t begin = end - 1;
        while (begin && map->data[begin - 1] != '\n')
            begin--;
        int64_t found = step_of(map->data + begin, end - begin);
        if (found >= 0 && found <= step)
            return end;
        end = begin;
    }
    return 0;
}

static bool cut(const char *path, int64_t step, dt_error *error)
{
    dt_map map;
    if (!dt_map_open(&map, path, error))
        return false;
    size_t kept = kept_bytes(&map, step), size = map.size;
    dt_map_close(&map);
    if (kept < size && truncate(path, (off_t)kept) != 0)
        return dt_fail(error, "cannot shorten %s: %s", path, strerror(errno));
    return true;
}

static bool open_file(dt_logger *log, const dt_log_options *options, dt_error *error)
{
    bool resume = options->resume && dt_file_exists(options->path);
    if (resume && !cut(options->path, options->resume_step, error))
        return false;
    log->path = strdup(options->path);
    log->file = log->path ? fopen(options->path, resume ? "abe" : "wbe") : NULL;
    return log->file || dt_fail(error, "cannot write %s: %s", options->path, strerror(errno));
}

dt_logger *dt_log_open(const dt_log_options *options, dt_error *error)
{
    dt_logger *log = calloc(1, sizeof *log);
    if (!log) {
        dt_fail(error, "no memory for the log");
        return NULL;
    }
    log->people = options->people ? options->people : stderr;
    const char *kind = getenv("TERM"); /* a dumb one cannot redraw a line */
    log->terminal = isatty(fileno(log->people)) == 1 && !(kind && !strcmp(kind, "dumb"));
    log->quiet = options->quiet;
    log->steps = options->steps;
    log->first_step = options->resume ? options->resume_step : 0;
    log->opened = dt_now();
    log->shown = -INFINITY;
    if (options->path && !open_file(log, options, error)) {
        dt_log_close(log);
        return NULL;
    }
    return log;
}

void dt_log_close(dt_logger *log)
{
    if (!log)
        return;
    if (log->drawn)
        fputc('\n', log->people);
    if (log->file)
        fclose(log->file);
    free(log->path);
    free(log);
}

static void put_number(FILE *file, double value)
{
    if (!isfinite(value))
        fputs("null", file);
    else if (value == floor(value) && fabs(value) < 0x1p53)
        fprintf(file, "%.0f", value);
    else
        fprintf(file, "%.9g", value);
}

static void put_values(FILE *file, const dt_log_value *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fprintf(file, ", \"%s\": ", values[i].name);
        put_number(file, values[i].value);
    }
}

static bool end_line(dt_logger *log, dt_error *error)
{
    fputs("}\n", log->file);
    if (fflush(log->file) != 0 || ferror(log->file))
        return dt_fail(error, "cannot write %s: %s", log->path, strerror(errno));
    return true;
}

/* "1:02:03" or "2:03". */
static void put_time(char *text, size_t size, double seconds)
{
    long s = seconds < 3.6e7 ? (long)(seconds + 0.5) : 36000000;
    if (s >= 3600)
        snprintf(text, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, size, "%ld:%02ld", s / 60, s % 60);
}

/* "step 120/1000  loss 2.3456  512 pairs/s  3:12 left  waiting 2%" */
static void describe(const dt_logger *log, const dt_log_step *step, char *text, size_t size)
{
    char total[32] = "", left[32] = "", loss[32];
    int64_t done = step->step - log->first_step;
    snprintf(loss, sizeof loss, fabs(step->loss) < 1e7 ? "%.4f" : "%.4g", step->loss);
    if (log->steps > 0)
        snprintf(total, sizeof total, "/%" PRId64, log->steps);
    if (log->steps > 0 && done > 0) {
        memcpy(left, "  ", 3);
        put_time(left + 2, sizeof left - 8,
                 (dt_now() - log->opened) / (double)done * (double)(log->steps - step->step));
        strcat(left, " left");
    }
    snprintf(text, size, "step %" PRId64 "%s  loss %s  %.*f pairs/s%s  waiting %.0f%%", step->step, total,
             loss, step->pairs_per_second < 10 ? 2 : 0, step->pairs_per_second, left,
             100 * step->waiting);
}

/* The bar takes what the text leaves of the line. */
static void draw_bar(dt_logger *log, const dt_log_step *step, const char *text)
{
    struct winsize window = {0};
    int columns = ioctl(fileno(log->people), TIOCGWINSZ, &window) == 0 && window.ws_col ? window.ws_col : 80;
    enum { MOST = 30, LEAST = 5 };
    int width = columns - 1 - (int)strlen(text) - 3; /* two brackets and a space */
    width = width > MOST ? MOST : width;
    char bar[MOST + 1] = "";
    fputc('\r', log->people);
    if (log->steps > 0 && width >= LEAST) {
        int done = (int)(fmin(1, (double)step->step / (double)log->steps) * width);
        memset(bar, '#', (size_t)done);
        memset(bar + done, '.', (size_t)(width - done));
        bar[width] = 0;
        fprintf(log->people, "[%s] ", bar);
    }
    fprintf(log->people, "%.*s\033[K", columns - 1, text);
    fflush(log->people);
    log->drawn = true;
}

static void show(dt_logger *log, const dt_log_step *step)
{
    double time = dt_now();
    bool last = log->steps > 0 && step->step >= log->steps;
    if (log->quiet || (!last && time - log->shown < (log->terminal ? redraw_seconds : line_seconds)))
        return;
    log->shown = time;
    char text[256];
    describe(log, step, text, sizeof text);
    if (log->terminal) {
        draw_bar(log, step, text);
    } else {
        fprintf(log->people, "%s\n", text);
        fflush(log->people);
    }
}

bool dt_log_add(dt_logger *log, const dt_log_step *step, dt_error *error)
{
    show(log, step);
    if (!log->file)
        return true;
    fprintf(log->file, "{\"step\": %" PRId64, step->step);
    const dt_log_value fixed[] = {
        {"loss", step->loss}, {"pairs_per_second", step->pairs_per_second}, {"waiting", step->waiting}};
    put_values(log->file, fixed, 3);
    put_values(log->file, step->values, step->value_count);
    return end_line(log, error);
}

void dt_log_set_steps(dt_logger *log, int64_t steps)
{
    log->steps = steps;
}

bool dt_log_event(dt_logger *log, int64_t step, const char *event, const dt_log_value *values, size_t count,
                  dt_error *error)
{
    if (!log->file)
        return true;
    fprintf(log->file, "{\"step\": %" PRId64 ", \"event\": \"%s\"", step, event);
    put_values(log->file, values, count);
    return end_line(log, error);
}

bool dt_log_quiet(const dt_logger *log)
{
    return log->quiet;
}

void dt_log_say(dt_logger *log, const char *format, ...)
{
    if (log->drawn)
        fputs("\r\033[K", log->people);
    log->drawn = false;
    log->shown = -INFINITY; /* the progress line comes back with the next step */
    va_list arguments;
    va_start(arguments, format);
    vfprintf(log->people, format, arguments);
    va_end(arguments);
    fputc('\n', log->people);
    fflush(log->people);
}
