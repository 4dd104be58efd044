#include "kernels/cpu/separable.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct separable {
    dt_taps rows, columns;
    int threads;
    int64_t slice; /* floats of workspace for each thread: one row of x */
} separable;

static void free_taps(dt_taps *taps)
{
    free(taps->start);
    free(taps->place);
    free(taps->weight);
}

dt_taps dt_taps_new(int64_t to, int64_t from, int64_t capacity)
{
    dt_taps taps = {.to = to, .from = from};
    const size_t n = capacity > 0 ? (size_t)capacity : 1;
    taps.start = calloc((size_t)to + 1, sizeof *taps.start);
    taps.place = calloc(n, sizeof *taps.place);
    taps.weight = calloc(n, sizeof *taps.weight);
    if (taps.start && taps.place && taps.weight)
        return taps;
    free_taps(&taps);
    return (dt_taps){0};
}

/* start[0] counts while the matrix grows; it is 0 again, and empty rows have their places, after close. */
void dt_taps_add(dt_taps *taps, int64_t i, int64_t place, float weight)
{
    int64_t k = taps->start[0]++;
    taps->place[k] = place;
    taps->weight[k] = weight;
    taps->start[i + 1] = k + 1;
}

static void close_rows(dt_taps *taps)
{
    taps->start[0] = 0;
    for (int64_t i = 0; i < taps->to; i++)
        if (taps->start[i + 1] < taps->start[i])
            taps->start[i + 1] = taps->start[i];
}

/* The transposed matrix, taps of a row in ascending order of place. */
static dt_taps transposed(const dt_taps *a)
{
    const int64_t count = a->start[a->to];
    dt_taps t = dt_taps_new(a->from, a->to, count);
    if (!t.start)
        return t;
    for (int64_t k = 0; k < count; k++)
        t.start[a->place[k] + 1]++;
    for (int64_t i = 0; i < t.to; i++)
        t.start[i + 1] += t.start[i];
    for (int64_t i = a->to - 1; i >= 0; i--)
        for (int64_t k = a->start[i + 1] - 1; k >= a->start[i]; k--) {
            int64_t at = --t.start[a->place[k] + 1];
            t.place[at] = i;
            t.weight[at] = a->weight[k];
        }
    /* Filled from the end, start[i + 1] has become the beginning of row i. */
    memmove(t.start, t.start + 1, sizeof *t.start * (size_t)t.to);
    t.start[t.to] = count;
    return t;
}

static bool transpose_both(separable *s)
{
    dt_taps rows = transposed(&s->rows), columns = transposed(&s->columns);
    free_taps(&s->rows);
    free_taps(&s->columns);
    s->rows = rows;
    s->columns = columns;
    return rows.start && columns.start;
}

bool dt_separable_prepare(dt_preparation *p, dt_taps rows, dt_taps columns, bool adjoint)
{
    separable *s = calloc(1, sizeof *s);
    bool good = s && rows.start && columns.start;
    if (s) {
        s->rows = rows;
        s->columns = columns;
    } else {
        free_taps(&rows);
        free_taps(&columns);
    }
    if (good) {
        close_rows(&s->rows);
        close_rows(&s->columns);
    }
    if (!good || (adjoint && !transpose_both(s))) {
        dt_separable_release(s);
        snprintf(p->message, sizeof p->message, "out of memory while planning");
        return false;
    }
    s->threads = omp_get_max_threads();
    s->slice = (dt_span(&p->node->input[0]->shape, 2, 4) + 15) / 16 * 16;
    p->workspace = sizeof(float) * (size_t)s->slice * (size_t)s->threads;
    p->state = s;
    return true;
}

void dt_separable_release(void *state)
{
    separable *s = state;
    if (!s)
        return;
    free_taps(&s->rows);
    free_taps(&s->columns);
    free(s);
}

/* y = (or, unless first, +=) weight x */
static inline void add_scaled(float *restrict y, const float *restrict x, float weight, int64_t n, bool first)
{
    if (first)
        for (int64_t c = 0; c < n; c++)
            y[c] = weight * x[c];
    else
        for (int64_t c = 0; c < n; c++)
            y[c] += weight * x[c];
}

/* Row i of the row matrix times the image: a row [w, c], in `sum` or, where it is a row of the image
 * itself, there. NULL: zeros. */
static const float *combine_rows(const dt_taps *rows, int64_t i, const float *image, float *sum, int64_t n)
{
    const int64_t first = rows->start[i], end = rows->start[i + 1];
    if (first == end)
        return NULL;
    if (end == first + 1 && rows->weight[first] == 1)
        return image + rows->place[first] * n;
    for (int64_t k = first; k < end; k++)
        add_scaled(sum, image + rows->place[k] * n, rows->weight[k], n, k == first);
    return sum;
}

void dt_separable_run(const dt_call *call)
{
    const separable *s = call->state;
    const dt_taps *rows = &s->rows, *columns = &s->columns;
    const dt_shape *x = &call->node->input[0]->shape;
    const int64_t channels = x->dim[3], in_row = x->dim[2] * channels, image = x->dim[1] * in_row;
    const float *from = call->in[0];
    float *to = call->out[0], *workspace = call->workspace;
#pragma omp parallel for schedule(static) num_threads(s->threads)
    for (int64_t line = 0; line < x->dim[0] * rows->to; line++) {
        float *y = to + line * columns->to * channels;
        const float *row = combine_rows(rows, line % rows->to, from + line / rows->to * image,
                                        workspace + omp_get_thread_num() * s->slice, in_row);
        for (int64_t j = 0; j < columns->to; j++) {
            const int64_t first = columns->start[j], end = row ? columns->start[j + 1] : first;
            if (first == end)
                memset(y + j * channels, 0, sizeof *y * (size_t)channels);
            for (int64_t k = first; k < end; k++)
                add_scaled(y + j * channels, row + columns->place[k] * channels, columns->weight[k], channels,
                           k == first);
        }
    }
}
