/* The parts of evaluation.json that are drawn: confusions, reliability, tables, curves, maps. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "eval/findings_read.h"

/* The message for a value at `place` that is of the wrong kind. */
static bool wrong(dt_findings_reader *reader, const char *place, const char *expected, const json_t *found)
{
    return dt_fail(reader->error, "%s: %s: expected %s, found %s", reader->file, place, expected,
                   dt_json_kind_name(found));
}

static const char *inside(char room[DT_PLACE], const char *place, const char *key)
{
    snprintf(room, DT_PLACE, "%.130s.%s", place, key);
    return room;
}

static bool read_texts(dt_findings_reader *reader, const json_t *list, const char *place, size_t most,
                       const char ***texts, size_t *count)
{
    *texts = dt_findings_list(reader, list, place, most, sizeof **texts, dt_read_text, count);
    return *texts != NULL;
}

/* ---- confusions ---- */

static bool read_index(dt_findings_reader *reader, void *item, const json_t *json, const char *place)
{
    json_int_t value = json_integer_value(json);
    if (!json_is_integer(json) || value < 0)
        return dt_fail(reader->error, "%s: %s: expected an index from 0, found %s", reader->file, place,
                       value < 0 ? "a negative one" : dt_json_kind_name(json));
    *(size_t *)item = (size_t)value;
    return true;
}

static bool read_mistake(dt_findings_reader *reader, void *item, const json_t *json, const char *place)
{
    dt_mistake *m = item;
    const json_t *examples = NULL;
    char inner[DT_PLACE];
    const dt_json_field fields[] = {
        {"true", DT_JSON_SIZE, &m->truth, .required = true},
        {"predicted", DT_JSON_SIZE, &m->predicted, .required = true},
        {"count", DT_JSON_INT64, &m->count, .required = true, .least = 0, .most = 0x1p53},
        {"of", DT_JSON_INT64, &m->of, .required = true, .least = 0, .most = 0x1p53},
        {"examples", DT_JSON_ARRAY, &examples, .required = false},
    };
    if (!dt_findings_fields(reader, json, place, fields, sizeof fields / sizeof fields[0]))
        return false;
    if (m->count > m->of)
        return dt_fail(reader->error, "%s: %s: expected a count of at most %lld, found %lld", reader->file,
                       place, (long long)m->of, (long long)m->count);
    size_t *list = dt_findings_list(reader, examples, inside(inner, place, "examples"), DT_EXAMPLES_MOST,
                                    sizeof *list, read_index, &m->example_count);
    if (list)
        memcpy(m->examples, list, m->example_count * sizeof *list);
    return list;
}

static bool read_row(dt_findings_reader *reader, int64_t *counts, size_t width, const json_t *row,
                     const char *place)
{
    if (!json_is_array(row))
        return wrong(reader, place, "a list of counts", row);
    if (json_array_size(row) != width)
        return dt_fail(reader->error, "%s: %s: expected a count for each of the %zu classes, found %zu",
                       reader->file, place, width, json_array_size(row));
    for (size_t i = 0; i < width; i++) {
        const json_t *cell = json_array_get(row, i);
        json_int_t value = json_integer_value(cell);
        if (!json_is_integer(cell) || value < 0 || value > (json_int_t)1 << 45)
            return dt_fail(reader->error, "%s: %s[%zu]: expected a count, found %s", reader->file, place, i,
                           json_is_integer(cell) ? "one out of range" : dt_json_kind_name(cell));
        counts[i] = value;
    }
    return true;
}

static bool read_counts(dt_findings_reader *reader, dt_confusion *c, const json_t *rows, const char *place)
{
    if (c->class_count > DT_CONFUSION_CLASSES)
        return dt_fail(reader->error,
                       "%s: %s: expected no counts for more than %d classes, found %zu classes", reader->file,
                       place, DT_CONFUSION_CLASSES, c->class_count);
    if (json_array_size(rows) != c->class_count)
        return dt_fail(reader->error, "%s: %s: expected a row for each of the %zu classes, found %zu",
                       reader->file, place, c->class_count, json_array_size(rows));
    c->counts = dt_findings_take(reader, c->class_count * c->class_count, sizeof *c->counts);
    for (size_t i = 0; c->counts && i < c->class_count; i++) {
        char inner[DT_PLACE];
        snprintf(inner, sizeof inner, "%.130s[%zu]", place, i);
        if (!read_row(reader, c->counts + i * c->class_count, c->class_count, json_array_get(rows, i), inner))
            return false;
    }
    return c->counts;
}

