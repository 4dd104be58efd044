/* A classifier: a linear head on one tower of a model. */
#ifndef DUET_ENCODERS_CLASSIFIER_H
#define DUET_ENCODERS_CLASSIFIER_H

#include "encoders/clip.h"

typedef enum { DT_TOWER_IMAGE, DT_TOWER_TEXT } dt_tower;

typedef struct dt_head_config {
    int classes; /* 0: no head */
    dt_tower tower;
    bool on_embedding; /* the head sees the unit embedding, as class prompts do; else the features before the projection */
} dt_head_config;

/* samples: images [n, size, size, 3] or tokens int32 [n, context] -> logits [n, classes]. Parameters: the tower's,
 * head.weight [classes, width] and head.bias [classes], which start at zero: every class is equally likely. */
dt_tensor *dt_classifier(dt_scope scope, const dt_clip_config *config, const dt_head_config *head, dt_tensor *samples,
                         bool training);

#endif
