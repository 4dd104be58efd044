#include "eval/folds.h"

#include "data/shuffle.h"
#include "tests/tap.h"

static dt_error error;

enum { MOST_CLASSES = 64, MOST_FOLDS = 64 };

/* Classes of uneven sizes, a tenth of the rows without a label. Every class has at least `least` rows. */
static size_t make_labels(int32_t *labels, size_t n, size_t classes, size_t least)
{
    size_t labelled = 0;
    for (size_t i = 0; i < n; i++) {
        double u = dt_uniform(7, i, n);
        labels[i] = i < classes * least ? (int32_t)(i % classes) : (int32_t)((double)classes * u * u);
        if (i >= classes * least && dt_hash64(8, i, n) % 10 == 0)
            labels[i] = -1;
        labelled += labels[i] >= 0;
    }
    return labelled;
}

static void folds(size_t n, size_t classes, int k)
{
    int32_t *labels = malloc(n * sizeof *labels), *fold = malloc(n * sizeof *fold),
            *again = malloc(n * sizeof *again), *other = malloc(n * sizeof *other);
    size_t labelled = make_labels(labels, n, classes, (size_t)k);
    ok(dt_folds(labels, n, k, 3, fold, &error) && dt_folds(labels, n, k, 3, again, &error) &&
           dt_folds(labels, n, k, 4, other, &error),
       "%zu rows, %zu classes, %d folds", n, classes, k);
    size_t cells[MOST_CLASSES][MOST_FOLDS] = {0}, sizes[MOST_FOLDS] = {0}, dealt = 0;
    bool none = true;
    for (size_t i = 0; i < n; i++) {
        none = none && (labels[i] < 0) == (fold[i] == -1);
        if (fold[i] < 0 || fold[i] >= k)
            continue;
        cells[labels[i]][fold[i]]++;
        sizes[fold[i]]++;
        dealt++;
    }
    ok(none && dealt == labelled, "every labelled row is in one fold, the others in none");
    bool even = true;
    for (size_t c = 0; c < classes; c++)
        for (int f = 0; f < k; f++)
            for (int g = 0; g < k; g++)
                even = even && cells[c][f] <= cells[c][g] + 1 && sizes[f] <= sizes[g] + 1;
    ok(even, "folds, and each class in them, differ by at most one row");
    ok(!memcmp(fold, again, n * sizeof *fold), "the same seed, the same folds");
    ok(n < 20 || memcmp(fold, other, n * sizeof *fold), "another seed, other folds");
    free(labels);
    free(fold);
    free(again);
    free(other);
}

static void folds_refused(void)
{
    const int32_t labels[] = {0, 1, 0, 1, 5, 0, 1, -1}, none[] = {-1, -1};
    int32_t fold[8];
    ok(!dt_folds(labels, 8, 3, 1, fold, &error) &&
           strstr(error.message, "class 5 has 1 row; expected at least 3 for 3 folds"),
       "a class with one row: %s", error.message);
    ok(!dt_folds(labels, 4, 3, 1, fold, &error) && strstr(error.message, "class 0 has 2 rows"),
       "a class with fewer rows than folds: %s", error.message);
    ok(!dt_folds(labels, 4, 1, 1, fold, &error) && strstr(error.message, "1 folds"), "one fold: %s",
       error.message);
    ok(!dt_folds(labels, 4, -3, 1, fold, &error) && says(error.message, "cannot make -3 folds"), "fewer than none");
    ok(!dt_folds(labels, 4, 5, 1, fold, &error) && strstr(error.message, "4 labelled rows"),
       "more folds than rows: %s", error.message);
    ok(!dt_folds(labels, 0, 2, 1, fold, &error) && strstr(error.message, "none of the 0 rows"), "no rows: %s",
       error.message);
    ok(!dt_folds(none, 2, 2, 1, fold, &error) && says(error.message, "none of the 2 rows has a label"), "no labels");
    const int32_t far[] = {INT32_MAX, INT32_MAX, 0, 0};
    ok(dt_folds(far, 4, 2, 1, fold, &error) && fold[0] != fold[1] && fold[2] != fold[3],
       "class numbers may be large");
}

static void split(size_t n, size_t classes, double share)
{
    int32_t *labels = malloc(n * sizeof *labels);
    uint8_t *held = malloc(n), *again = malloc(n), *other = malloc(n);
    make_labels(labels, n, classes, 2);
    size_t size[MOST_CLASSES] = {0}, out[MOST_CLASSES] = {0}, total = 0, labelled = 0;
    ok(dt_split(labels, n, share, 1, held, &error) && dt_split(labels, n, share, 1, again, &error) &&
           dt_split(labels, n, share, 2, other, &error),
       "%zu rows, %zu classes, %g held out", n, classes, share);
    bool labelled_only = true, both = true, close = true, large = true;
    for (size_t i = 0; i < n; i++) {
        labelled_only = labelled_only && held[i] <= 1 && (labels[i] >= 0 || !held[i]);
        if (labels[i] < 0)
            continue;
        size[labels[i]]++;
        out[labels[i]] += held[i];
        total += held[i];
        labelled++;
    }
    for (size_t c = 0; c < classes; c++) {
        double want = share * (double)size[c];
        both = both && out[c] >= 1 && out[c] < size[c];
        close = close && fabs((double)out[c] - want) < 1 + 1e-9;
        large = large && want >= 1 && (double)size[c] - want >= 1;
    }
    ok(labelled_only && both, "at least one row of every class on either side");
    ok(close, "each class within one row of the share");
    if (large)
        ok(total == (size_t)llround(share * (double)labelled), "the total is the share");
    ok(!memcmp(held, again, n) && (n < 50 || memcmp(held, other, n)), "a function of the seed");
    free(labels);
    free(held);
    free(again);
    free(other);
}

