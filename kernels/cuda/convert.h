/* Conversion of rows that are to lie apart; for one stretch there is dt_cuda_convert (launch.h). */
#ifndef DUET_KERNELS_CUDA_CONVERT_H
#define DUET_KERNELS_CUDA_CONVERT_H

#include "kernels/cuda/launch.h"

/* Enqueues to[r stride + i] = from[r width + i], float32 or bfloat16 each; what lies between the rows stays as it is. */
void dt_cuda_convert_rows(void *to, dt_dtype to_type, int64_t stride, const void *from, dt_dtype from_type, int64_t rows,
                          int64_t width);

#endif
