/* What the tests of the simulator compute in: a stream, and two arrays of N floats that are written. */
#ifndef DUET_TESTS_CUDASIM_ROOM_H
#define DUET_TESTS_CUDASIM_ROOM_H

#include <initializer_list>

#include "tests/cudasim/check.h"

static cudaStream_t stream;
static float *device, *other;

/* Memory of the device, which nothing has written. */
template <class T> T *fresh_memory(size_t bytes)
{
    void *memory;
    cudaMalloc(&memory, bytes);
    return static_cast<T *>(memory);
}

static inline void make_room(size_t floats)
{
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    for (float **made : {&device, &other}) {
        *made = fresh_memory<float>(sizeof(float) * floats);
        cudaMemsetAsync(*made, 0, sizeof(float) * floats, stream);
    }
    cudaStreamSynchronize(stream);
}

#endif
