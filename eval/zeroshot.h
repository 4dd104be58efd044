/* Zero-shot evaluation: classes named by prompts, captions and images found by each other, images found by
 * typed text.
 *
 *     dt_zeroshot_options options = {.data = data, .retrieval = true, .batch = 128};
 *     dt_zeroshot_result result;
 *     if (dt_zeroshot_run(model, &options, &result, &error))
 *         ... dt_zeroshot_json(&result) ...
 *     dt_zeroshot_free(&result);
 */
#ifndef DUET_EVAL_ZEROSHOT_H
#define DUET_EVAL_ZEROSHOT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"
#include "eval/classes.h"
#include "eval/dataset.h"
#include "eval/model.h"
#include "eval/queries.h"
#include "eval/scores.h"

typedef struct dt_zeroshot_options { /* everything is borrowed */
    const dt_dataset *data;
    const char *name; /* of the set, put before each figure's name in JSON: "NAME: top-1 accuracy"; NULL: nothing */

    const dt_classes *classes; /* NULL: those that the data names, where its images have labels */
    const char *const *templates;
    size_t template_count; /* 0: DT_DEFAULT_TEMPLATE; must be 0 for classes with prompts */

    bool retrieval;       /* between the images and their captions */
    size_t captions_each; /* only the first so many of an image count; 0: all */

    const char *const *queries; /* texts to find images for */
    size_t query_count;
    size_t top; /* images of a query; 0: 5 */

    const float *images; /* [count, embed_dim]: the images' embeddings, where they are there already; NULL: computed */
    bool details;        /* also the confusions, the calibration, the classes one by one, and the map of both towers */
    bool intervals;      /* of the figures of classes and the recalls */

    const dt_backend *backend; /* NULL: dt_cpu() */
    int batch;                 /* samples that an encoder takes at a time; 0: 128 */
    int threads;               /* that decode; 0: one a processor */
    dt_progress progress;
} dt_zeroshot_options;

enum { DT_SCORES_MAX = 64 };

typedef struct dt_zeroshot_result {
    const char *data; /* its path, the dataset's */
    const char *name; /* the options' */
    size_t images, labelled, classes, captions;
    dt_score scores[DT_SCORES_MAX];
    size_t score_count;
    dt_query_found *queries;
    size_t query_count;
    json_t *details; /* "confusions", "reliability", "tables", "maps" (eval/findings.h); NULL: not asked for */
} dt_zeroshot_result;

/* Computes, in this order:
 *   of the images with a label, the figures of eval/assessment.h: top-1 and top-5 accuracy, mean per-class recall, F1,
 *     calibration, and for each attribute of the classes the share of images whose predicted class has the true value;
 *   with `retrieval`, R@1, R@5, R@10, median and mean rank both ways (eval/retrieval.h);
 *   for each query the images nearest to it.
 * Data without labels is not classified, which is an error where `classes` are given or nothing else is asked for.
 * *result is freed by the caller with dt_zeroshot_free; after a failure it is empty. */
bool dt_zeroshot_run(dt_model *model, const dt_zeroshot_options *options, dt_zeroshot_result *result,
                     dt_error *error);
void dt_zeroshot_free(dt_zeroshot_result *result); /* zeroes it; a zeroed one is allowed */

/* {"data": path, "images": n, "labelled": n, "classes": n, "captions": n, and the lists of eval/findings.h: "figures",
 * "galleries", and those of the details}. The caller owns the reference. NULL: no memory. */
json_t *dt_zeroshot_json(const dt_zeroshot_result *result);

#endif
