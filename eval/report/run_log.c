#include "eval/report/run_log.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/file.h"

const dt_series *dt_run_log_find(const dt_run_log *log, const char *event, const char *key)
{
    for (size_t i = 0; i < log->series_count; i++)
        if (!strcmp(log->series[i]->key, key) && !strcmp(log->series[i]->event, event))
            return log->series[i];
    return NULL;
}

/* One point from two in a row. */
static dt_point merge(const dt_point *a, const dt_point *b)
{
    dt_point both = {
        .first = a->first, .last = b->last, .count = a->count + b->count, .finite = a->finite + b->finite};
    both.least = fmin(a->least, b->least); /* fmin and fmax pass over a NaN */
    both.most = fmax(a->most, b->most);
    double part = both.finite ? (double)b->finite / (double)both.finite : 0;
    both.mean = !a->finite ? b->mean : !b->finite ? a->mean : a->mean + (b->mean - a->mean) * part;
    return both;
}

static void halve(dt_series *s)
{
    size_t half = s->point_count / 2;
    for (size_t i = 0; i < half; i++)
        s->points[i] = merge(&s->points[2 * i], &s->points[2 * i + 1]);
    s->point_count = half;
    s->span *= 2;
}

/* Values beyond this are no measurements, and differences of such overflow: they count as not finite. */
static const double value_most = 1e100;
static const double step_most = 0x1p53;

static void add(dt_series *s, double step, double value)
{
    bool finite = fabs(value) <= value_most;
    if (finite) {
        if (!s->finite || value > s->greatest) {
            s->greatest = value;
            s->greatest_step = step;
        }
        s->first = s->finite ? s->first : value;
        s->last = value;
        s->sum += value;
    }
    s->count++;
    s->finite += finite;
    double kept = finite ? value : NAN;
    dt_point one = {step, step, kept, kept, kept, 1, finite};
    dt_point *end = s->point_count ? &s->points[s->point_count - 1] : NULL;
    if (end && end->count < s->span) {
        *end = merge(end, &one);
        return;
    }
    if (s->point_count == DT_SERIES_POINTS) /* an even number of full points */
        halve(s);
    s->points[s->point_count++] = one;
}

static void free_series(dt_series *s)
{
    if (!s)
        return;
    free(s->event);
    free(s->key);
    free(s);
}

static dt_series *find_or_make(dt_run_log *log, const char *event, const char *key, dt_error *error)
{
    dt_series *s = (dt_series *)dt_run_log_find(log, event, key);
    if (s)
        return s;
    s = calloc(1, sizeof *s);
    if (s) {
        s->event = strdup(event);
        s->key = strdup(key);
        s->span = 1;
        s->first = s->last = NAN;
    }
    if (!s || !s->event || !s->key) {
        free_series(s);
        dt_fail(error, "no memory for the log's values");
        return NULL;
    }
    log->series[log->series_count++] = s;
    return s;
}

static bool add_line(dt_run_log *log, json_t *object, dt_error *error)
{
    const json_t *step = json_object_get(object, "step");
    const char *event = json_string_value(json_object_get(object, "event"));
    double at = json_is_number(step) ? json_number_value(step) : log->last_step + !event;
    if (at < log->last_step || at > step_most) {
        log->refused++;
        return true;
    }
    log->last_step = at;
    log->steps += !event;
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        if (!strcmp(key, "step") || !(json_is_number(value) || json_is_null(value)))
            continue;
        if (log->series_count == DT_SERIES_MOST && !dt_run_log_find(log, event ? event : "", key)) {
            log->left_out++;
            continue;
        }
        dt_series *s = find_or_make(log, event ? event : "", key, error);
        if (!s)
            return false;
        add(s, at, json_is_null(value) ? NAN : json_number_value(value));
    }
    return true;
}

static bool is_blank(const uint8_t *line, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!strchr(" \t\r", line[i]) || !line[i])
            return false;
    return true;
}

bool dt_run_log_read(dt_run_log *log, const char *path, dt_error *error)
{
    *log = (dt_run_log){.series = calloc(DT_SERIES_MOST, sizeof *log->series)};
    if (!log->series)
        return dt_fail(error, "no memory for the log's values");
    dt_map map;
    if (!dt_map_open(&map, path, error))
        return false;
    bool good = true;
    uint64_t lines = 0, objects = 0;
    const uint8_t *line = map.data, *end = map.data + map.size;
    for (const uint8_t *next; good && line < end; line = next + 1) {
        next = memchr(line, '\n', (size_t)(end - line));
        bool torn = !next; /* unless it is whole: the run was killed while it wrote, or is writing now */
        next = next ? next : end;
        json_t *object = json_loadb((const char *)line, (size_t)(next - line), 0, NULL);
        bool blank = is_blank(line, (size_t)(next - line));
        lines += !blank && !(torn && *line == '{');
        objects += json_is_object(object);
        if (json_is_object(object))
            good = add_line(log, object, error);
        else if (!torn && !blank)
            log->refused++;
        json_decref(object);
    }
    dt_map_close(&map);
    if (good && lines && !objects)
        return dt_fail(error,
                       "%s: none of its lines is a JSON object; expected the log of a run, such as {\"step\": 1, "
                       "\"loss\": 2.3}",
                       path);
    return good;
}

void dt_run_log_free(dt_run_log *log)
{
    for (size_t i = 0; i < log->series_count; i++)
        free_series(log->series[i]);
    free(log->series);
    *log = (dt_run_log){0};
}
