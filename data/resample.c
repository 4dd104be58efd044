#include "data/resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

#define FRACTION_BITS 22
#define ROWS          4  /* rows that share one load of the horizontal weights */
#define CHUNK         64 /* bytes of a row that the vertical pass makes at a time */

/* Integer arithmetic on vectors of the compiler, so every machine computes the same bits. Only widening and
 * narrowing are spelled per instruction set: compilers turn __builtin_convertvector into byte by byte moves.
 */
#if defined __AVX512BW__
#define LANES 16
#elif defined __AVX2__
#define LANES 8
#else
#define LANES 4
#endif
#define PER_GROUP (LANES / 4) /* four-byte pixels in a vector */
typedef int32_t lanes __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef uint8_t bytes __attribute__((vector_size(LANES), aligned(1), may_alias));

static inline lanes widen(const uint8_t *from)
{
#if LANES == 16
    return (lanes)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i_u *)from));
#elif LANES == 8
    return (lanes)_mm256_cvtepu8_epi32(_mm_loadu_si64(from));
#else
    return __builtin_convertvector(*(const bytes *)from, lanes);
#endif
}

/* Rounds the fraction off, clips to 0..255 and stores. */
static inline void store_lanes(lanes sum, uint8_t *to)
{
    lanes v = (sum + (1 << (FRACTION_BITS - 1))) >> FRACTION_BITS;
#if LANES == 16
    v &= v >= 0;
    _mm_storeu_si128((__m128i_u *)to, _mm512_cvtusepi32_epi8((__m512i)v));
#elif LANES == 8
    __m256i w = (__m256i)v;
    __m128i shorts = _mm_packs_epi32(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
    _mm_storeu_si64(to, _mm_packus_epi16(shorts, shorts));
#else
    v = (v & (v >= 0)) | (v > 255); /* a comparison is all ones where true, and the low byte is kept */
    *(bytes *)to = __builtin_convertvector(v, bytes);
#endif
}

/* Each row's sum over the pixels of its group, as one pixel of row k at to + k * stride. */
static inline void store_rows(const lanes *sum, uint8_t *to, size_t stride)
{
#if LANES == 16
    __m512i r0 = (__m512i)sum[0], r1 = (__m512i)sum[1], r2 = (__m512i)sum[2], r3 = (__m512i)sum[3];
    __m512i r01 = _mm512_add_epi32(_mm512_shuffle_i32x4(r0, r1, 0x44), _mm512_shuffle_i32x4(r0, r1, 0xee));
    __m512i r23 = _mm512_add_epi32(_mm512_shuffle_i32x4(r2, r3, 0x44), _mm512_shuffle_i32x4(r2, r3, 0xee));
    uint8_t pixels[16];
    store_lanes(
        (lanes)_mm512_add_epi32(_mm512_shuffle_i32x4(r01, r23, 0x88), _mm512_shuffle_i32x4(r01, r23, 0xdd)),
        pixels);
    for (int k = 0; k < ROWS; k++)
        memcpy(to + (size_t)k * stride, pixels + 4 * k, 4);
#elif LANES == 8
    for (int k = 0; k < ROWS; k += 2) {
        __m256i r0 = (__m256i)sum[k], r1 = (__m256i)sum[k + 1];
        uint8_t pixels[8];
        store_lanes((lanes)_mm256_add_epi32(_mm256_permute2x128_si256(r0, r1, 0x20),
                                            _mm256_permute2x128_si256(r0, r1, 0x31)),
                    pixels);
        memcpy(to + (size_t)k * stride, pixels, 4);
        memcpy(to + (size_t)(k + 1) * stride, pixels + 4, 4);
    }
#else
    for (int k = 0; k < ROWS; k++)
        store_lanes(sum[k], to + (size_t)k * stride);
#endif
}

/* One axis made concrete: for each output pixel, where its taps start and their weights. */
typedef struct taps {
    int *first;       /* [count], in pixels of the picture */
    int *number;      /* [count] */
    int32_t *weights; /* [count][width], zero beyond number */
    int width;        /* a multiple of PER_GROUP */
    size_t capacity, weight_capacity;
} taps;

struct dt_resampler {
    taps x, y;
    int32_t *wide; /* the weights of x, each four times: one for each byte of a pixel */
    size_t wide_capacity;
    double *raw; /* one output pixel's weights before rounding */
    size_t raw_capacity;
    uint8_t *rows; /* ROWS rows of four-byte pixels with slack */
    size_t row_capacity;
    uint8_t *middle; /* between the passes */
    size_t middle_capacity;
};

static bool grow(void *memory, size_t *capacity, size_t count, size_t unit, dt_error *error)
{
    void **pointer = memory;
    size_t size;
    if (count <= *capacity)
        return true;
    if (__builtin_mul_overflow(count, unit, &size))
        return dt_fail(error, "a picture is too large to resize: %zu elements", count);
    void *fresh = malloc(size);
    if (!fresh)
        return dt_fail(error, "no memory to resize a picture (%zu bytes)", size);
    free(*pointer);
    *pointer = fresh;
    *capacity = count;
    return true;
}

dt_resampler *dt_resampler_new(dt_error *error)
{
    dt_resampler *resampler = calloc(1, sizeof *resampler);
    if (!resampler)
        dt_fail(error, "no memory for a resampler");
    return resampler;
}

void dt_resampler_free(dt_resampler *r)
{
    if (!r)
        return;
    free(r->x.first);
    free(r->x.weights);
    free(r->y.first);
    free(r->y.weights);
    free(r->wide);
    free(r->raw);
    free(r->rows);
    free(r->middle);
    free(r);
}

dt_axis dt_axis_whole(int length, int size)
{
    return (dt_axis){.length = length, .to = length, .size = size, .count = size};
}

static double cubic(double x) /* Keys 1981, a = -0.5 */
{
    x = fabs(x);
    if (x < 1)
        return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
}

static double triangle(double x)
{
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

typedef struct reach {
    double scale, widen, centre;
    int first, end;
} reach;

static reach reach_of(const dt_axis *axis, dt_interpolation interpolation, int index)
{
    reach r;
    r.scale = (axis->to - axis->from) / axis->size;
    r.widen = r.scale > 1 ? r.scale : 1;
    r.centre = axis->from + (index + 0.5) * r.scale;
    double support = (interpolation == DT_BICUBIC ? 2 : 1) * r.widen;
    double first = r.centre - support + 0.5, end = r.centre + support + 0.5;
    r.first = first < 0 ? 0 : (int)first;
    r.end = end > axis->length ? axis->length : (int)end;
    return r;
}

void dt_axis_support(const dt_axis *axis, dt_interpolation interpolation, int *first, int *end)
{
    *first = reach_of(axis, interpolation, axis->first).first;
    *end = reach_of(axis, interpolation, axis->first + axis->count - 1).end;
}

static void weigh(const reach *r, dt_interpolation interpolation, double *raw, int32_t *weights)
{
    double sum = 0, narrow = 1 / r->widen;
    for (int i = 0; i < r->end - r->first; i++) {
        double at = (i + r->first - r->centre + 0.5) * narrow;
        raw[i] = interpolation == DT_BICUBIC ? cubic(at) : triangle(at);
        sum += raw[i];
    }
    for (int i = 0; i < r->end - r->first; i++) {
        double weight = sum != 0 ? raw[i] / sum : raw[i];
        weights[i] = (int32_t)(weight * (1 << FRACTION_BITS) + (weight < 0 ? -0.5 : 0.5));
    }
}

static bool make_taps(dt_resampler *r, taps *t, const dt_axis *axis, dt_interpolation interpolation,
                      dt_error *error)
{
    size_t count = (size_t)axis->count;
    int width = 1;
    for (int i = 0; i < axis->count; i++) {
        reach at = reach_of(axis, interpolation, axis->first + i);
        width = at.end - at.first > width ? at.end - at.first : width;
    }
    t->width = (width + PER_GROUP - 1) / PER_GROUP * PER_GROUP;
    if (!grow(&t->first, &t->capacity, 2 * count, sizeof *t->first, error) ||
        !grow(&t->weights, &t->weight_capacity, count * (size_t)t->width, sizeof *t->weights, error) ||
        !grow(&r->raw, &r->raw_capacity, (size_t)t->width, sizeof *r->raw, error))
        return false;
    t->number = t->first + count;
    memset(t->weights, 0, count * (size_t)t->width * sizeof *t->weights);
    for (int i = 0; i < axis->count; i++) {
        reach at = reach_of(axis, interpolation, axis->first + i);
        int slot = axis->mirror ? axis->count - 1 - i : i;
        t->first[slot] = at.first;
        t->number[slot] = at.end - at.first;
        weigh(&at, interpolation, r->raw, t->weights + (size_t)slot * (size_t)t->width);
    }
    return true;
}

static bool widen_weights(dt_resampler *r, int count, dt_error *error)
{
    size_t number = (size_t)count * (size_t)r->x.width;
    if (!grow(&r->wide, &r->wide_capacity, 4 * number, sizeof *r->wide, error))
        return false;
    for (size_t i = 0; i < number; i++)
        for (int c = 0; c < 4; c++)
            r->wide[4 * i + (size_t)c] = r->x.weights[i];
    return true;
}

/* Pixels of 1, 3 or 4 bytes as pixels of four; the fourth of RGB is without meaning. */
static void spread(const uint8_t *restrict from, int channels, int count, uint8_t *restrict to)
{
    typedef uint8_t v16 __attribute__((vector_size(16), aligned(1), may_alias));
    int i = 0;
    if (channels == 4)
        memcpy(to, from, (size_t)count * 4);
    else if (channels == 3) {
        for (; i + 6 <= count; i += 4) { /* 16 bytes are read, 12 used */
            v16 v = *(const v16 *)(from + 3 * i);
            *(v16 *)(to + 4 * i) =
                __builtin_shufflevector(v, v, 0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11);
        }
        for (; i < count; i++)
            for (int c = 0; c < 4; c++)
                to[4 * i + c] = from[3 * i + (c < 3 ? c : 2)];
    } else
        for (; i < count; i++)
            memset(to + 4 * i, from[i], 4);
}

/* ROWS rows of four-byte pixels at once. Writes whole pixels `step` bytes apart, left to right: a byte too
 * many is overwritten by the next pixel, or lies in the gap after the row. */
static inline __attribute__((always_inline)) void filter_groups(const dt_resampler *r,
                                                                const uint8_t *const *rows, int origin,
                                                                int count, int groups, size_t step,
                                                                uint8_t *out, size_t stride)
{
    const int *first = r->x.first;
    const lanes *weights = (const lanes *)r->wide;
    for (int i = 0; i < count; i++, out += step, weights += groups) {
        size_t at = (size_t)(first[i] - origin) * 4;
        lanes sum[ROWS] = {{0}};
        for (int g = 0; g < groups; g++)
            for (int k = 0; k < ROWS; k++)
                sum[k] += widen(rows[k] + at + (size_t)g * LANES) * weights[g];
        store_rows(sum, out, stride);
    }
}

/* The usual widths get loops without a count. */
static void filter_rows(const dt_resampler *r, const uint8_t *const *rows, int origin, int count, size_t step,
                        uint8_t *out, size_t stride)
{
    const uint8_t *const fixed[ROWS] = {rows[0], rows[1], rows[2], rows[3]};
    int groups = r->x.width / PER_GROUP;
    switch (groups) {
#define FIXED(N)                                                                                             \
    case N:                                                                                                  \
        filter_groups(r, fixed, origin, count, N, step, out, stride);                                        \
        break
        FIXED(1);
        FIXED(2);
        FIXED(3);
        FIXED(4);
        FIXED(5);
        FIXED(6);
    default:
        filter_groups(r, fixed, origin, count, groups, step, out, stride);
    }
}

/* Rows [first, end) of the picture through the horizontal filter into r->middle. */
static bool filter_columns(dt_resampler *r, const dt_image *source, const dt_axis *x, const dt_axis *y,
                           int first, int end, dt_interpolation interpolation, int step, size_t stride,
                           dt_error *error)
{
    int left, right;
    dt_axis_support(x, interpolation, &left, &right);
    size_t room = ((size_t)(right - left) + (size_t)r->x.width) * 4 + DT_IMAGE_SLACK;
    size_t height = (size_t)(end - first + ROWS - 1) / ROWS * ROWS;
    if (!widen_weights(r, x->count, error) || !grow(&r->rows, &r->row_capacity, ROWS * room, 1, error) ||
        !grow(&r->middle, &r->middle_capacity, height * stride + CHUNK, 1, error))
        return false;
    bool direct = source->channels == 4 && source->capacity > 0 && (r->x.width - 1) * 4 <= DT_IMAGE_SLACK;
    for (int row = first; row < end; row += ROWS) {
        const uint8_t *rows[ROWS];
        for (int k = 0; k < ROWS; k++) {
            int at = row + k < end ? row + k : end - 1;
            const uint8_t *from = source->pixels + (size_t)(at - y->origin) * source->stride +
                                  (size_t)(left - x->origin) * (size_t)source->channels;
            uint8_t *copy = r->rows + (size_t)k * room;
            if (!direct)
                spread(from, source->channels, right - left, copy);
            rows[k] = direct ? from : copy;
        }
        filter_rows(r, rows, left, x->count, (size_t)step, r->middle + (size_t)(row - first) * stride,
                    stride);
    }
    return true;
}

/* From r->middle, whose first row is row `first` of the picture. Rows are written in ascending order and may
 * run over into the next, or the image's slack. */
static void filter_vertical(const dt_resampler *r, int count, int first, size_t stride, dt_image *out)
{
    size_t width = (size_t)out->width * (size_t)out->channels;
    for (int i = 0; i < count; i++) {
        const uint8_t *rows = r->middle + (size_t)(r->y.first[i] - first) * stride;
        const int32_t *weights = r->y.weights + (size_t)i * (size_t)r->y.width;
        int number = r->y.number[i];
        for (size_t at = 0; at < width; at += CHUNK) {
            lanes sum[CHUNK / LANES] = {{0}};
            for (int t = 0; t < number; t++) {
                const uint8_t *row = rows + (size_t)t * stride + at;
                for (int k = 0; k < CHUNK / LANES; k++)
                    sum[k] += widen(row + k * LANES) * weights[t];
            }
            for (int k = 0; k < CHUNK / LANES; k++)
                store_lanes(sum[k], out->pixels + (size_t)i * out->stride + at + k * LANES);
        }
    }
}

bool dt_resample(dt_resampler *r, const dt_image *source, dt_axis x, dt_axis y,
                 dt_interpolation interpolation, dt_image *out, dt_error *error)
{
    int step = source->channels == 4 && !source->inks ? 3 : source->channels, first, end;
    size_t stride = ((size_t)x.count * (size_t)step + 4 + CHUNK - 1) / CHUNK * CHUNK;
    dt_axis_support(&y, interpolation, &first, &end);
    if (!dt_image_reserve(out, x.count, y.count, step, error) ||
        !make_taps(r, &r->x, &x, interpolation, error) || !make_taps(r, &r->y, &y, interpolation, error) ||
        !filter_columns(r, source, &x, &y, first, end, interpolation, step, stride, error))
        return false;
    out->inks = source->inks;
    filter_vertical(r, y.count, first, stride, out);
    return true;
}
