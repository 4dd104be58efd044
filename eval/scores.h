/* Figures of an evaluation while they are being made: each with what it is the mean of and the level of
 * chance. */
#ifndef DUET_EVAL_SCORES_H
#define DUET_EVAL_SCORES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct dt_score {
    char key[96];  /* for logs: "top1", "accuracy_gender", "text_to_image_r5" */
    char name[96]; /* for people: "top-1 accuracy" */
    double value;  /* a share in 0 .. 1; of ranks a rank, from 1 */
    size_t n;      /* what it is the share or the mean of: images; for text to image, captions */
    double chance; /* the value of guessing: 1 / classes, 1 / values of an attribute, dt_retrieval_way's; NaN: not stated */
    double low, high; /* 95 % bootstrap interval; NaN: not known */
    bool rank;        /* a median or mean rank */
    char note[128];
} dt_score;

/* The next of a list that has room for it; its note is empty, to be filled in. */
dt_score *dt_score_add(dt_score *scores, size_t *count, const char *key, const char *name, double value,
                       size_t n, double chance);

/* [{"key", "name", "value", "n", "chance", "note", "rank": true where it is one}, ...], with "SET: " before
 * each name where set is not NULL. The caller owns the reference. NULL: no memory, or a set's name that is
 * not UTF-8. */
json_t *dt_scores_json(const dt_score *scores, size_t count, const char *set);

#endif