bool dt_read_confusion(dt_findings_reader *reader, void *item, const json_t *json, const char *place)
{
    dt_confusion *c = item;
    *c = (dt_confusion){.store = "", .n = -1};
    const json_t *classes = NULL, *counts = NULL, *worst = NULL;
    char inner[DT_PLACE];
    const dt_json_field fields[] = {
        {"name", DT_JSON_STRING, &c->name, .required = true},
        {"store", DT_JSON_STRING, &c->store, .required = false},
        {"n", DT_JSON_INT64, &c->n, .least = 0, .most = 0x1p53},
        {"classes", DT_JSON_ARRAY, &classes, .required = true},
        {"counts", DT_JSON_ARRAY, &counts, .required = false},
        {"worst", DT_JSON_ARRAY, &worst, .required = false},
    };
    if (!dt_findings_fields(reader, json, place, fields, sizeof fields / sizeof fields[0]) ||
        !read_texts(reader, classes, inside(inner, place, "classes"), DT_FINDINGS_MOST, &c->classes,
                    &c->class_count))
        return false;
    if (!c->class_count)
        return dt_fail(reader->error, "%s: %s: expected at least one class", reader->file, inner);
    if (counts && !read_counts(reader, c, counts, inside(inner, place, "counts")))
        return false;
    c->worst = dt_findings_list(reader, worst, inside(inner, place, "worst"), DT_MISTAKES_MOST,
                                sizeof *c->worst, read_mistake, &c->worst_count);
    for (size_t i = 0; c->worst && i < c->worst_count; i++)
        if (c->worst[i].truth >= c->class_count || c->worst[i].predicted >= c->class_count)
            return dt_fail(reader->error, "%s: %s[%zu]: expected labels below %zu, found %zu and %zu",
                           reader->file, inner, i, c->class_count, c->worst[i].truth, c->worst[i].predicted);
    return c->worst;
}

/* ---- reliability ---- */

static bool read_bin(dt_findings_reader *reader, void *item, const json_t *json, const char *place)
{
    dt_bin *b = item;
    const dt_json_field fields[] = {
        {"low", DT_JSON_DOUBLE, &b->low, .required = true, .least = 0, .most = 1},
        {"high", DT_JSON_DOUBLE, &b->high, .required = true, .least = 0, .most = 1},
        {"count", DT_JSON_INT64, &b->count, .required = true, .least = 0, .most = 0x1p53},
        {"confidence", DT_JSON_DOUBLE, &b->confidence, .least = 0, .most = 1},
        {"accuracy", DT_JSON_DOUBLE, &b->accuracy, .least = 0, .most = 1},
    };
    return dt_findings_fields(reader, json, place, fields, sizeof fields / sizeof fields[0]);
}

bool dt_read_reliability(dt_findings_reader *reader, void *item, const json_t *json, const char *place)
{
    dt_reliability *r = item;
    *r = (dt_reliability){.n = -1, .ece = NAN};
    const json_t *bins = NULL;
    char inner[DT_PLACE];
    const dt_json_field fields[] = {
        {"name", DT_JSON_STRING, &r->name, .required = true},
        {"n", DT_JSON_INT64, &r->n, .least = 0, .most = 0x1p53},
        {"ece", DT_JSON_DOUBLE, &r->ece, .least = 0, .most = 1},
        {"bins", DT_JSON_ARRAY, &bins, .required = true},
    };
    if (!dt_findings_fields(reader, json, place, fields, sizeof fields / sizeof fields[0]))
        return false;
    r->bins = dt_findings_list(reader, bins, inside(inner, place, "bins"), DT_BINS_MOST, sizeof *r->bins,
                               read_bin, &r->bin_count);
    double end = 0;
    for (size_t i = 0; r->bins && i < r->bin_count; i++) {
        const dt_bin *b = &r->bins[i];
        if (b->low >= b->high || b->low < end - 1e-6)
            return dt_fail(reader->error, "%s: %s[%zu]: expected bins that rise, found %g to %g after %g",
                           reader->file, inner, i, b->low, b->high, end);
        end = b->high;
    }
    return r->bins;
}

/* ---- tables ---- */

