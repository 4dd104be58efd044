/* Products of float64 matrices that fit the cache, for sums that float32 would not settle.
 *
 * One side of each is kept in panels: groups of columns of the width that the registers hold, one group after
 * the other, so that element (i, j) of a matrix with `rows` rows stands at
 *
 *     ((j / width) rows + i) width + j % width
 *
 * Nothing has a remainder: rows are padded to a multiple of DT_PANEL_ROWS, columns to whole panels. */
#ifndef DUET_EVAL_PANELS_H
#define DUET_EVAL_PANELS_H

#include <stdbool.h>
#include <stddef.h>

/* Doubles of a vector, the most vectors in a panel's width. */
#if defined(__AVX512F__)
enum { DT_PANEL_VEC = 8, DT_PANEL_VECS = 4 };
#elif defined(__AVX__)
enum { DT_PANEL_VEC = 4, DT_PANEL_VECS = 2 };
#else
enum { DT_PANEL_VEC = 2, DT_PANEL_VECS = 2 };
#endif
enum { DT_PANEL_ROWS = 24 };

typedef struct dt_panels {
    size_t columns;       /* without padding */
    size_t width, panels; /* columns of a panel; panels */
} dt_panels;

/* The widest panels that hold so many columns without waste beyond a vector. */
dt_panels dt_panels_for(size_t columns);

static inline size_t dt_panels_pad(size_t rows) /* to a multiple of DT_PANEL_ROWS */
{
    return (rows + DT_PANEL_ROWS - 1) / DT_PANEL_ROWS * DT_PANEL_ROWS;
}

static inline size_t dt_panels_size(dt_panels p, size_t rows) /* doubles */
{
    return p.panels * p.width * rows;
}

static inline size_t dt_panels_at(dt_panels p, size_t rows, size_t i, size_t j)
{
    return ((j / p.width) * rows + i) * p.width + j % p.width;
}

/* One panel of a product: c [rows, width] = a [rows, depth] b [depth, width], added to what is in c with
 * `add`. Element (i, k) of a is a[i row + k column]; b and c are panels. Only the rows from .. to - 1 are
 * computed, both multiples of DT_PANEL_ROWS. All of it on the calling thread, each sum in the order of k. */
typedef struct dt_panel_left {
    const double *a;
    size_t row, column;
} dt_panel_left;
void dt_panel_product(size_t width, size_t from, size_t to, size_t depth, dt_panel_left left, const double *b,
                      bool add, double *c);

#endif
