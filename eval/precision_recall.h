/* Precision, recall and F1 of each class and their means, from three counts a class: how many rows are of it
 * (support), how many were predicted as it, how many of those rightly. A ratio that is undefined (a class
 * never predicted, or without rows) counts as 0, as in scikit-learn with zero_division=0. */
#ifndef DUET_EVAL_PRECISION_RECALL_H
#define DUET_EVAL_PRECISION_RECALL_H

#include <stddef.h>

typedef struct dt_prf {
    double precision; /* right / predicted */
    double recall;    /* right / support */
    double f1;        /* their harmonic mean, 2 right / (support + predicted) */
} dt_prf;

dt_prf dt_prf_of(size_t support, size_t predicted, size_t right);

typedef struct dt_prf_means {
    dt_prf macro;    /* over all classes, those without rows included */
    dt_prf micro;    /* of the counts summed over the classes; all three equal the accuracy */
    dt_prf weighted; /* over the classes, each weighted by its support */
} dt_prf_means;

/* support, predicted and right are [classes]. */
dt_prf_means dt_prf_mean(const size_t *support, const size_t *predicted, const size_t *right, size_t classes);

/* The mean recall of the classes that have rows (*seen of them; NULL is allowed): what scikit-learn calls
 * balanced accuracy. Without rows: 0. */
double dt_mean_recall(const size_t *support, const size_t *right, size_t classes, size_t *seen);

#endif
