#include "eval/metrics.h"

#include <math.h>
#include <stdlib.h>


struct dt_classification {
    size_t classes, rows;
    size_t *ranks; /* [classes]: rows with that rank */
    size_t *support, *predicted, *right;
    size_t *confusion; /* [classes, classes] or NULL */
};

dt_classification *dt_classification_new(size_t classes, bool confusion, dt_error *error)
{
    size_t cells = 0;
    if (!classes || classes > INT32_MAX || (confusion && __builtin_mul_overflow(classes, classes, &cells))) {
        dt_fail(error, "cannot count %zu classes; expected 1 to %d", classes, INT32_MAX);
        return NULL;
    }
    dt_classification *counts = calloc(1, sizeof *counts);
    if (counts) {
        counts->classes = classes;
        counts->ranks = calloc(classes, sizeof *counts->ranks);
        counts->support = calloc(classes, sizeof *counts->support);
        counts->predicted = calloc(classes, sizeof *counts->predicted);
        counts->right = calloc(classes, sizeof *counts->right);
        counts->confusion = confusion ? calloc(cells, sizeof *counts->confusion) : NULL;
    }
    if (!counts || !counts->ranks || !counts->support || !counts->predicted || !counts->right ||
        (confusion && !counts->confusion)) {
        dt_classification_free(counts);
        dt_fail(error, "no memory to count %zu classes", classes);
        return NULL;
    }
    return counts;
}

void dt_classification_free(dt_classification *counts)
{
    if (!counts)
        return;
    free(counts->ranks);
    free(counts->support);
    free(counts->predicted);
    free(counts->right);
    free(counts->confusion);
    free(counts);
}

bool dt_classification_add_row(dt_classification *counts, const float *scores, int32_t label,
                               int32_t *predicted, size_t *rank, dt_error *error)
{
    if (label < 0 || (size_t)label >= counts->classes)
        return dt_fail(error, "row %zu has label %d; expected 0 to %zu", counts->rows, label,
                       counts->classes - 1);
    size_t best = 0, before = 0;
    for (size_t c = 0; c < counts->classes; c++) {
        if (isnan(scores[c]))
            return dt_fail(error,
                           "the score of row %zu for class %zu is not a number; the model has diverged",
                           counts->rows, c);
        before += scores[c] > scores[label] || (scores[c] == scores[label] && c < (size_t)label);
        if (scores[c] > scores[best])
            best = c;
    }
    counts->rows++;
    counts->ranks[before]++;
    counts->support[label]++;
    counts->predicted[best]++;
    counts->right[label] += best == (size_t)label;
    if (counts->confusion)
        counts->confusion[(size_t)label * counts->classes + best]++;
    *predicted = (int32_t)best;
    *rank = before;
    return true;
}

bool dt_classification_add(dt_classification *counts, const float *scores, size_t rows, const int32_t *labels,
                           int32_t *predictions, dt_error *error)
{
    for (size_t i = 0; i < rows; i++) {
        int32_t predicted;
        size_t rank;
        if (!dt_classification_add_row(counts, scores + i * counts->classes, labels[i], &predicted, &rank,
                                       error))
            return false;
        if (predictions)
            predictions[i] = predicted;
    }
    return true;
}

double dt_classification_top(const dt_classification *counts, size_t k)
{
    size_t found = 0;
    for (size_t rank = 0; rank < k && rank < counts->classes; rank++)
        found += counts->ranks[rank];
    return counts->rows ? (double)found / (double)counts->rows : 0;
}

double dt_classification_mean_recall(const dt_classification *counts, size_t *seen)
{
    return dt_mean_recall(counts->support, counts->right, counts->classes, seen);
}

dt_prf dt_classification_prf(const dt_classification *counts, size_t class)
{
    return dt_prf_of(counts->support[class], counts->predicted[class], counts->right[class]);
}

dt_prf_means dt_classification_means(const dt_classification *counts)
{
    return dt_prf_mean(counts->support, counts->predicted, counts->right, counts->classes);
}

const size_t *dt_classification_support(const dt_classification *counts)
{
    return counts->support;
}

const size_t *dt_classification_confusion(const dt_classification *counts)
{
    return counts->confusion;
}
