/* The tiles of attention.cu, which alone includes this: how they come into shared memory, are multiplied and written.
 *
 * All products are of two kinds. `across` multiplies rows by rows (scores, the gradient of probabilities), `along` rows by
 * columns (what scores are multiplied with). Their operands lie in shared memory as they do in global memory, a row of D numbers
 * for each position, and a thread computes EACH rows by a sixteenth of the columns. The rows of a thread belong to half a warp,
 * so scores pass from the one product to the other within a warp. */
#ifndef DUET_KERNELS_CUDA_ATTENTION_TILE_H
#define DUET_KERNELS_CUDA_ATTENTION_TILE_H

#include "kernels/cuda/launch.h"

/* Arrays of a thread lie in registers where the loops over them are unrolled: hence so many DT_UNROLL. */

namespace
{

enum { ACROSS = 16, THREADS = 128, ROW_GROUPS = THREADS / ACROSS, WIDEST = 256, MOST_POSITIONS = 1 << 30 };

/* Heads of up to WIDTH numbers; threads with ROWS_EACH rows. */
template <int WIDTH, int ROWS_EACH> struct tiling {
    static constexpr int D = WIDTH, EACH = ROWS_EACH, ROWS = ROW_GROUPS * ROWS_EACH;
    static constexpr int COLUMNS = WIDTH <= 64 ? 64 : 32;   /* positions in a tile of the other side */
    static constexpr int LD = D + 4, LS = COLUMNS + 4;      /* rows in shared memory: four apart, banks differ */
    static constexpr int STEPS = COLUMNS / ACROSS;          /* scores of a thread in a row: one in 16 */
    static constexpr int SIDE = D % 64 ? 2 : 4;             /* numbers of a head that a thread has side by side, */
    static constexpr int PARTS = D / (ACROSS * SIDE);       /* and how often */
    static constexpr int OWN = SIDE * PARTS;
};

struct sizes {
    int64_t items; /* heads of samples */
    int t, w, d, heads, tiles;
    bool causal, fours; /* fours: rows can be read four numbers at a time */
    float scale;
};

/* A tile of rows of one head of one sample; blocks with more to see come first. */
struct place {
    int64_t item, at, at3; /* at, at3: of the head's first number in y and in qkv */
    int first, rows;
};

template <class Tile> __device__ __forceinline__ place place_of(const sizes &s, int64_t block, bool last_first)
{
    int tile = (int)(block % s.tiles);
    int64_t item = block / s.tiles, sample = item / s.heads, column = item % s.heads * s.d;
    int first = (last_first ? s.tiles - 1 - tile : tile) * Tile::ROWS;
    return {item, sample * s.t * s.w + column, sample * s.t * 3 * s.w + column, first,
            s.t - first < Tile::ROWS ? s.t - first : Tile::ROWS};
}

__device__ __forceinline__ int my_row(int each)
{
    return threadIdx.x / ACROSS * each;
}

__device__ __forceinline__ int my_lane(void)
{
    return threadIdx.x % ACROSS;
}

/* `count` rows of d numbers, `stride` apart, into COUNT rows of D in shared memory; zeros where there are none. */
template <class Tile, int COUNT, class T>
__device__ __forceinline__ void fetch(const T *from, int64_t stride, int count, const sizes &s, float *to)
{
    constexpr int FOURS = Tile::D / 4, ALL = COUNT * FOURS, AT_ONCE = 4; /* loads that are under way at once */
    for (int i = threadIdx.x; i < ALL; i += THREADS * AT_ONCE) {
        float x[AT_ONCE][4];
        DT_UNROLL
        for (int k = 0; k < AT_ONCE; k++) {
            int row = (i + k * THREADS) / FOURS, column = (i + k * THREADS) % FOURS * 4;
            const T *here = from + row * stride;
            DT_UNROLL
            for (int e = 0; e < 4; e++)
                x[k][e] = 0;
            if (row >= count || column >= s.d)
                continue;
            if (s.fours)
                dt_load4(here, column, x[k]);
            else
                for (int e = 0; e < 4 && column + e < s.d; e++)
                    x[k][e] = dt_load(here, column + e);
        }
        DT_UNROLL
        for (int k = 0; k < AT_ONCE; k++) {
            int row = (i + k * THREADS) / FOURS, column = (i + k * THREADS) % FOURS * 4;
            if (row < COUNT)
                dt_store4(to, row * Tile::LD + column, x[k]);
        }
    }
}

template <class T, int N> struct alignas(N * sizeof(T)) lot {
    T of[N];
};

template <int N> __device__ __forceinline__ lot<float, N> read_lot(const float *from)
{
    return *reinterpret_cast<const lot<float, N> *>(from);
}

/* to[i][j] = rows of a, beginning with the thread's first, times row 16 j of b, which begins with the thread's. Where not
 * WHOLE, only the steps that begin before `count`. */
template <class Tile, bool WHOLE>
__device__ __forceinline__ void across(const float *a, const float *b, int d, int count,
                                       float to[Tile::EACH][Tile::STEPS])
{
    DT_UNROLL
    for (int i = 0; i < Tile::EACH; i++)
        DT_UNROLL
        for (int j = 0; j < Tile::STEPS; j++)
            to[i][j] = 0;
    for (int k = 0; k < d; k += 4) {
        lot<float, 4> y[Tile::STEPS];
        DT_UNROLL
        for (int j = 0; j < Tile::STEPS; j++)
            if (WHOLE || ACROSS * j < count)
                y[j] = read_lot<4>(b + ACROSS * j * Tile::LD + k);
        DT_UNROLL
        for (int i = 0; i < Tile::EACH; i++) {
            lot<float, 4> x = read_lot<4>(a + i * Tile::LD + k);
            DT_UNROLL
            for (int j = 0; j < Tile::STEPS; j++)
                if (WHOLE || ACROSS * j < count)
                    DT_UNROLL
                    for (int e = 0; e < 4; e++)
                        to[i][j] += x.of[e] * y[j].of[e];
        }
    }
}

/* to += the thread's rows of scores, times the rows of b, of which `count` count. */
template <class Tile>
__device__ __forceinline__ void along(const float *scores, const float *b, int count, float to[Tile::EACH][Tile::OWN])
{
    constexpr int SIDE = Tile::SIDE;
    for (int k = 0; k < count; k += 4) {
        lot<float, 4> x[Tile::EACH];
        DT_UNROLL
        for (int i = 0; i < Tile::EACH; i++)
            x[i] = read_lot<4>(scores + i * Tile::LS + k);
        DT_UNROLL
        for (int e = 0; e < 4; e++)
            DT_UNROLL
            for (int part = 0; part < Tile::PARTS; part++) {
                lot<float, SIDE> y = read_lot<SIDE>(b + (k + e) * Tile::LD + part * ACROSS * SIDE);
                DT_UNROLL
                for (int i = 0; i < Tile::EACH; i++)
                    DT_UNROLL
                    for (int c = 0; c < SIDE; c++)
                        to[i][part * SIDE + c] += x[i].of[e] * y.of[c];
            }
    }
}

/* The thread's rows, times factor[i], to rows of memory; of the tile `rows` are there. */
template <class Tile, class T>
__device__ __forceinline__ void put(const float from[Tile::EACH][Tile::OWN], const float factor[Tile::EACH], const sizes &s,
                                    int rows, int64_t stride, T *to)
{
    constexpr int SIDE = Tile::SIDE;
    DT_UNROLL
    for (int i = 0; i < Tile::EACH; i++) {
        int row = my_row(Tile::EACH) + i;
        DT_UNROLL
        for (int part = 0; part < Tile::PARTS && row < rows; part++) {
            int column = (part * ACROSS + my_lane()) * SIDE;
            lot<T, SIDE> x;
            DT_UNROLL
            for (int c = 0; c < SIDE; c++)
                dt_narrow_to(&x.of[c], from[i][part * SIDE + c] * factor[i]);
            T *here = to + row * stride + column;
            if (s.fours && column < s.d)
                *reinterpret_cast<lot<T, SIDE> *>(here) = x;
            DT_UNROLL
            for (int c = 0; c < SIDE && !s.fours && column + c < s.d; c++)
                here[c] = x.of[c];
        }
    }
}

/* join over the 16 threads that have a row together. */
template <class Join> __device__ __forceinline__ float row_reduce(float value, Join join)
{
    for (int distance = ACROSS / 2; distance; distance /= 2)
        value = join(value, dt_from_lane(value, distance));
    return value;
}

template <class Tile>
__device__ __forceinline__ void keep_scores(const float from[Tile::EACH][Tile::STEPS], float *scores)
{
    DT_UNROLL
    for (int i = 0; i < Tile::EACH; i++)
        DT_UNROLL
        for (int j = 0; j < Tile::STEPS; j++)
            scores[(my_row(Tile::EACH) + i) * Tile::LS + my_lane() + ACROSS * j] = from[i][j];
}

/* The products of a tile: all of its columns, or the first `count`. */
template <class Tile>
__device__ __forceinline__ void scores_of(const float *rows, const float *columns, int d, int count,
                                          float to[Tile::EACH][Tile::STEPS])
{
    const float *a = rows + my_row(Tile::EACH) * Tile::LD, *b = columns + my_lane() * Tile::LD;
    if (count > Tile::COLUMNS - ACROSS)
        across<Tile, true>(a, b, d, count, to);
    else
        across<Tile, false>(a, b, d, count, to);
}

/* to += scores times rows of b. */
template <class Tile>
__device__ __forceinline__ void collect(const float *scores, const float *b, int count, float to[Tile::EACH][Tile::OWN])
{
    along<Tile>(scores + my_row(Tile::EACH) * Tile::LS, b + my_lane() * Tile::SIDE, count, to);
}

} // namespace

#endif
