/* Finding images and captions by each other. The similarities of all with all are computed once, a tile at a
 * time, and serve both directions: what is before an image's best caption in its row, what is before a
 * caption's own image in its column. */
#include "eval/retrieval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/rows.h"
#include "kernels/cpu/onednn.h"

/* A tile: large enough for the matrix product to run at its rate, small enough to be counted while it is in
 * the cache. */
enum { ROWS_MOST = 10 * DT_ROWS_EVEN, COLUMNS_MOST = 20 * DT_ROWS_EVEN, BOOTSTRAP_SEED = 1 };

const int dt_recall_at[DT_RECALLS] = {1, 5, 10};

typedef struct ranking {
    const float *images, *captions;         /* [n, dim], [m, dim] */
    float *padded_images, *padded_captions; /* where there are less than a tile has */
    const int32_t *caption_image;
    size_t n, m, dim;
    size_t *start, *own;    /* the captions of image i, in order: own[start[i]] .. own[start[i + 1] - 1] */
    float *own_score;       /* [m] of each caption with its image */
    float *best;            /* [n] of the scores of each image's captions; infinite without captions */
    size_t *first;          /* [n] which caption has it, the first of several */
    int32_t *image_ranks;   /* [n] */
    int32_t *caption_ranks; /* [m] */
    size_t rows, columns;   /* of a tile */
} ranking;

static bool check(const ranking *r, dt_error *error);
static bool open_ranking(ranking *r, dt_error *error);
static void close_ranking(ranking *r);
static bool find_ranks(ranking *r, dt_error *error);
static bool summarise(const int32_t *ranks, size_t queries, size_t gallery, const size_t *start,
                      const int32_t *image_of, size_t images, bool intervals,
                      dt_retrieval_way *way, dt_error *error);

bool dt_retrieval_run(const float *images, size_t n, const float *captions, size_t m, size_t dim,
                      const int32_t *caption_image, bool intervals, dt_retrieval *result, int32_t *image_ranks,
                      int32_t *caption_ranks, dt_error *error)
{
    ranking r = {.images = images,
                 .captions = captions,
                 .caption_image = caption_image,
                 .n = n,
                 .m = m,
                 .dim = dim,
                 .rows = n < ROWS_MOST ? dt_rows_even(n) : ROWS_MOST,
                 .columns = m < COLUMNS_MOST ? dt_rows_even(m) : COLUMNS_MOST};
    bool good = check(&r, error) && open_ranking(&r, error) && find_ranks(&r, error) &&
                summarise(r.image_ranks, n, m, r.start, NULL, n, intervals, &result->image_to_text, error) &&
                summarise(r.caption_ranks, m, n, NULL, caption_image, n, intervals, &result->text_to_image, error);
    if (good && image_ranks)
        memcpy(image_ranks, r.image_ranks, n * sizeof *image_ranks);
    if (good && caption_ranks)
        memcpy(caption_ranks, r.caption_ranks, m * sizeof *caption_ranks);
    close_ranking(&r);
    return good;
}

static bool check(const ranking *r, dt_error *error)
{
    if (!r->n || !r->m || !r->dim || r->n > INT32_MAX || r->m > INT32_MAX)
        return dt_fail(
            error, "cannot search %zu images and %zu captions of width %zu; expected at least one of each",
            r->n, r->m, r->dim);
    for (size_t t = 0; t < r->m; t++)
        if (r->caption_image[t] < 0 || (size_t)r->caption_image[t] >= r->n)
            return dt_fail(error, "caption %zu belongs to image %d; expected 0 to %zu", t,
                           r->caption_image[t], r->n - 1);
    return dt_rows_check("image", r->images, r->n, r->dim, error) &&
           dt_rows_check("caption", r->captions, r->m, r->dim, error);
}

/* A counting sort of the captions by image. */
static void sort_captions(ranking *r)
{
    size_t *next = r->start + 1; /* while filling, next[i] is where image i's following caption goes */
    for (size_t t = 0; t < r->m; t++)
        next[r->caption_image[t] + 1]++;
    for (size_t i = 0; i < r->n; i++)
        next[i + 1] += next[i];
    for (size_t t = 0; t < r->m; t++)
        r->own[next[r->caption_image[t]]++] = t;
}

static bool pad(const float **rows, float **padded, size_t n, size_t least, size_t dim, dt_error *error)
{
    if (n >= least)
        return true;
    *rows = *padded = dt_rows_padded(*rows, n, least, dim);
    return *padded || dt_fail(error, "no memory for %zu embeddings of width %zu", least, dim);
}

static bool open_ranking(ranking *r, dt_error *error)
{
    r->start = calloc(r->n + 2, sizeof *r->start);
    r->own = malloc(r->m * sizeof *r->own);
    r->own_score = malloc(r->m * sizeof *r->own_score);
    r->best = malloc(r->n * sizeof *r->best);
    r->first = malloc(r->n * sizeof *r->first);
    r->image_ranks = malloc(r->n * sizeof *r->image_ranks);
    r->caption_ranks = malloc(r->m * sizeof *r->caption_ranks);
    if (!r->start || !r->own || !r->own_score || !r->best || !r->first || !r->image_ranks ||
        !r->caption_ranks)
        return dt_fail(error, "no memory for the ranks of %zu images and %zu captions", r->n, r->m);
    sort_captions(r);
    return pad(&r->images, &r->padded_images, r->n, r->rows, r->dim, error) &&
           pad(&r->captions, &r->padded_captions, r->m, r->columns, r->dim, error);
}

