#include "eval/match.h"

#include "eval/positions.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where one parameter's values are. */
typedef struct source {
    const dt_st_tensor *part[DT_NAME_PARTS];
    int parts, old_grid; /* old_grid: of positions that are to be interpolated; 0: they are not */
    bool transposed;
} source;

/* ---- What differs ---- */

enum { PATTERNS = 40, FEW = 6, LINE = 320 };

typedef enum { OTHER_SHAPE, MISSING, SUPERFLUOUS, NO_PLACE, KINDS } kind;

static const char *const kind_text[] = {"of another shape", "missing", "not part of this model",
                                        "without a place in such a file"};

/* Of each kind, names with their numbers as "*", and how often each came; those beyond PATTERNS are only counted. */
typedef struct differences {
    struct {
        char line[PATTERNS][LINE];
        int times[PATTERNS], patterns, count, unlisted;
    } of[KINDS];
} differences;

static void differ(differences *d, kind k, const char *name, const char *what)
{
    char line[LINE] = "";
    for (size_t n = 0; *name && n < 200; name++) {
        size_t digits = n && line[n - 1] == '.' ? strspn(name, "0123456789") : 0;
        bool number = digits && name[digits] == '.';
        line[n++] = number ? '*' : *name;
        line[n] = '\0';
        if (number)
            name += digits - 1;
    }
    size_t used = strlen(line);
    snprintf(line + used, sizeof line - used, " %s", what);
    int *patterns = &d->of[k].patterns;
    d->of[k].count++;
    for (int i = 0; i < *patterns; i++)
        if (!strcmp(d->of[k].line[i], line)) {
            d->of[k].times[i]++;
            return;
        }
    if (*patterns == PATTERNS) {
        d->of[k].unlisted++;
        return;
    }
    memcpy(d->of[k].line[*patterns], line, sizeof line);
    d->of[k].times[(*patterns)++] = 1;
}

