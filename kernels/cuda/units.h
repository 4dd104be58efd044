/* Bytes that are moved as they are go by units: as many bytes, up to 16, as divide all lengths, distances and addresses. */
#ifndef DUET_KERNELS_CUDA_UNITS_H
#define DUET_KERNELS_CUDA_UNITS_H

#include "kernels/cuda/launch.h"

struct alignas(16) dt_unit16 {
    uint32_t of[4];
};

static inline uint64_t dt_address(const void *memory)
{
    return reinterpret_cast<uintptr_t>(memory);
}

/* Calls visit with a zero of the largest unit that divides all that was or-ed into `bytes`. */
template <class Visit> static inline void dt_by_unit(uint64_t bytes, Visit visit)
{
    if (bytes % 16 == 0)
        visit(dt_unit16{});
    else if (bytes % 4 == 0)
        visit(uint32_t{});
    else
        visit(uint16_t{});
}

#endif