static void close_ranking(ranking *r)
{
    free(r->padded_images);
    free(r->padded_captions);
    free(r->start);
    free(r->own);
    free(r->own_score);
    free(r->best);
    free(r->first);
    free(r->image_ranks);
    free(r->caption_ranks);
}

/* ---- Tiles ---- */

/* The scores of images row .. row_end - 1 with captions column .. column_end - 1. */
typedef struct tile {
    size_t row, row_end, column, column_end;
    const float *scores; /* of (row, column); rows are ranking.columns apart */
} tile;

static size_t tiles_across(const ranking *r)
{
    return (r->m + r->columns - 1) / r->columns;
}

static tile tile_at(const ranking *r, size_t number)
{
    size_t row = number / tiles_across(r) * r->rows, column = number % tiles_across(r) * r->columns;
    return (tile){.row = row,
                  .row_end = r->n - row < r->rows ? r->n : row + r->rows,
                  .column = column,
                  .column_end = r->m - column < r->columns ? r->m : column + r->columns};
}

/* Fills room [rows, columns]. All products have one shape (eval/rows.h) and one thread each: the same
 * embeddings then have the same score in whatever tile they meet. At the ends a product reaches back into
 * what the tile before has. */
static bool multiply(const ranking *r, tile *t, float *room)
{
    size_t row = t->row_end > r->rows ? t->row_end - r->rows : 0;
    size_t column = t->column_end > r->columns ? t->column_end - r->columns : 0;
    t->scores = room + (t->row - row) * r->columns + (t->column - column);
    return dt_sgemm(false, true, (int64_t)r->rows, (int64_t)r->columns, (int64_t)r->dim, 1,
                    r->images + row * r->dim, (int64_t)r->dim, r->captions + column * r->dim, (int64_t)r->dim,
                    0, room, (int64_t)r->columns);
}

/* The scores of the captions of this tile with their own images. */
static bool find_own(ranking *r, tile *t, float *room)
{
    bool multiplied = false;
    for (size_t j = t->column; j < t->column_end; j++) {
        size_t i = (size_t)r->caption_image[j];
        if (i < t->row || i >= t->row_end)
            continue;
        if (!multiplied && !multiply(r, t, room))
            return false;
        multiplied = true;
        r->own_score[j] = t->scores[(i - t->row) * r->columns + (j - t->column)];
    }
    return true;
}

static float below(float x)
{
    return nextafterf(x, -INFINITY);
}

/* Counts the scores of a stretch of a row that are above the bar, and adds to each column's count whether it
 * is above the column's bar. */
static int32_t count_stretch(const float *scores, const float *bars, int32_t *counts, size_t from, size_t to,
                             float bar)
{
    int32_t above = 0;
    for (size_t j = from; j < to; j++) {
        above += scores[j] > bar;
        counts[j] += scores[j] > bars[j];
    }
    return above;
}

/* What comes before an own item of equal score, and only that, counts as before it: there the bar is the next
 * lower float. */
static bool count_tile(ranking *r, tile *t, float *room)
{
    if (!multiply(r, t, room))
        return false;
    size_t width = t->column_end - t->column;
    float bars[COLUMNS_MOST];
    int32_t counts[COLUMNS_MOST] = {0};
    for (size_t j = 0; j < width; j++) {
        float own = r->own_score[t->column + j];
        bars[j] = (size_t)r->caption_image[t->column + j] < t->row ? own : below(own);
    }
    for (size_t i = t->row; i < t->row_end; i++) {
        const float *scores = t->scores + (i - t->row) * r->columns;
        size_t first = r->first[i] < t->column_end ? r->first[i] : t->column_end;
        size_t cut = first > t->column ? first - t->column : 0;
        for (size_t k = r->start[i]; k < r->start[i + 1]; k++)
            if (r->own[k] >= t->column && r->own[k] < t->column_end)
                bars[r->own[k] - t->column] = r->own_score[r->own[k]];
        int32_t above = count_stretch(scores, bars, counts, 0, cut, below(r->best[i])) +
                        count_stretch(scores, bars, counts, cut, width, r->best[i]);
#pragma omp atomic
        r->image_ranks[i] += above;
    }
    for (size_t j = 0; j < width; j++)
#pragma omp atomic
        r->caption_ranks[t->column + j] += counts[j];
    return true;
}

static bool each_tile(ranking *r, bool (*visit)(ranking *r, tile *t, float *room), dt_error *error)
{
    size_t count = (r->n + r->rows - 1) / r->rows * tiles_across(r);
    bool failed = false;
#pragma omp parallel
    {
        float *room = malloc(r->rows * r->columns * sizeof *room);
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < count; i++) {
            tile t = tile_at(r, i);
            if (!room || !visit(r, &t, room))
#pragma omp atomic write
                failed = true;
        }
        free(room);
    }
    return !failed || dt_fail(error, "cannot multiply %zu by %zu embeddings of width %zu: no memory", r->n,
                              r->m, r->dim);
}