static bool check_cells(dt_findings_reader *reader, const dt_table *t, size_t row, const char *place)
{
    const json_t *cells = json_array_get(t->rows, row);
    char inner[DT_PLACE];
    snprintf(inner, sizeof inner, "%.130s.rows[%zu]", place, row);
    if (!json_is_array(cells))
        return wrong(reader, inner, "a list of cells", cells);
    if (json_array_size(cells) != t->column_count)
        return dt_fail(reader->error, "%s: %s: expected a cell for each of the %zu columns, found %zu",
                       reader->file, inner, t->column_count, json_array_size(cells));
    for (size_t i = 0; i < t->column_count; i++) {
        const json_t *cell = json_array_get(cells, i);
        if (!json_is_string(cell) && !json_is_number(cell) && !json_is_null(cell))
            return wrong(reader, inner, "texts and numbers", cell);
    }
    return true;
}

bool dt_read_table(dt_findings_reader *reader, void *item, const json_t *json, const char *place)
{
    dt_table *t = item;
    *t = (dt_table){.n = -1};
    const json_t *columns = NULL;
    char inner[DT_PLACE];
    const dt_json_field fields[] = {
        {"name", DT_JSON_STRING, &t->name, .required = true},
        {"n", DT_JSON_INT64, &t->n, .least = 0, .most = 0x1p53},
        {"columns", DT_JSON_ARRAY, &columns, .required = true},
        {"rows", DT_JSON_ARRAY, &t->rows, .required = true},
    };
    if (!dt_findings_fields(reader, json, place, fields, sizeof fields / sizeof fields[0]) ||
        !read_texts(reader, columns, inside(inner, place, "columns"), DT_COLUMNS_MOST, &t->columns,
                    &t->column_count))
        return false;
    if (!t->column_count)
        return dt_fail(reader->error, "%s: %s: expected at least one column", reader->file, inner);
    if (json_array_size(t->rows) > DT_FINDINGS_MOST)
        return dt_fail(reader->error, "%s: %s.rows: expected at most %d, found %zu", reader->file, place,
                       DT_FINDINGS_MOST, json_array_size(t->rows));
    for (size_t i = 0; i < json_array_size(t->rows); i++)
        if (!check_cells(reader, t, i, place))
            return false;
    return true;
}

/* ---- curves ---- */

static bool read_dot(dt_findings_reader *reader, void *item, const json_t *json, const char *place)
{
    dt_dot *d = item;
    double *const targets[] = {&d->x, &d->y, &d->low, &d->high};
    size_t count = json_array_size(json);
    *d = (dt_dot){.low = NAN, .high = NAN};
    if (!json_is_array(json))
        return wrong(reader, place, "[x, y] or [x, y, low, high]", json);
    if (count != 2 && count != 4)
        return dt_fail(reader->error, "%s: %s: expected [x, y] or [x, y, low, high], found %zu numbers",
                       reader->file, place, count);
    for (size_t i = 0; i < count; i++) {
        const json_t *number = json_array_get(json, i);
        if (!json_is_number(number) || !(fabs(json_number_value(number)) < 1e100))
            return wrong(reader, place, "numbers below 1e100", number);
        *targets[i] = json_number_value(number);
    }
    return dt_read_interval_check(reader, d->low, d->high, place);
}

static bool read_line(dt_findings_reader *reader, void *item, const json_t *json, const char *place)
{
    dt_line *l = item;
    *l = (dt_line){.n = -1};
    const json_t *points = NULL;
    char inner[DT_PLACE];
    const dt_json_field fields[] = {
        {"name", DT_JSON_STRING, &l->name, .required = true},
        {"n", DT_JSON_INT64, &l->n, .least = 0, .most = 0x1p53},
        {"points", DT_JSON_ARRAY, &points, .required = true},
    };
    if (!dt_findings_fields(reader, json, place, fields, sizeof fields / sizeof fields[0]))
        return false;
    l->dots = dt_findings_list(reader, points, inside(inner, place, "points"), DT_LINE_POINTS_MOST,
                               sizeof *l->dots, read_dot, &l->dot_count);
    for (size_t i = 1; l->dots && i < l->dot_count; i++)
        if (l->dots[i].x < l->dots[i - 1].x)
            return dt_fail(reader->error, "%s: %s[%zu]: expected x to rise, found %g after %g", reader->file,
                           inner, i, l->dots[i].x, l->dots[i - 1].x);
    return l->dots;
}

