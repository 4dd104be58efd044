#include "eval/panels.h"

typedef double vec __attribute__((vector_size(8 * DT_PANEL_VEC)));
typedef double loose_vec __attribute__((vector_size(8 * DT_PANEL_VEC), aligned(8), may_alias));

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

dt_panels dt_panels_for(size_t columns)
{
    size_t vecs = (columns + DT_PANEL_VEC - 1) / DT_PANEL_VEC;
    if (vecs > DT_PANEL_VECS)
        vecs = DT_PANEL_VECS;
    size_t width = vecs * DT_PANEL_VEC;
    return (dt_panels){columns, width, (columns + width - 1) / width};
}

/* Rows x vecs sums that stay in registers; both are known when this is compiled into its caller. */
static inline __attribute__((always_inline)) void tile(int rows, int vecs, size_t depth, dt_panel_left left,
                                                       const double *b, bool add, double *c)
{
    vec sum[12][DT_PANEL_VECS];
    UNROLL
    for (int i = 0; i < rows; i++) {
        UNROLL
        for (int v = 0; v < vecs; v++)
            sum[i][v] = add ? (vec) * (const loose_vec *)(c + (i * vecs + v) * DT_PANEL_VEC) : (vec){0};
    }
    for (size_t k = 0; k < depth; k++) {
        vec right[DT_PANEL_VECS];
        UNROLL
        for (int v = 0; v < vecs; v++)
            right[v] = *(const loose_vec *)(b + (k * (size_t)vecs + (size_t)v) * DT_PANEL_VEC);
        UNROLL
        for (int i = 0; i < rows; i++) {
            double a = left.a[(size_t)i * left.row + k * left.column];
            UNROLL
            for (int v = 0; v < vecs; v++)
                sum[i][v] += a * right[v];
        }
    }
    UNROLL
    for (int i = 0; i < rows; i++) {
        UNROLL
        for (int v = 0; v < vecs; v++)
            *(loose_vec *)(c + (i * vecs + v) * DT_PANEL_VEC) = sum[i][v];
    }
}

/* As many rows as registers allow: 24 sums of 32 registers with AVX-512, 12 of 16 otherwise. */
#if defined(__AVX512F__)
enum { ROWS_1 = 12, ROWS_2 = 12, ROWS_3 = 8, ROWS_4 = 6 };
#else
enum { ROWS_1 = 8, ROWS_2 = 6 };
#endif

#define TILES(vecs, rows)                                                                                    \
    for (size_t i = from; i < to; i += rows)                                                                 \
    tile(rows, vecs, depth, (dt_panel_left){left.a + i * left.row, left.row, left.column}, b, add,           \
         c + i * vecs * DT_PANEL_VEC)

void dt_panel_product(size_t width, size_t from, size_t to, size_t depth, dt_panel_left left, const double *b,
                      bool add, double *c)
{
    switch (width / DT_PANEL_VEC) {
    case 1:
        TILES(1, ROWS_1);
        break;
    case 2:
        TILES(2, ROWS_2);
        break;
#if defined(__AVX512F__)
    case 3:
        TILES(3, ROWS_3);
        break;
    case 4:
        TILES(4, ROWS_4);
        break;
#endif
    }
}