static bool find_ranks(ranking *r, dt_error *error)
{
    if (!each_tile(r, find_own, error))
        return false;
    for (size_t i = 0; i < r->n; i++) {
        r->image_ranks[i] = r->start[i] < r->start[i + 1];
        r->best[i] = r->image_ranks[i] ? -INFINITY : INFINITY;
        r->first[i] = 0;
        for (size_t k = r->start[i]; k < r->start[i + 1]; k++)
            if (r->own_score[r->own[k]] > r->best[i]) {
                r->best[i] = r->own_score[r->own[k]];
                r->first[i] = r->own[k];
            }
    }
    for (size_t t = 0; t < r->m; t++)
        r->caption_ranks[t] = 1;
    return each_tile(r, count_tile, error);
}

/* ---- Figures ---- */

/* How likely one of c items is among the first k of g in a random order. */
static double chance(size_t c, size_t g, size_t k)
{
    double missed = 1;
    for (size_t j = 0; j < k; j++)
        missed *= g - j > c && g > j ? (double)(g - c - j) / (double)(g - j) : 0;
    return 1 - missed;
}

static int by_value(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* For the intervals: of each image its queries, and how many of them were found among the first 1, 5, 10. */
typedef struct drawn {
    size_t images;
    const float *queries, *found; /* [images], [images, DT_RECALLS] */
} drawn;

static void recalls_of_draw(const void *context, const uint32_t *times, void *scratch, double *values)
{
    const drawn *d = context;
    double queries = 0, found[DT_RECALLS] = {0};
    (void)scratch;
    for (size_t i = 0; i < d->images; i++) {
        queries += (double)times[i] * (double)d->queries[i];
        for (int k = 0; k < DT_RECALLS; k++)
            found[k] += (double)times[i] * (double)d->found[i * DT_RECALLS + (size_t)k];
    }
    for (int k = 0; k < DT_RECALLS; k++)
        values[k] = queries > 0 ? found[k] / queries : (double)NAN;
}

/* Images are drawn again with all their captions: those of one image are found or missed together. image_of [queries]; NULL:
 * query i is image i. */
static bool bound_recalls(const int32_t *ranks, size_t n, const int32_t *image_of, size_t images, dt_retrieval_way *way,
                          dt_error *error)
{
    float *queries = calloc(images, sizeof *queries), *found = calloc(images * DT_RECALLS, sizeof *found);
    bool good = (queries && found) || dt_fail(error, "no memory for the intervals of %zu ranks", n);
    for (size_t q = 0; good && q < n; q++) {
        size_t image = image_of ? (size_t)image_of[q] : q;
        queries[image] += ranks[q] > 0;
        for (size_t k = 0; k < DT_RECALLS; k++)
            found[image * DT_RECALLS + k] += ranks[q] > 0 && ranks[q] <= dt_recall_at[k];
    }
    const drawn d = {images, queries, found};
    const dt_bootstrap_options options = {.n = images, .seed = BOOTSTRAP_SEED, .count = DT_RECALLS};
    good = good && dt_bootstrap(&options, recalls_of_draw, &d, way->recall_bounds, error);
    free(queries);
    free(found);
    return good;
}

/* start: as in ranking; NULL: every query has one item of its own. image_of: as in bound_recalls. */
static bool summarise(const int32_t *ranks, size_t queries, size_t gallery, const size_t *start,
                      const int32_t *image_of, size_t images, bool intervals,
                      dt_retrieval_way *way, dt_error *error)
{
    *way = (dt_retrieval_way){.gallery = gallery};
    for (int i = 0; i < DT_RECALLS; i++)
        way->recall_bounds[i] = (dt_bounds){NAN, NAN, NAN, NAN};
    int32_t *sorted = malloc(queries * sizeof *sorted);
    if (!sorted)
        return dt_fail(error, "no memory to sort %zu ranks", queries);
    size_t n = 0;
    double sum = 0;
    for (size_t q = 0; q < queries; q++) {
        if (!ranks[q])
            continue;
        sorted[n++] = ranks[q];
        sum += ranks[q];
        for (int i = 0; i < DT_RECALLS; i++) {
            way->recall[i] += ranks[q] <= dt_recall_at[i];
            way->recall_chance[i] +=
                chance(start ? start[q + 1] - start[q] : 1, gallery, (size_t)dt_recall_at[i]);
        }
    }
    qsort(sorted, n, sizeof *sorted, by_value);
    way->queries = n; /* at least one: there is a caption, and it has an image */
    for (int i = 0; i < DT_RECALLS; i++) {
        way->recall[i] /= (double)n;
        way->recall_chance[i] /= (double)n;
    }
    way->mean_rank = sum / (double)n;
    way->median_rank = ((double)sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
    bool good = !intervals || bound_recalls(ranks, queries, image_of, images, way, error);
    free(sorted);
    return good;
}
