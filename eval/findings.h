/* What a run's evaluation found (evaluation.json). Every list is optional:
 *
 *   {"figures":     [{"name": text, "key": text, "value": share, "n": count, "chance": share, "low": share, "high": share,
 *                     "deviation": share, "note": text, "rank": boolean}, ...],
 *    "galleries":   [{"query": text, "store": path of a pair store or folder, "image": {"store": path, "index": n},
 *                     "image_file": path, "hits": [{"index": of the pair, "score": number, "caption": text,
 *                     "correct": boolean or null}, ...]}, ...],
 *    "confusions":  [{"name": text, "n": count, "store": path, "classes": [text, ...], "counts": [[true x predicted], ...],
 *                     "worst": [{"true": label, "predicted": label, "count": n, "of": n,
 *                                "examples": [index, ...]}, ...]}, ...],
 *    "reliability": [{"name": text, "n": count, "ece": number, "bins": [{"low": number, "high": number, "count": n,
 *                     "confidence": number, "accuracy": number}, ...]}, ...],
 *    "tables":      [{"name": text, "n": count, "columns": [text, ...], "rows": [[text or number, ...], ...]}, ...],
 *    "curves":      [{"name": text, "x": text, "y": text, "wide": boolean, "bars": text, "series": [{"name": text, "n": count,
 *                     "points": [[x, y] or [x, y, low, high], ...]}, ...]}, ...],
 *    "maps":        [{"name": text, "n": count, "store": path, "gap": number, "cosine": number, "explained": [share, share],
 *                     "classes": [text, ...], "points": [{"x": number, "y": number, "kind": "image" or "text",
 *                     "label": label or -1, "index": n, "text": text}, ...]}, ...],
 *    "pictures":    [{"name": text, "file": path, "caption": text, "step": n, "group": text}, ...]}
 *
 * The first figure is the headline. A value outside 0 .. 1, or with a true "rank", is a plain number. Keys
 * that are not listed are passed over. What each part means is said at its type below; what is not marked
 * there as perhaps absent is required. The "deviation" of a figure that is a mean over draws is for other
 * readers (duet evaluate) and is not looked at here. */
#ifndef DUET_EVAL_FINDINGS_H
#define DUET_EVAL_FINDINGS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"

/* More than that in a file is refused. */
enum {
    DT_FINDINGS_MOST = 10000,   /* items of a list of the root, hits of a gallery, rows of a table, classes */
    DT_CONFUSION_CLASSES = 128, /* classes of a confusion with counts */
    DT_MISTAKES_MOST = 12,
    DT_EXAMPLES_MOST = 8,
    DT_BINS_MOST = 100,
    DT_COLUMNS_MOST = 24,
    DT_LINES_MOST = 20,         /* series of a curve */
    DT_LINE_POINTS_MOST = 5000, /* points of a series */
    DT_MAP_POINTS_MOST = 10000, /* points of a map */
};

/* Texts are borrowed from the JSON; a count that is not stated is -1, a number NaN, a text "" or, where said,
 * NULL. */

typedef struct dt_figure {
    const char *name, *key, *note; /* key, note: perhaps absent */
    double value, chance;          /* chance: perhaps absent */
    double low, high;              /* the 95 % interval: perhaps absent, both */
    int64_t n;                     /* perhaps absent */
    bool rank;                     /* value and chance are no shares, and low is good */
} dt_figure;

typedef struct dt_hit {
    size_t index;
    double score;        /* perhaps absent */
    const char *caption; /* NULL: the first of the store's */
    bool judged, correct;
} dt_hit;

typedef struct dt_gallery {
    const char *query, *store;
    const char *image_store; /* the query is a picture: of this store, at image_index ... */
    const char *image_file;  /* ... or a file; both perhaps NULL */
    size_t image_index;
    dt_hit *hits; /* best first */
    size_t hit_count;
} dt_gallery;

/* Images of class `truth` that were predicted to be of another. */
typedef struct dt_mistake {
    size_t truth, predicted; /* < class_count */
    int64_t count, of;       /* 0 <= count <= of: images of class `truth` */
    size_t examples[DT_EXAMPLES_MOST];
    size_t example_count;
} dt_mistake;

