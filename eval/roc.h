/* The area under the receiver operating characteristic of two classes: the chance that a random row of the
 * positive class has a higher score than a random row of the other, equal scores counting one half (the
 * Mann-Whitney statistic; Hanley and McNeil, Radiology 143, 1982). */
#ifndef DUET_EVAL_ROC_H
#define DUET_EVAL_ROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A row on its way through the ranking. */
typedef struct dt_roc_row {
    double score; /* not NaN */
    size_t row;   /* its number, for `times` below */
    bool positive;
} dt_roc_row;

/* Sorts by score; of equal scores the lower row number comes first. */
void dt_roc_sort(dt_roc_row *rows, size_t n);

/* The area for rows that dt_roc_sort has sorted. times [n], by row number, says how often each row counts (a
 * bootstrap's resample); NULL: once. NaN where one of the two classes does not occur. */
double dt_roc_area(const dt_roc_row *rows, size_t n, const uint32_t *times);

#endif
