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

/* V elements as float, of which the first is at i. */
template <int V, class T> static __device__ __forceinline__ void dt_load_some(const T *x, int64_t i, float to[V])
{
    if constexpr (V == 4)
        dt_load4(x, i, to);
    else
        to[0] = dt_load(x, i);
}

template <int V, class T> static __device__ __forceinline__ void dt_store_some(T *x, int64_t i, const float from[V])
{
    if constexpr (V == 4)
        dt_store4(x, i, from);
    else
        dt_store(x, i, from[0]);
}

/* Calls visit with std::integral_constant 4 or 1: the elements that a thread takes at a time. */
template <class Visit> static inline void dt_by_fours(bool fours, Visit visit)
{
    if (fours)
        visit(std::integral_constant<int, 4>{});
    else
        visit(std::integral_constant<int, 1>{});
}

#endif
