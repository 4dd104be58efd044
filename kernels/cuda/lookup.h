/* Lookups by ids: the part of the shape family that looks at what its operands hold. Ids that are out of range raise the alarm
 * which is the kernel's state, and count as rows of zeros. */
#ifndef DUET_KERNELS_CUDA_LOOKUP_H
#define DUET_KERNELS_CUDA_LOOKUP_H

#include "kernels/cuda/divide.h"

/* An alarm for indices that are not in 0..rows-1, as the state. False: see the message. */
bool dt_lookup_alarm(dt_preparation *preparation, int64_t rows);

bool dt_lookup_prepare(dt_preparation *preparation); /* of embedding, gather and gather_grad */
bool dt_embedding_grad_prepare(dt_preparation *preparation);

void dt_embedding_run(const dt_call *call);
void dt_embedding_grad_run(const dt_call *call);
void dt_gather_run(const dt_call *call);
void dt_gather_grad_run(const dt_call *call);

/* ---- What their kernels share ---- */

static __device__ __forceinline__ bool dt_is_row(int32_t id, int64_t rows)
{
    return id >= 0 && id < rows;
}

#endif
