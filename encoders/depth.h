/* Where a parameter stands in its tower, for training the last blocks alone or with smaller steps towards the input. */
#ifndef DUET_ENCODERS_DEPTH_H
#define DUET_ENCODERS_DEPTH_H

#include "encoders/classifier.h"

/* Blocks of a tower: transformer or residual blocks. */
int dt_tower_blocks(const dt_clip_config *config, dt_tower tower);

/* The depth, in the classifier that `head` makes of its tower, of the parameter or buffer of that name: 0 before the first
 * block, 1 .. blocks in one, blocks + 1 behind the last (final norm; attention pool; the projection, where the head is on
 * embeddings), blocks + 2 in the head; -1: no part of the classifier. */
int dt_param_depth(const dt_clip_config *config, const dt_head_config *head, const char *name);

#endif
