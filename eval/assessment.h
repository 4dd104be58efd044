/* The one place where a classifier's scores become figures: zero-shot, linear probe and fine-tuning.
 *
 *     dt_assessment_options options = {.name = "CIFAR-10 test, probe", .classes = 10, .class_names = names};
 *     dt_assessment *a = dt_assessment_new(&options, &error);
 *     for each block of rows
 *         dt_assessment_add(a, scores, labels, NULL, rows, &error);
 *     json_t *found = dt_assessment_json(a, &error);   ... into evaluation.json (eval/findings.h)
 *     dt_assessment_free(a);
 *
 * Scores come in blocks and are not kept; 40 bytes a labelled row are. */
#ifndef DUET_EVAL_ASSESSMENT_H
#define DUET_EVAL_ASSESSMENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"
#include "eval/metrics.h"

typedef struct dt_assessment_options { /* texts are borrowed until the assessment is freed */
    const char *name;                  /* of set and method, put before names; UTF-8; NULL: nothing */
    const char *store;                 /* path of the images, for looking at confused ones; NULL: "" */
    size_t classes;
    const char *const *class_names; /* [classes]; NULL, or what is no UTF-8: "class 3" */
    double scale;                   /* factor on scores before the softmax that gives confidences; 0: 1 */
    uint64_t seed;                  /* of the bootstrap */
    int resamples;                  /* 0: DT_BOOTSTRAP_DRAWS; negative: no intervals */
    bool confusion;                 /* whether to say which classes are taken for which */
} dt_assessment_options;

/* A labelled row, after its scores have gone. */
typedef struct dt_assessed {
    size_t index;      /* in the store */
    double confidence; /* probability of the predicted class (eval/calibration.h) */
    double margin;     /* of two classes the score of class 1 less that of class 0; else 0 */
    int32_t truth;     /* its label */
    int32_t predicted; /* the class with the highest score (eval/metrics.h) */
    int32_t rank;      /* of the true class, 0: predicted */
    int32_t confidence_bin;
} dt_assessed;

typedef struct dt_assessment { /* to be looked at, not written */
    dt_assessment_options options;
    dt_classification *counts; /* with a table where `confusion` and at most DT_CONFUSION_CLASSES */
    dt_assessed *samples;      /* [n], in the order of adding */
    size_t n, capacity;
    size_t passed_over; /* rows without a label */
} dt_assessment;

/* NULL: no classes or too many, a scale that is not positive and finite, a name not UTF-8, no memory. */
dt_assessment *dt_assessment_new(const dt_assessment_options *options, dt_error *error);
void dt_assessment_free(dt_assessment *assessment); /* NULL is allowed */

/* Scores [rows, classes], labels [rows] in -1 .. classes-1, indices [rows] of the samples in the store (NULL:
 * rows are numbered as they come, those passed over included). A row with label -1 is passed over, whatever
 * its scores. A label out of range and a score that is NaN are errors; the rows before have then been
 * counted. */
bool dt_assessment_add(dt_assessment *assessment, const float *scores, const int32_t *labels,
                       const size_t *indices, size_t rows, dt_error *error);

/* The same with scores = embeddings [rows, dim] x weights [classes, dim] transposed, a block at a time; equal embeddings get
 * equal scores. */
bool dt_assessment_add_embeddings(dt_assessment *assessment, const float *embeddings, const float *weights, size_t dim,
                                  const int32_t *labels, const size_t *indices, size_t rows, dt_error *error);

/* The figures, a list in this order; NAME is the options', with ": ".
 *   key                name                               note
 *   top1               NAME: top-1 accuracy               among 10 classes
 *   top5               NAME: top-5 accuracy               among 10 classes      (if more than 5)
 *   mean_class_recall  NAME: mean per-class recall        over the 10 classes that occur
 *   macro_f1           NAME: macro F1                     over all 10 classes
 *   weighted_f1        NAME: weighted F1                  classes weighted by their rows
 *   ece                NAME: expected calibration error   15 bins; less is better
 *   roc_auc            NAME: ROC-AUC                      of cat against dog   (if both occur)
 * Each has value, n (the labelled rows), and for accuracies, mean recall and ROC-AUC the chance level; low
 * and high are the 95 % bootstrap interval (eval/bootstrap.h), left out where drawing again changes the figure itself
 * (dt_bounds_hold): of both F1 over classes with few rows each, of a calibration error that is mostly noise.
 * The caller owns the reference. NULL: no labelled row, no memory. */
json_t *dt_assessment_figures(const dt_assessment *assessment, dt_error *error);

/* {"labelled": n, "passed_over": n,
 *  "figures":     as above,
 *  "confusions":  one, if asked for and of at most DT_FINDINGS_MOST classes: the table up to
 *                 DT_CONFUSION_CLASSES; the 12 pairs most often confused, with the rows in which the model
 *                 was most sure of itself,
 *  "reliability": one,
 *  "tables":      one, by class; of more than 200 classes the 100 lowest recalls}
 * in the shape of eval/findings.h. Names: NAME, NAME, and "NAME, by class". Owned and failing as above. */
json_t *dt_assessment_json(const dt_assessment *assessment, dt_error *error);

#endif
