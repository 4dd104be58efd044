/* Every op that a model may record, family by family. Each header is the manual of its family. */
#ifndef DUET_KERNELS_OPS_H
#define DUET_KERNELS_OPS_H

#include "kernels/ops/attention.h"
#include "kernels/ops/contrastive.h"
#include "kernels/ops/conv.h"
#include "kernels/ops/likelihood.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/norm.h"
#include "kernels/ops/pixels.h"
#include "kernels/ops/pointwise.h"
#include "kernels/ops/pool.h"
#include "kernels/ops/random.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/resize.h"
#include "kernels/ops/shape.h"

#endif
