/* Giving a model a classification head. */
#ifndef DUET_EVAL_HEAD_H
#define DUET_EVAL_HEAD_H

#include "eval/classes.h"
#include "eval/model.h"

/* A head for `count` classes of those names, whose parameters are zero: on the tower's unit embedding, or on its features
 * before the projection. What head the model had is gone. *model is replaced, and freed and NULL after a failure; so
 * below. */
bool dt_model_head_new(dt_model **model, dt_tower tower, bool on_embedding, const char *const *names, size_t count,
                       dt_error *error);

/* A head that tells the tower's samples apart as the model does zero-shot: the embeddings of the classes' prompts
 * (dt_classes_embed, `batch` texts at a time) times exp(logit_scale). */
bool dt_model_head_from_classes(dt_model **model, dt_tower tower, const dt_classes *classes, const char *const *templates,
                                size_t template_count, const dt_backend *backend, int batch, dt_progress progress,
                                dt_error *error);

#endif
