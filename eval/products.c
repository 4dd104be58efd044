#include "eval/products.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "eval/panels.h"

enum { DEPTH = 512 }; /* of the products at a time: a panel of b stays in the cache */

/* One product's working memory. */
typedef struct work {
    dt_panels panels;
    size_t height; /* m, padded */
    double *left;  /* [height, DEPTH]: a part of a, packed */
    double *rooms; /* a thread: a panel of b [DEPTH, width], then one of c [height, width] */
    size_t room;
} work;

static double *room_of(const work *w)
{
    return w->rooms + (size_t)omp_get_thread_num() * w->room;
}

static void pack_left(const work *w, dt_matrix a, size_t m, size_t first, size_t depth)
{
#pragma omp parallel for if (m * depth > 1 << 18)
    for (size_t i = 0; i < m; i++)
        for (size_t k = 0; k < depth; k++)
            w->left[i * DEPTH + k] = a.at[i * a.row + (first + k) * a.column];
}

/* Columns from .. from + width - 1 of b, of which `columns` are there. */
static void pack_panel(double *panel, size_t width, dt_matrix b, size_t from, size_t columns, size_t first, size_t depth)
{
    for (size_t k = 0; k < depth; k++) {
        const double *row = b.at + (first + k) * b.row + from * b.column;
        for (size_t j = 0; j < width; j++)
            panel[k * width + j] = j < columns ? row[j * b.column] : 0;
    }
}

/* One panel's columns of c. */
static void add_panel(const work *w, dt_matrix b, size_t panel, size_t m, size_t n, size_t first, size_t depth, bool lower,
                      double *c)
{
    size_t width = w->panels.width, from = panel * width, columns = n - from < width ? n - from : width;
    size_t top = lower ? from / DT_PANEL_ROWS * DT_PANEL_ROWS : 0;
    double *right = room_of(w), *sums = right + DEPTH * width;
    pack_panel(right, width, b, from, columns, first, depth);
    dt_panel_product(width, top, w->height, depth, (dt_panel_left){w->left, DEPTH, 1}, right, false, sums);
    for (size_t i = top; i < m; i++)
        for (size_t j = 0; j < columns; j++)
            c[i * n + from + j] += sums[i * width + j];
}

bool dt_multiply(dt_matrix a, dt_matrix b, size_t m, size_t n, size_t depth, bool lower, double *c, dt_error *error)
{
    work w = {.panels = dt_panels_for(n), .height = dt_panels_pad(m)};
    w.room = (DEPTH + w.height) * w.panels.width;
    w.left = calloc(w.height * DEPTH, sizeof *w.left); /* the padding stays zero */
    w.rooms = calloc((size_t)omp_get_max_threads() * w.room, sizeof *w.rooms);
    bool good = (w.left && w.rooms) || dt_fail(error, "no memory for a product of %zu x %zu x %zu", m, n, depth);
    for (size_t first = 0; good && first < depth; first += DEPTH) {
        size_t part = depth - first < DEPTH ? depth - first : DEPTH;
        pack_left(&w, a, m, first, part);
#pragma omp parallel for schedule(dynamic) if (m * n * part > 1 << 22)
        for (size_t p = 0; p < w.panels.panels; p++)
            add_panel(&w, b, p, m, n, first, part, lower, c);
    }
    free(w.left);
    free(w.rooms);
    return good;
}

bool dt_inner_products(const double *a, size_t m, const double *b, size_t n, size_t dim, double *c, dt_error *error)
{
    memset(c, 0, m * n * sizeof *c);
    return dt_multiply((dt_matrix){a, dim, 1}, (dt_matrix){b, 1, dim}, m, n, dim, false, c, error);
}
