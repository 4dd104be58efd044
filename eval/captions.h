/* The images and captions of a data set, found by each other. */
#ifndef DUET_EVAL_CAPTIONS_H
#define DUET_EVAL_CAPTIONS_H

#include "eval/dataset.h"
#include "eval/retrieval.h"
#include "eval/scores.h"

enum { DT_RETRIEVAL_SCORES = 2 * (DT_RECALLS + 2) };

/* Embeds the first `each` captions of every image (0: all), `batch` at a time, and ranks them and the images, whose
 * embeddings are images [count, embed_dim], both ways (eval/retrieval.h), with `intervals` where they are wanted. *count:
 * captions. *map (NULL: not wanted) gets the map of both (eval/map.h), called map_name, which the caller frees with
 * json_decref. False also where there are no captions. */
bool dt_captions_retrieve(const dt_dataset *data, const float *images, dt_model *model, const dt_backend *backend,
                          int batch, size_t each, bool intervals, dt_progress progress, dt_retrieval *found, size_t *count,
                          const char *map_name, json_t **map, dt_error *error);

/* Adds DT_RETRIEVAL_SCORES figures to a list that has room for them (eval/scores.h): image_to_text_r1, _r5,
 * _r10, _median_rank, _mean_rank, and the same with text_to_image. */
void dt_retrieval_scores(const dt_retrieval *found, dt_score *scores, size_t *count);

#endif
