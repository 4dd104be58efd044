/* Elements of less than a word, and several at once: what the simulator finds wrong with them, and what it must let
 * pass. */
#include "tests/cudasim_room.h"

#include "kernels/cuda/launch.h"

namespace
{

enum { N = 1024 };

/* ---- Kernels ---- */

__global__ void halves(uint16_t *x)
{
    x[blockIdx.x * blockDim.x + threadIdx.x] = (uint16_t)threadIdx.x;
}

__global__ void halves_twice(uint16_t *x)
{
    x[threadIdx.x % 32] = (uint16_t)threadIdx.x;
}

__global__ void read_half(const uint16_t *x, float *y)
{
    y[threadIdx.x] = x[threadIdx.x];
}

__global__ void every_second_half(uint16_t *x)
{
    if (threadIdx.x % 2 == 0)
        x[threadIdx.x] = 1;
}

__global__ void half_of_a_shared_word(float *x)
{
    SHARED(uint16_t, room, 64);
    if (threadIdx.x != 33)
        room[threadIdx.x] = 1;
    __syncthreads();
    x[threadIdx.x] = room[threadIdx.x];
}

/* Words that are written by halves, read whole, written whole, and read by halves, always by other threads. */
__global__ void halves_and_words(float *x)
{
    SHARED(uint16_t, room, 128);
    uint32_t *words = reinterpret_cast<uint32_t *>(room);
    unsigned i = threadIdx.x;
    room[i] = room[i + 64] = (uint16_t)i;
    __syncthreads();
    uint32_t word = words[63 - i];
    __syncthreads();
    words[i] = word;
    __syncthreads();
    x[i] = (float)room[127 - i] + (float)room[i];
}

__global__ void fours_without_barrier(float *x)
{
    SHARED(dt_four<dt_bf16>, room, 32);
    dt_bf16 *halves_of = room->of;
    float four[4] = {1, 2, 3, 4};
    dt_store4(halves_of, 4 * threadIdx.x, four);
    x[threadIdx.x] = dt_load(halves_of, 127 - threadIdx.x);
}

template <class T> __global__ void fours(const T *x, int shift_x, T *y, int shift_y)
{
    float four[4];
    dt_load4(x + shift_x, 4 * threadIdx.x, four);
    for (int k = 0; k < 4; k++)
        four[k] = four[k] * 3 + (float)k;
    dt_store4(y + shift_y, 4 * threadIdx.x, four);
}

__global__ void bytes(uint8_t *x)
{
    x[threadIdx.x] = (uint8_t)threadIdx.x;
}

__global__ void copy_words(const float *x, float *y)
{
    y[threadIdx.x] = x[threadIdx.x];
}

/* ---- Runs ---- */

void test_halves(void)
{
    static uint16_t *fresh, *words, *single;
    for (uint16_t **made : {&fresh, &words, &single})
        *made = fresh_memory<uint16_t>(256);
    expect_none("halves of words", [] { LAUNCH(halves, 3, 33, 0, reinterpret_cast<uint16_t *>(device)); });
    expect("a half that two threads write", [] { LAUNCH(halves_twice, 1, 64, 0, reinterpret_cast<uint16_t *>(device)); },
           "with no barrier in between", "halves_twice writes byte ");
    expect("a shared half that nothing wrote", [] { LAUNCH(half_of_a_shared_word, 1, 64, 0, device); },
           "byte 66 of shared room", "nothing has written");
    expect_none("half the halves", [] { LAUNCH(every_second_half, 1, 64, 0, fresh); });
    expect("words of which half is written",
           [] { LAUNCH(copy_words, 1, 32, 0, reinterpret_cast<float *>(fresh), device); }, "nothing has written", "reads");
    expect("halves beside written ones", [] { LAUNCH(read_half, 1, 2, 0, fresh, device); }, "reads byte 2",
           "nothing has written");
    expect("a copy of them", [] {
        static float host[4];
        cudaMemcpyAsync(host, fresh, sizeof host, cudaMemcpyDeviceToHost, stream);
    }, "nothing has written", "cudaMemcpyAsync");
    cudaMemsetAsync(fresh + 1, 0, 2, stream);
    expect_none("halves that a copy wrote", [] { LAUNCH(read_half, 1, 3, 0, fresh, device); });
    expect("the byte behind an odd number of them", [] {
        cudaMemsetAsync(fresh + 10, 0, 3, stream);
        LAUNCH(read_half, 1, 1, 0, fresh + 11, device);
    }, "nothing has written", "reads byte 22");
    expect_none("halves and words", [] { LAUNCH(halves_and_words, 1, 64, 0, device); });
    expect_none("halves of words that were written whole", [] {
        cudaMemsetAsync(words, 0, 256, stream);
        LAUNCH(read_half, 1, 64, 0, words, device);
        LAUNCH(read_half, 1, 63, 0, words + 1, device);
    });
    expect_none("bytes", [] { LAUNCH(bytes, 1, 64, 0, reinterpret_cast<uint8_t *>(single)); });
    expect_none("halves of bytes", [] { LAUNCH(read_half, 1, 32, 0, single, device); });
    expect("a half of which one byte is written", [] {
        LAUNCH(bytes, 1, 13, 0, reinterpret_cast<uint8_t *>(single + 64));
        LAUNCH(read_half, 1, 7, 0, single + 64, device);
    }, "reads byte 140", "nothing has written");
    cudaFree(fresh);
    cudaFree(words);
    cudaFree(single);
}

void test_fours(void)
{
    static dt_bf16 *narrow;
    narrow = reinterpret_cast<dt_bf16 *>(device);
    expect_none("four halves", [] { LAUNCH(fours<dt_bf16>, 1, 64, 0, narrow, 4, narrow + N, 8); });
    expect_none("four words", [] { LAUNCH(fours<float>, 1, 64, 0, device, 4, other, 8); });
    expect("four halves and no barrier", [] { LAUNCH(fours_without_barrier, 1, 32, 0, device); },
           "fours_without_barrier reads", "shared room");
    expect("four halves, misaligned", [] { LAUNCH(fours<dt_bf16>, 1, 32, 0, narrow, 2, narrow + N, 0); }, "no multiple of 8",
           "reads");
    expect("four words, misaligned", [] { LAUNCH(fours<float>, 1, 32, 0, device, 2, other, 0); }, "no multiple of 16", "reads");
    expect("four halves to a misaligned place", [] { LAUNCH(fours<dt_bf16>, 1, 32, 0, narrow, 0, narrow + N, 1); },
           "no multiple of 8", "writes");
    expect("four words to a misaligned place", [] { LAUNCH(fours<float>, 1, 32, 0, device, 0, other, 1); }, "no multiple of 16",
           "writes");
}

} // namespace

int main()
{
    make_room(N);
    test_halves();
    test_fours();
    return done();
}
