/* Queries answered from a data set's embeddings, which are computed once: the images nearest to a text or to
 * a picture, the captions nearest to a picture. */
#ifndef DUET_EVAL_QUERIES_H
#define DUET_EVAL_QUERIES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "eval/classes.h"
#include "eval/dataset.h"

typedef enum dt_query_kind {
    DT_QUERY_TEXT,
    DT_QUERY_IMAGE, /* an image of the data */
    DT_QUERY_FILE,  /* a picture file */
} dt_query_kind;

typedef struct dt_query {
    dt_query_kind kind;
    const char *text; /* the query, the path of the file, or what the image is called; borrowed */
    size_t image;     /* of DT_QUERY_IMAGE */
} dt_query;

typedef struct dt_hit_found {
    size_t index; /* of the image; of a caption's first image */
    float score;  /* cosine of the angle between the two */
    /* Whether the query is one of the image's captions or its class's name or prompt, letters' case aside; of
     * two images, whether they have the same class; of a caption, whether it is one of the image's. -1: it is
     * so of no image of the data, so that there is nothing to be right about. */
    int correct;
    char text[256]; /* dt_dataset_describe; of a caption, the caption */
} dt_hit_found;

typedef struct dt_query_found {
    const char *query; /* its text; borrowed */
    dt_query_kind kind;
    size_t image;       /* as in dt_query */
    dt_hit_found *hits; /* best first */
    size_t count;
} dt_query_found;

/* What is searched; all borrowed. */
typedef struct dt_searched {
    const dt_dataset *data;
    const float *images; /* [dt_dataset_count, dim] */
    size_t dim;
    const dt_captions *captions; /* all captions of the data */
    const dt_classes *classes;   /* NULL, or other names and prompts for the data's labels, ... */
    const int32_t *class_of;     /* ... and which of them each label is */
} dt_searched;

/* The images nearest to each query [count], embedded as rows [count, dim]; at most `top`, and as many as
 * there are. An image does not find itself. The caller frees found[count] with dt_queries_free; after a
 * failure they are empty. */
bool dt_queries_answer(const dt_searched *searched, const dt_query *queries, size_t count, const float *rows,
                       size_t top, dt_query_found *found, dt_error *error);

/* Captions to be found: each text once. */
typedef struct dt_caption_index {
    const char **texts; /* [count]; borrowed from the captions */
    int32_t *images;    /* the first image of each */
    size_t count;
} dt_caption_index;
bool dt_caption_index_make(const dt_captions *captions, dt_caption_index *index, dt_error *error);
void dt_caption_index_free(dt_caption_index *index); /* zeroes it */

/* The captions, embedded as texts [index->count, dim], nearest to each query, which is a picture; otherwise
 * the same. */
bool dt_queries_caption(const dt_searched *searched, const dt_caption_index *index, const float *texts,
                        const dt_query *queries, size_t count, const float *rows, size_t top,
                        dt_query_found *found, dt_error *error);

void dt_queries_free(dt_query_found *found, size_t count); /* what they hold, not the list */

/* The item of a "galleries" list (eval/findings.h). The caller owns the reference. NULL: no memory, or a name
 * that is not UTF-8. */
json_t *dt_query_json(const dt_query_found *found, const char *store);

#endif