bool dt_read_curve(dt_findings_reader *reader, void *item, const json_t *json, const char *place)
{
    dt_curve *c = item;
    const json_t *series = NULL;
    c->bars = "";
    char inner[DT_PLACE];
    const dt_json_field fields[] = {
        {"name", DT_JSON_STRING, &c->name, .required = true},
        {"x", DT_JSON_STRING, &c->x, .required = true},
        {"y", DT_JSON_STRING, &c->y, .required = true},
        {"bars", DT_JSON_STRING, &c->bars, .required = false},
        {"wide", DT_JSON_BOOL, &c->wide, .required = false},
        {"series", DT_JSON_ARRAY, &series, .required = true},
    };
    if (!dt_findings_fields(reader, json, place, fields, sizeof fields / sizeof fields[0]))
        return false;
    c->lines = dt_findings_list(reader, series, inside(inner, place, "series"), DT_LINES_MOST,
                                sizeof *c->lines, read_line, &c->line_count);
    for (size_t i = 0; c->lines && c->wide && i < c->line_count; i++)
        if (c->lines[i].dot_count && !(c->lines[i].dots[0].x > 0))
            return dt_fail(reader->error, "%s: %s[%zu]: expected x above 0 on a wide axis, found %g",
                           reader->file, inner, i, c->lines[i].dots[0].x);
    return c->lines;
}

/* ---- maps ---- */

static bool read_point(dt_findings_reader *reader, void *item, const json_t *json, const char *place)
{
    dt_map_point *p = item;
    const char *kind = "";
    *p = (dt_map_point){.label = -1, .index = SIZE_MAX, .text = ""};
    const dt_json_field fields[] = {
        {"x", DT_JSON_DOUBLE, &p->x, .required = true, .least = -1e100, .most = 1e100},
        {"y", DT_JSON_DOUBLE, &p->y, .required = true, .least = -1e100, .most = 1e100},
        {"kind", DT_JSON_STRING, &kind, .required = true, .choices = "image|text"},
        {"label", DT_JSON_INT64, &p->label, .least = -1, .most = 0x1p31},
        {"index", DT_JSON_SIZE, &p->index, .required = false},
        {"text", DT_JSON_STRING, &p->text, .required = false},
    };
    bool good = dt_findings_fields(reader, json, place, fields, sizeof fields / sizeof fields[0]);
    p->is_text = !strcmp(kind, "text");
    return good;
}

static bool read_explained(dt_findings_reader *reader, dt_embedding_map *m, const json_t *list,
                           const char *place)
{
    m->explained[0] = m->explained[1] = NAN;
    if (!list)
        return true;
    for (size_t i = 0; i < 2; i++) {
        const json_t *share = json_array_get(list, i);
        m->explained[i] = json_is_number(share) ? json_number_value(share) : NAN;
    }
    bool good = json_array_size(list) == 2 && m->explained[0] >= 0 && m->explained[0] <= 1 &&
                m->explained[1] >= 0 && m->explained[1] <= 1;
    return good || dt_fail(reader->error, "%s: %s: expected two shares from 0 to 1", reader->file, place);
}

bool dt_read_map(dt_findings_reader *reader, void *item, const json_t *json, const char *place)
{
    dt_embedding_map *m = item;
    *m = (dt_embedding_map){.store = "", .n = -1, .gap = NAN, .cosine = NAN};
    const json_t *explained = NULL, *classes = NULL, *points = NULL;
    char inner[DT_PLACE];
    const dt_json_field fields[] = {
        {"name", DT_JSON_STRING, &m->name, .required = true},
        {"store", DT_JSON_STRING, &m->store, .required = false},
        {"n", DT_JSON_INT64, &m->n, .least = 0, .most = 0x1p53},
        {"gap", DT_JSON_DOUBLE, &m->gap, .required = false},
        {"cosine", DT_JSON_DOUBLE, &m->cosine, .required = false},
        {"explained", DT_JSON_ARRAY, &explained, .required = false},
        {"classes", DT_JSON_ARRAY, &classes, .required = false},
        {"points", DT_JSON_ARRAY, &points, .required = true},
    };
    if (!dt_findings_fields(reader, json, place, fields, sizeof fields / sizeof fields[0]) ||
        !read_explained(reader, m, explained, inside(inner, place, "explained")) ||
        !read_texts(reader, classes, inside(inner, place, "classes"), DT_FINDINGS_MOST, &m->classes,
                    &m->class_count))
        return false;
    m->points = dt_findings_list(reader, points, inside(inner, place, "points"), DT_MAP_POINTS_MOST,
                                 sizeof *m->points, read_point, &m->point_count);
    for (size_t i = 0; m->points && m->class_count && i < m->point_count; i++)
        if (m->points[i].label >= (int64_t)m->class_count)
            return dt_fail(reader->error, "%s: %s[%zu].label: expected below %zu, found %lld", reader->file,
                           inner, i, m->class_count, (long long)m->points[i].label);
    return m->points;
}
