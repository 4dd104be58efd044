/* Layer norm, for the table of kernels/cuda/norm.cu. */
#ifndef DUET_KERNELS_CUDA_LAYER_NORM_H
#define DUET_KERNELS_CUDA_LAYER_NORM_H

#include "kernels/cuda/launch.h"

void dt_cuda_layer_norm(const dt_call *call);
void dt_cuda_layer_norm_grad(const dt_call *call);
bool dt_cuda_prepare_layer_norm_grad(dt_preparation *preparation);

#endif
