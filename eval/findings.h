/* What a run's evaluation found (evaluation.json):
 *
 *   {"figures":   [{"name": text, "value": share, "n": count, "chance": share, "note": text,
 *                   "rank": boolean}, ...],
 *    "galleries": [{"query": text, "store": path of a pair store,
 *                   "hits": [{"index": of the pair, "score": number, "caption": text,
 *                             "correct": boolean or null}, ...]}, ...]}
 *
 * The first figure is the headline. Of a figure name and value are required, of a gallery query, store and
 * hits (best first), of a hit its index. A value outside 0 .. 1, or with a true "rank", is a plain number.
 * Keys that are not listed are passed over. */
#ifndef DUET_EVAL_FINDINGS_H
#define DUET_EVAL_FINDINGS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"

/* Texts are borrowed from the JSON. */
typedef struct dt_figure {
    const char *name, *note; /* note: "" without one */
    double value, chance;    /* chance: NaN where it is not stated */
    int64_t n;               /* -1 where it is not stated */
    bool rank;               /* value and chance are no shares */
} dt_figure;

typedef struct dt_hit {
    size_t index;
    double score;        /* NaN where it is not stated */
    const char *caption; /* NULL: the first of the store's */
    bool judged, correct;
} dt_hit;

typedef struct dt_gallery {
    const char *query, *store;
    dt_hit *hits;
    size_t hit_count;
} dt_gallery;

typedef struct dt_findings {
    json_t *json;
    dt_figure *figures;
    dt_gallery *galleries;
    size_t figure_count, gallery_count;
} dt_findings;

/* False: the file cannot be read, or what is wrong in it. The caller frees with dt_findings_free, also after
 * a failure. */
bool dt_findings_read(dt_findings *findings, const char *path, dt_error *error);
void dt_findings_free(dt_findings *findings); /* zeroes it */

#endif
