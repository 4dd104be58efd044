/* The sum of a matrix's rows, for kernels that need it beside others. */
#ifndef DUET_KERNELS_CUDA_SUM_H
#define DUET_KERNELS_CUDA_SUM_H

#include "kernels/cuda/launch.h"

/* y [columns] = the sum of the rows of x [rows, columns], float32 or bfloat16, as dt_op_sum takes it. */
void dt_cuda_sum_rows(const void *x, dt_dtype type, int64_t rows, int64_t columns, void *workspace, float *y);

size_t dt_cuda_sum_rows_workspace(int64_t rows, int64_t columns); /* bytes */

#endif
