/* Classification losses. */
#ifndef DUET_LOSSES_CLASSIFICATION_H
#define DUET_LOSSES_CLASSIFICATION_H

#include "kernels/ops.h"

/* Mean over rows of the cross-entropy between softmax(logits) and (1 - smoothing) one-hot(label) + smoothing / classes
 * (Szegedy et al., 2016). logits [n, classes], labels int32 [n], smoothing in [0, 1) -> scalar. */
dt_tensor *dt_cross_entropy(dt_tensor *logits, dt_tensor *labels, float smoothing);

#endif