static void split_refused(void)
{
    const int32_t labels[] = {0, 1, 1, 2};
    uint8_t held[4];
    ok(dt_split(labels, 4, 0.9, 1, held, &error) && !held[0] && held[1] + held[2] == 1 && !held[3],
       "a class with a single row stays");
    ok(!dt_split(labels, 4, 0, 1, held, &error) && !dt_split(labels, 4, 1, 1, held, &error) &&
           !dt_split(labels, 4, NAN, 1, held, &error) && strstr(error.message, "above 0 and below 1"),
       "shares that leave a side empty");
    ok(!dt_split(labels, 0, 0.5, 1, held, &error) && says(error.message, "none of the 0 rows has a label"), "no rows");
    ok(!dt_split(labels, 2, 0.5, 1, held, &error) && strstr(error.message, "no class has two rows"),
       "nothing to hold out: %s", error.message);
}

static void few_shot(void)
{
    enum { N = 500, CLASSES = 7 };
    int32_t labels[N];
    size_t rows[N], fewer[N], other[N], count, fewer_count, other_count, by_class[CLASSES] = {0};
    make_labels(labels, N, CLASSES, 8);
    ok(dt_few_shot(labels, N, 8, 5, rows, &count, &error) && count == 8 * CLASSES &&
           dt_few_shot(labels, N, 3, 5, fewer, &fewer_count, &error) && fewer_count == 3 * CLASSES &&
           dt_few_shot(labels, N, 8, 6, other, &other_count, &error),
       "8 and 3 rows of each of %d classes", CLASSES);
    bool ascending = true, even = true;
    for (size_t i = 0; i < count; i++) {
        ascending = ascending && rows[i] < N && (!i || rows[i] > rows[i - 1]);
        by_class[labels[rows[i]]]++;
    }
    for (int c = 0; c < CLASSES; c++)
        even = even && by_class[c] == 8;
    ok(ascending && even, "ascending, as many of each class");
    size_t among = 0;
    for (size_t i = 0; i < fewer_count; i++)
        for (size_t j = 0; j < count; j++)
            among += fewer[i] == rows[j];
    ok(among == fewer_count, "fewer are among more");
    ok(memcmp(rows, other, count * sizeof *rows), "another seed, other rows");
    const int32_t single[] = {0, 0, 4, 0};
    ok(!dt_few_shot(single, 4, 2, 1, rows, &count, &error) && count == 0 &&
           strstr(error.message, "class 4 has 1 row; expected at least 2 for 2 shots"),
       "a class with fewer: %s", error.message);
    ok(!dt_few_shot(single, 4, 0, 1, rows, &count, &error) && says(error.message, "cannot choose 0 rows of a class"), "none of each");
    ok(!dt_few_shot(single, 0, 1, 1, rows, &count, &error) && says(error.message, "none of the 0 rows has a label"), "no rows");
}

/* Where a row lands must not depend on where it stands. The 6 rows of class 0 are dealt to folds 0 1 2 3 4 0,
 * so that each lands in fold 0 with a chance of 1/3 and in the others with 1/6; the 5 rows of class 1 with
 * 1/5. The standard deviation over 400 seeds is below 10; 5 of them are allowed. */
static void unbiased(void)
{
    const int32_t labels[] = {0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 0};
    int32_t fold[11];
    int landed[11][5] = {0};
    for (uint64_t seed = 0; seed < 400; seed++) {
        dt_folds(labels, 11, 5, seed, fold, &error);
        for (int i = 0; i < 11; i++)
            landed[i][fold[i]]++;
    }
    bool fair = true;
    for (int i = 0; i < 11; i++)
        for (int f = 0; f < 5; f++)
            fair = fair && fabs(landed[i][f] - 400 * (labels[i] ? 1.0 / 5 : f ? 1.0 / 6 : 1.0 / 3)) < 50;
    ok(fair, "no row prefers a fold");
}

int main(void)
{
    folds(4, 2, 2);
    folds(23, 3, 5);
    folds(1000, 10, 5);
    folds(1003, 7, 10);
    folds(337, 5, 37);
    folds_refused();
    unbiased();
    split(37, 3, 0.2);
    split(1001, 10, 0.1);
    split(1000, 50, 0.25);
    split(200, 60, 0.1);
    split_refused();
    few_shot();
    return done();
}
