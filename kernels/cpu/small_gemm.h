/* Matrix products that are too small for a library: what a call of one costs would be most of the time. On
 * one thread, with operands that are already near (first and second level cache). */
#ifndef DUET_KERNELS_CPU_SMALL_GEMM_H
#define DUET_KERNELS_CPU_SMALL_GEMM_H

#include <stdbool.h>
#include <stdint.h>

/* Floats in a vector, and how many rows of such vectors of c the registers hold: the tile is R x (4 V) or
 * narrower. */
#if defined(__AVX512F__)
enum { DT_VEC = 16, DT_TILE_VECS = 4 };
#elif defined(__AVX__)
enum { DT_VEC = 8, DT_TILE_VECS = 2 };
#else
enum { DT_VEC = 4, DT_TILE_VECS = 2 };
#endif
enum { DT_TILE_ROWS = 6, DT_TILE_DEPTH = 128 };

typedef float dt_vec __attribute__((vector_size(4 * DT_VEC)));
typedef float dt_loose_vec __attribute__((vector_size(4 * DT_VEC), aligned(4), may_alias));

/* A tile's sums stay in registers only if its loops are unrolled before anything else is done to them. */
#if defined(__clang__)
#define DT_UNROLL _Pragma("clang loop unroll(full)")
#else
#define DT_UNROLL _Pragma("GCC unroll 16")
#endif

/* a and b of one product: element (i, k) of op(a) is a[i row + k column], element (k, j) of b is
 * b[k ldb + j]. */
typedef struct dt_operands {
    const float *a;
    int64_t row, column;
    const float *b;
    int64_t ldb;
} dt_operands;

/* One tile of `rows` x (vecs V), both known when this is compiled into its caller. */
static inline __attribute__((always_inline)) void dt_tile(int rows, int vecs, int64_t k, dt_operands o,
                                                          bool add, float *c, int64_t ldc)
{
    dt_vec sum[2 * DT_TILE_ROWS][DT_TILE_VECS];
    DT_UNROLL
    for (int i = 0; i < rows; i++) {
        DT_UNROLL
        for (int v = 0; v < vecs; v++)
            sum[i][v] = (dt_vec){0};
    }
    for (int64_t p = 0; p < k; p++) {
        dt_vec b[DT_TILE_VECS];
        DT_UNROLL
        for (int v = 0; v < vecs; v++)
            b[v] = *(const dt_loose_vec *)(o.b + p * o.ldb + v * DT_VEC);
        DT_UNROLL
        for (int i = 0; i < rows; i++) {
            float a = o.a[i * o.row + p * o.column];
            DT_UNROLL
            for (int v = 0; v < vecs; v++)
                sum[i][v] += a * b[v];
        }
    }
    DT_UNROLL
    for (int i = 0; i < rows; i++) {
        DT_UNROLL
        for (int v = 0; v < vecs; v++) {
            dt_loose_vec *to = (dt_loose_vec *)(c + i * ldc + v * DT_VEC);
            if (add)
                *to += sum[i][v];
            else
                *to = sum[i][v];
        }
    }
}

/* A panel of `vecs` vectors: all m rows. A narrow one takes twice the rows, for as many sums in flight. */
static inline __attribute__((always_inline)) void dt_panel(int vecs, int64_t m, int64_t k, dt_operands o,
                                                           bool add, float *c, int64_t ldc)
{
    if (2 * vecs <= DT_TILE_VECS)
        for (; m >= 2 * DT_TILE_ROWS;
             m -= 2 * DT_TILE_ROWS, o.a += 2 * DT_TILE_ROWS * o.row, c += 2 * DT_TILE_ROWS * ldc)
            dt_tile(2 * DT_TILE_ROWS, vecs, k, o, add, c, ldc);
    for (; m >= DT_TILE_ROWS; m -= DT_TILE_ROWS, o.a += DT_TILE_ROWS * o.row, c += DT_TILE_ROWS * ldc)
        dt_tile(DT_TILE_ROWS, vecs, k, o, add, c, ldc);
    switch (m) {
    case 5:
        dt_tile(5, vecs, k, o, add, c, ldc);
        break;
    case 4:
        dt_tile(4, vecs, k, o, add, c, ldc);
        break;
    case 3:
        dt_tile(3, vecs, k, o, add, c, ldc);
        break;
    case 2:
        dt_tile(2, vecs, k, o, add, c, ldc);
        break;
    case 1:
        dt_tile(1, vecs, k, o, add, c, ldc);
        break;
    }
}

/* The last columns, fewer than a vector: in a copy of b that is filled up with zeros. */
static void dt_edge(int64_t m, int64_t n, int64_t k, dt_operands o, bool add, float *c, int64_t ldc)
{
    enum { ROWS = 2 * DT_TILE_ROWS };
    float b[DT_TILE_DEPTH * DT_VEC], sum[ROWS * DT_VEC];
    for (int64_t p = 0; p < k; p++)
        for (int64_t j = 0; j < DT_VEC; j++)
            b[p * DT_VEC + j] = j < n ? o.b[p * o.ldb + j] : 0;
    o.b = b;
    o.ldb = DT_VEC;
    for (int64_t from = 0; from < m; from += ROWS, o.a += ROWS * o.row) {
        int64_t rows = m - from < ROWS ? m - from : ROWS;
        dt_panel(1, rows, k, o, false, sum, DT_VEC);
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < n; j++) {
                float *to = c + (from + i) * ldc + j;
                *to = add ? *to + sum[i * DT_VEC + j] : sum[i * DT_VEC + j];
            }
    }
}

/* c [m, n] = op(a) b, or c += op(a) b when `add`. */
static void dt_small_gemm(int64_t m, int64_t n, int64_t depth, dt_operands whole, bool add, float *c,
                          int64_t ldc)
{
    for (int64_t from = 0; from < depth; from += DT_TILE_DEPTH, add = true) {
        int64_t k = depth - from < DT_TILE_DEPTH ? depth - from : DT_TILE_DEPTH, j = 0;
        dt_operands o = whole;
        o.a += from * o.column;
        o.b += from * o.ldb;
        for (int64_t left = n / DT_VEC, vecs; left; left -= vecs) {
            vecs = left == DT_TILE_VECS + 1 ? (left + 1) / 2 : left < DT_TILE_VECS ? left : DT_TILE_VECS;
            if (vecs == 4)
                dt_panel(DT_TILE_VECS, m, k, o, add, c + j, ldc);
            else if (vecs == 3)
                dt_panel(DT_TILE_VECS < 3 ? DT_TILE_VECS : 3, m, k, o, add, c + j, ldc);
            else if (vecs == 2)
                dt_panel(2, m, k, o, add, c + j, ldc);
            else
                dt_panel(1, m, k, o, add, c + j, ldc);
            o.b += vecs * DT_VEC;
            j += vecs * DT_VEC;
        }
        if (j < n)
            dt_edge(m, n - j, k, o, add, c + j, ldc);
    }
}

#endif