typedef struct dt_confusion {
    const char *name, *store; /* store: perhaps absent, then no example has a picture */
    int64_t n;                /* perhaps absent */
    const char **classes;
    size_t class_count; /* at least 1 */
    int64_t *counts;    /* [true x predicted], or NULL: not given */
    dt_mistake *worst;
    size_t worst_count;
} dt_confusion;

/* Of the predictions whose confidence lies in low .. high. */
typedef struct dt_bin {
    double low, high; /* 0 <= low < high <= 1; bins do not overlap and rise */
    int64_t count;
    double confidence, accuracy; /* means; not used where count is 0 */
} dt_bin;

typedef struct dt_reliability {
    const char *name;
    int64_t n;  /* perhaps absent */
    double ece; /* expected calibration error; perhaps absent */
    dt_bin *bins;
    size_t bin_count;
} dt_reliability;

typedef struct dt_table {
    const char *name;
    int64_t n; /* perhaps absent */
    const char **columns;
    size_t column_count; /* at least 1 */
    const json_t *rows;  /* lists of column_count texts, numbers or nulls */
} dt_table;

typedef struct dt_dot {
    double x, y;
    double low, high; /* an interval of y: perhaps absent, both */
} dt_dot;

typedef struct dt_line {
    const char *name;
    int64_t n;    /* perhaps absent */
    dt_dot *dots; /* x rises, or stays */
    size_t dot_count;
} dt_line;

typedef struct dt_curve {
    const char *name, *x, *y; /* x, y: titles of the axes */
    const char *bars;         /* what low and high are; "": 95 % intervals */
    bool wide;                /* logarithmic in x; all x are positive */
    dt_line *lines;
    size_t line_count;
} dt_curve;

typedef struct dt_map_point {
    double x, y;
    bool is_text;
    int64_t label;    /* -1, or < class_count where there are classes */
    size_t index;     /* of an image in the store; SIZE_MAX: not stated */
    const char *text; /* a caption; perhaps absent */
} dt_map_point;

/* Embeddings of both towers, projected onto two principal components. */
typedef struct dt_embedding_map {
    const char *name, *store; /* store: perhaps absent */
    int64_t n;                /* pairs; perhaps absent */
    double gap;          /* distance between the centres of the towers' unit embeddings (Liang et al., 2022); perhaps absent */
    double cosine;       /* mean cosine of matching pairs; perhaps absent */
    double explained[2]; /* share of the variance along x and y; perhaps absent */
    const char **classes;
    size_t class_count; /* 0: absent */
    dt_map_point *points;
    size_t point_count;
} dt_embedding_map;

/* A picture that the run made: samples after so many steps, reconstructions beside originals, and the like. */
typedef struct dt_picture_found {
    const char *name;    /* tells it from the others, in dt_findings_merge too: "samples, step 500" */
    const char *file;    /* PNG or JPEG; a path from the run's folder, or absolute */
    const char *caption; /* perhaps absent: then the name is shown */
    const char *group;   /* "samples", "reconstructions", "interpolation", "manifold", ...: shown together; perhaps absent */
    int64_t step;        /* perhaps absent; the pictures of a group that have steps are one series */
} dt_picture_found;

typedef struct dt_findings {
    json_t *json;
    dt_figure *figures;
    dt_gallery *galleries;
    dt_confusion *confusions;
    dt_reliability *reliability;
    dt_table *tables;
    dt_curve *curves;
    dt_embedding_map *maps;
    dt_picture_found *pictures;
    size_t figure_count, gallery_count, confusion_count, reliability_count, table_count, curve_count,
        map_count, picture_count;
    struct dt_findings_block *blocks; /* everything that the pointers above lead to */
} dt_findings;

/* False: the file cannot be read, or what is wrong in it. The caller frees with dt_findings_free, also after
 * a failure. */
bool dt_findings_read(dt_findings *findings, const char *path, dt_error *error);
void dt_findings_free(dt_findings *findings); /* zeroes it */

/* Adds to what each of the figures of such an object notes. */
void dt_findings_note(json_t *found, const char *text);

/* Puts what the lists of such an object hold into an evaluation file, atomically: in place of the item of the
 * same name (galleries: of the same query and store), else at the end. The file is made where there is none;
 * what else it holds stays. False: the file cannot be read or written, or something else than a list stands
 * in it where one is expected. */
bool dt_findings_merge(const char *path, const json_t *found, dt_error *error);

#endif