/* Appends as far as there is room; false: there was none, and nothing is appended. */
static bool add(char *list, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

static bool add(char *list, size_t size, const char *format, ...)
{
    size_t used = strlen(list);
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(list + used, size - used, format, arguments);
    va_end(arguments);
    if (length >= 0 && (size_t)length < size - used)
        return true;
    list[used] = '\0';
    return false;
}

/* Up to `most` patterns of a kind, and how many tensors are in the others. Returns whether all could be listed. */
static bool list_kind(const differences *d, kind k, int most, char *list, size_t size)
{
    enum { REST = 60 }; /* room for the number of those that are not listed */
    int rest = d->of[k].unlisted;
    for (int i = 0; i < d->of[k].patterns; i++) {
        char times[32] = "";
        if (d->of[k].times[i] > 1)
            snprintf(times, sizeof times, " (%d times)", d->of[k].times[i]);
        if (i >= most || !add(list, size - REST, "; %s%s", d->of[k].line[i], times))
            rest += d->of[k].times[i];
    }
    if (rest)
        add(list, size, "; and %d more %s", rest, kind_text[k]);
    return !rest;
}

/* One line: all there is where it is not much, else the first of each kind. */
static bool report(const differences *d, const char *path, dt_error *error)
{
    enum { ROOM = sizeof ((dt_error *)0)->message - 400 };
    char list[ROOM], counts[200] = "";
    int total = 0, patterns = 0;
    for (kind k = 0; k < KINDS; k++) {
        total += d->of[k].count;
        patterns += d->of[k].patterns + (d->of[k].unlisted > 0);
        if (d->of[k].count)
            add(counts, sizeof counts, "%s%d %s", *counts ? ", " : "", d->of[k].count, kind_text[k]);
    }
    if (!total)
        return true;
    bool whole = patterns <= PATTERNS;
    *list = '\0';
    for (kind k = 0; k < KINDS && whole; k++)
        whole = list_kind(d, k, PATTERNS, list, ROOM);
    if (!whole)
        *list = '\0';
    for (kind k = 0; k < KINDS && !whole; k++) /* a quarter of the room for each */
        list_kind(d, k, FEW, list, strlen(list) + (ROOM - strlen(list)) / (size_t)(KINDS - k));
    return dt_fail(error, "%.150s does not hold this model, %d tensor%s (%s): %s", path, total,
                   total > 1 ? "s differ" : " differs", counts, list + 2);
}

/* ---- Finding ---- */

/* A shape without axes of length 1 in front. */
static dt_shape bare(int rank, const int64_t *dim)
{
    dt_shape shape = {0};
    int skip = 0;
    while (skip < rank && dim[skip] == 1)
        skip++;
    for (int i = skip; i < rank && shape.rank < DT_MAX_RANK; i++)
        shape.dim[shape.rank++] = dim[i];
    return shape;
}

static dt_shape whole(const dt_st_tensor *tensor)
{
    dt_shape shape = {.rank = tensor->rank < DT_MAX_RANK ? tensor->rank : DT_MAX_RANK};
    memcpy(shape.dim, tensor->shape, sizeof *shape.dim * (size_t)shape.rank);
    return shape;
}

/* Whether these positions are for another grid, and can be brought to ours. */
static bool other_grid(const char *name, const dt_shape *found, const dt_shape *wanted, source *s)
{
    static const char start[] = "visual.", end[] = "positional_embedding";
    size_t length = strlen(name);
    int before, before_now;
    if (strncmp(name, start, strlen(start)) || length < strlen(end) || strcmp(name + length - strlen(end), end) ||
        found->rank != 2 || wanted->rank != 2 || found->dim[1] != wanted->dim[1])
        return false;
    s->old_grid = dt_position_grid(found->dim[0], &before);
    return s->old_grid && dt_position_grid(wanted->dim[0], &before_now) && before == before_now;
}

/* The parts' shape together: one below another. False where they do not fit together. */
static bool join(const source *s, dt_shape *found)
{
    *found = bare(s->part[0]->rank, s->part[0]->shape);
    for (int p = 1; p < s->parts; p++) {
        dt_shape more = bare(s->part[p]->rank, s->part[p]->shape);
        bool same = found->rank >= 1 && more.rank == found->rank;
        for (int i = 1; same && i < more.rank; i++)
            same = more.dim[i] == found->dim[i];
        if (!same || __builtin_add_overflow(found->dim[0], more.dim[0], &found->dim[0]))
            return false;
    }
    return true;
}

static void check_shape(const dt_param_info *info, const dt_foreign_name *f, bool resize, source *s, differences *d)
{
    dt_shape wanted = info->shape, found;
    char what[LINE];
    if (f->transposed)
        wanted = dt_dims(info->shape.dim[1], info->shape.dim[0]);
    dt_shape want = bare(wanted.rank, wanted.dim);
    bool good = join(s, &found);
    if (good && (dt_same_shape(&want, &found) || (resize && other_grid(info->name, &found, &wanted, s))))
        return;
    for (int p = 0; p < s->parts; p++) {
        dt_shape part = whole(s->part[p]);
        snprintf(what, sizeof what, "is %.50s, expected %.50s%s", dt_shape_text(&part).chars, dt_shape_text(&wanted).chars,
                 s->parts > 1 ? " with its others" : "");
        differ(d, OTHER_SHAPE, f->name[p], what);
    }
}

/* The tensors of every parameter; `used` marks those that belong to one. */
static bool find_sources(const dt_model *model, const dt_weights *w, dt_naming naming, bool resize, source *sources,
                         bool *used, dt_error *error)
{
    differences *d = calloc(1, sizeof *d);
    if (!d)
        return dt_fail(error, "out of memory");
    for (int i = 0; i < dt_params_count(model->params); i++) {
        const dt_param_info *info = dt_params_info(model->params, i);
        dt_foreign_name f;
        int missing = 0;
        if (!dt_foreign_name_of(naming, info->name, &f)) {
            differ(d, NO_PLACE, info->name, "has no place in such a file");
            continue;
        }
        sources[i] = (source){.parts = f.parts, .transposed = f.transposed};
        for (int p = 0; p < f.parts; p++) {
            int at = dt_weights_find(w, f.name[p]);
            if (at < 0 && ++missing)
                differ(d, MISSING, f.name[p], "is missing");
            else {
                used[at] = true;
                sources[i].part[p] = dt_weights_at(w, (size_t)at);
            }
        }
        if (!missing)
            check_shape(info, &f, resize, &sources[i], d);
    }
    for (size_t i = 0; i < dt_weights_count(w); i++) {
        const dt_st_tensor *tensor = dt_weights_at(w, i);
        if (!used[i] && !dt_foreign_passed_over(tensor->name)) {
            dt_shape shape = whole(tensor);
            char what[LINE];
            snprintf(what, sizeof what, "%.50s is not part of this model", dt_shape_text(&shape).chars);
            differ(d, SUPERFLUOUS, tensor->name, what);
        }
    }
    bool good = report(d, dt_weights_path(w), error);
    free(d);
    return good;
}

/* ---- Reading ---- */

/* Whether the values can stay where they are. */
static bool lendable(const source *s)
{
    const dt_st_tensor *t = s->part[0];
    return s->parts == 1 && !s->transposed && !s->old_grid && t->type == DT_ST_F32 && (uintptr_t)t->data % sizeof(float) == 0;
}

/* Through a copy: transposed, or interpolated. */
static bool read_changed(const source *s, const dt_param_info *info, float *to, dt_error *error)
{
    const dt_st_tensor *t = s->part[0];
    float *copy = malloc(sizeof *copy * (t->count + 1));
    bool good = copy || dt_fail(error, "out of memory");
    good = good && dt_st_to_float(t, copy, error);
    int64_t rows = info->shape.rank > 0 ? info->shape.dim[0] : 1, columns = rows ? (int64_t)info->count / rows : 0;
    int before, now = s->old_grid ? dt_position_grid(rows, &before) : 0;
    if (good && now)
        good = dt_resize_positions(copy, s->old_grid, to, now, before, columns) || dt_fail(error, "out of memory");
    for (int64_t r = 0; good && !now && r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            to[r * columns + c] = copy[c * rows + r];
    free(copy);
    return good;
}

static bool read_value(const dt_weights *w, const source *s, const dt_param_info *info, float *to, dt_error *error)
{
    bool good = true;
    if (s->transposed || s->old_grid)
        good = read_changed(s, info, to, error);
    for (int p = 0; good && p < s->parts && !s->transposed && !s->old_grid; p++) {
        good = dt_st_to_float(s->part[p], to, error);
        to += s->part[p]->count;
    }
    for (int p = 0; p < s->parts; p++)
        dt_weights_release(w, s->part[p]);
    return good || dt_fail_prefix(error, "%s", dt_weights_path(w));
}

/* What can stay in the map is lent; false: no memory. */
static bool place(dt_params *params, const source *sources, const float **lent)
{
    for (int i = 0; i < dt_params_count(params); i++)
        lent[i] = lendable(&sources[i]) ? sources[i].part[0]->data : NULL;
    return dt_params_place(params, lent);
}

/* The temperature and the bias of logits: one number that is none spoils every score, and shows in no embedding. */
static bool check_scalars(dt_params *params, const dt_weights *w, dt_error *error)
{
    static const char *const names[] = {"logit_scale", "logit_bias"};
    for (int k = 0; k < 2; k++) {
        int i = dt_params_find(params, names[k]);
        float value = i < 0 ? 0 : *dt_params_look(params, i);
        if (!isfinite(value) || (k == 0 && !isfinite(expf(value))))
            return dt_fail(error, "%s: %s is %g; expected %s", dt_weights_path(w), names[k], (double)value,
                           k ? "a finite number" : "the logarithm of a finite factor");
    }
    return true;
}

bool dt_model_match(dt_model *model, const dt_weights *w, dt_naming naming, bool resize, dt_error *error)
{
    size_t count = (size_t)dt_params_count(model->params);
    source *sources = calloc(count + 1, sizeof *sources);
    bool *used = calloc(dt_weights_count(w) + 1, sizeof *used), fresh = !dt_params_allocated(model->params);
    const float **lent = calloc(count + 1, sizeof *lent);
    bool good = (sources && used && lent) || dt_fail(error, "out of memory");
    good = good && find_sources(model, w, naming, resize, sources, used, error);
    if (good && fresh)
        good = place(model->params, sources, lent) || dt_fail(error, "no memory for the model's parameters");
    for (size_t i = 0; good && i < count; i++)
        if (!lent[i])
            good = read_value(w, &sources[i], dt_params_info(model->params, (int)i), dt_params_value(model->params, (int)i),
                              error);
    good = good && check_scalars(model->params, w, error);
    free(sources);
    free(used);
    free(lent);
    return good;
}
