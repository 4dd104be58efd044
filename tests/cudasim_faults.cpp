/* The simulator finds what is wrong with a kernel: each fault that it is there for, made on purpose, and right kernels
 * beside them, which it must let pass. */
#include "tests/cudasim_room.h"

#include <sys/wait.h>

namespace
{

enum { N = 1024 };

/* ---- Kernels ---- */

__global__ void fine(float *x, int n)
{
    SHARED(float, room, 64);
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    float value = i < n ? x[i] : 0;
    for (int distance = 16; distance; distance /= 2)
        value += __shfl_xor_sync(0xffffffffu, value, distance);
    room[threadIdx.x] = value;
    __syncthreads();
    if (i < n)
        x[i] = room[(threadIdx.x + 32) % 64];
    __syncwarp();
}

__global__ void beyond_end(float *x, int n)
{
    x[threadIdx.x + 1] = (float)n;
}

__global__ void before_start(float *x, float *y)
{
    y[threadIdx.x] = x[(int)threadIdx.x - 1];
}

__global__ void beyond_shared(float *x)
{
    SHARED(float, room, 32);
    room[threadIdx.x + 1] = 1;
    x[threadIdx.x] = 0;
}

__global__ void beyond_dynamic(float *x)
{
    float *room = static_cast<float *>(cudasim_dynamic_shared());
    room[threadIdx.x] = 1;
    x[threadIdx.x] = room[threadIdx.x];
}

__global__ void uninitialised_shared(float *x)
{
    SHARED(float, room, 64);
    if (threadIdx.x < 63)
        room[threadIdx.x] = 1;
    __syncthreads();
    x[threadIdx.x] = room[threadIdx.x];
}

__global__ void uninitialised_device(const float *x, float *y)
{
    y[threadIdx.x] = x[threadIdx.x];
}

__global__ void divergent(float *x)
{
    if (threadIdx.x < 7)
        __syncthreads();
    else
        __syncthreads();
    x[threadIdx.x] = 0;
}

__global__ void ends_early(float *x)
{
    if (threadIdx.x == 5)
        return;
    __syncthreads();
    x[threadIdx.x] = 0;
}

__global__ void absent_lane(float *x)
{
    float value = 1;
    if (threadIdx.x != 3)
        value = __shfl_xor_sync(0xffffffffu, value, 1);
    x[threadIdx.x] = value;
}

__global__ void lane_outside_of_mask(float *x)
{
    float value = 1;
    if (threadIdx.x < 16)
        value = __shfl_sync(0xffffu, value, 20);
    x[threadIdx.x] = value;
}

__global__ void mask_without_itself(float *x)
{
    x[threadIdx.x] = __shfl_sync(0xffffu, 1.0f, 0);
}

__global__ void half_a_warp(float *x)
{
    x[threadIdx.x] = __shfl_down_sync(0xffffffffu, 1.0f, 1);
}

__global__ void no_barrier(float *x)
{
    SHARED(float, room, 64);
    room[threadIdx.x] = 1;
    x[threadIdx.x] = room[63 - threadIdx.x];
}

__global__ void no_second_barrier(float *x)
{
    SHARED(float, room, 64);
    for (int k = 0; k < 2; k++) {
        room[threadIdx.x] = (float)k;
        __syncthreads();
        x[threadIdx.x] = room[63 - threadIdx.x];
    }
}

__global__ void shuffle_is_no_barrier(float *x)
{
    SHARED(float, room, 32);
    room[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
    x[threadIdx.x] = room[31 - threadIdx.x];
}

__global__ void warp_barrier(float *x)
{
    SHARED(float, room, 64);
    unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    room[threadIdx.x] = 1;
    __syncwarp();
    x[threadIdx.x] = room[warp * 32 + 31 - lane] + room[warp * 32];
    __syncwarp();
    room[threadIdx.x] = 2;
}

__global__ void blocks_meet(float *x)
{
    x[threadIdx.x] = (float)blockIdx.x;
}

__global__ void all_write_one(float *x)
{
    x[0] = 1;
}

__global__ void count_up(int *x)
{
    atomicAdd(x, 1);
}

__global__ void misaligned(char *x)
{
    *reinterpret_cast<float *>(x + 2) = 1;
}

__global__ void count_and_look(int *x, int *y)
{
    if (threadIdx.x < 16)
        atomicAdd(x, 1);
    else
        y[threadIdx.x] = *x;
}

__global__ void blocks_count_and_look(int *x, int *y)
{
    atomicAdd(x, 1);
    if (blockIdx.x == gridDim.x - 1)
        *y = *x;
}

/* All blocks read a part that the last one then changes. */
template <class T> __global__ void in_place(T *x)
{
    T value = x[threadIdx.x];
    __syncthreads();
    if (blockIdx.x == gridDim.x - 1)
        x[threadIdx.x] = (T)(value + 1);
}

/* All have read when the first one writes, but no barrier says so. */
__global__ void read_by_all(float *x)
{
    float value = x[0];
    value += __shfl_xor_sync(0xffffffffu, value, 1);
    if (threadIdx.x == 0)
        x[0] = value;
}

/* ---- Runs ---- */

void test_right_kernels(void)
{
    expect_none("a right kernel", [] { LAUNCH(fine, 16, 64, 0, device, N - 5); });
    expect_none("barriers of warps", [] { LAUNCH(warp_barrier, 1, 64, 0, device); });
    expect_none("counting", [] { LAUNCH(count_up, 7, 33, 0, reinterpret_cast<int *>(other)); });
    int count = 0;
    cudaMemcpyAsync(&count, other, sizeof count, cudaMemcpyDeviceToHost, stream);
    cudaStreamSynchronize(stream);
    ok(count == 3 * 7 * 33, "all threads ran: %d", count);
}

void test_bounds(void)
{
    expect("beyond an allocation", [] { LAUNCH(beyond_end, 1, N, 0, device, 3); }, "writes byte 4096", "(1023, 0, 0)");
    expect("before an allocation", [] { LAUNCH(before_start, 1, 32, 0, device, other); }, "never allocated", "before_start");
    expect("beyond a shared array", [] { LAUNCH(beyond_shared, 1, 32, 0, device); }, "outside of every array", "beyond_shared");
    expect("beyond dynamic shared memory", [] { LAUNCH(beyond_dynamic, 1, 64, 252, device); }, "outside of every array",
           "(63, 0, 0)");
    expect("a misaligned address", [] { LAUNCH(misaligned, 1, 1, 0, reinterpret_cast<char *>(device)); }, "no multiple of 4",
           "misaligned");
    expect("a null pointer", [] { LAUNCH(beyond_end, 1, 1, 0, nullptr, 3); }, "null pointer", "beyond_end");
    static float on_host[64];
    expect("a host pointer", [] { LAUNCH(beyond_end, 1, 1, 0, on_host, 3); }, "host memory", "beyond_end");
    expect("the place is told", [] { LAUNCH(beyond_end, 2, N, 0, device, 3); },
           "launched at tests/cudasim_faults.cpp:", "block (");
    expect("outside of the tensors of a node", [] {
        cudasim_limits limits = {1, {{device, 4 * 32, true}}};
        cudasim_limit(&limits);
        LAUNCH(beyond_end, 1, 32, 0, device, 3);
        cudasim_limit(nullptr);
    }, "writes byte 128", "outside of the node's");
    expect("writing an input", [] {
        cudasim_limits limits = {2, {{device, 4 * N, false}, {other, 4 * N, true}}};
        cudasim_limit(&limits);
        LAUNCH(before_start, 1, 1, 0, other + 1, device);
        cudasim_limit(nullptr);
    }, "writes byte 0", "outside of the node's results");
}

void test_released(void)
{
    static float *gone;
    gone = fresh_memory<float>(4096);
    cudaFree(gone);
    expect("released memory", [] { LAUNCH(beyond_end, 1, 1, 0, gone, 3); }, "released", "beyond_end");
    expect("released twice", [] { cudaFree(gone); }, "no live allocation", "");
}

void test_unwritten(void)
{
    static float *fresh;
    fresh = fresh_memory<float>(256);
    expect("shared memory that nothing wrote", [] { LAUNCH(uninitialised_shared, 1, 64, 0, device); },
           "byte 252 of shared room", "nothing has written");
    expect("device memory that nothing wrote", [] { LAUNCH(uninitialised_device, 1, 32, 0, fresh, device); },
           "nothing has written", "uninitialised_device");
    expect("a copy of it", [] {
        static float host[4];
        cudaMemcpyAsync(host, fresh, sizeof host, cudaMemcpyDeviceToHost, stream);
    }, "nothing has written", "cudaMemcpyAsync");
    cudaFree(fresh);
}

void test_barriers(void)
{
    expect("divergent barriers", [] { LAUNCH(divergent, 1, 64, 0, device); }, "waits for ever at __syncthreads", "divergent");
    expect("a thread that ends before a barrier", [] { LAUNCH(ends_early, 1, 64, 0, device); },
           "thread 5 of the block has ended", "__syncthreads");
    expect("a lane that does not come", [] { LAUNCH(absent_lane, 1, 32, 0, device); }, "lane 3 has ended", "__shfl_xor_sync");
    expect("a lane outside of the mask", [] { LAUNCH(lane_outside_of_mask, 1, 32, 0, device); },
           "lane 20, which is not in the mask", "");
    expect("a mask without the lane itself", [] { LAUNCH(mask_without_itself, 1, 32, 0, device); },
           "does not name its own lane", "");
    expect("lanes that the block does not have", [] { LAUNCH(half_a_warp, 1, 48, 0, device); },
           "which the block does not have", "lane 16");
}

void test_races(void)
{
    expect("no barrier", [] { LAUNCH(no_barrier, 1, 64, 0, device); }, "shared room", "");
    expect("no barrier before the next round", [] { LAUNCH(no_second_barrier, 1, 64, 0, device); },
           "with no barrier in between", "shared room");
    expect("a shuffle is no barrier", [] { LAUNCH(shuffle_is_no_barrier, 1, 32, 0, device); }, "shuffle_is_no_barrier reads",
           "shared room");
    expect("two blocks write one place", [] { LAUNCH(blocks_meet, 2, 32, 0, device); }, "another block wrote", "blocks_meet");
    expect("a block writes what another one reads", [] { LAUNCH(in_place<float>, 3, 32, 0, device); }, "another block",
           "in_place");
    expect("halves that another one reads", [] { LAUNCH(in_place<uint16_t>, 3, 32, 0, reinterpret_cast<uint16_t *>(other)); },
           "another block", "in_place");
    expect("a thread writes what others have read", [] { LAUNCH(read_by_all, 1, 32, 0, device); }, "with no barrier in between",
           "read_by_all writes byte 0");
    expect("all threads write one place", [] { LAUNCH(all_write_one, 1, 32, 0, device); }, "with no barrier in between",
           "all_write_one");
    expect("reading what others count", [] {
        cudaMemsetAsync(other, 0, sizeof(float) * N, stream);
        LAUNCH(count_and_look, 1, 32, 0, reinterpret_cast<int *>(other), reinterpret_cast<int *>(device));
    }, "count_and_look", "with no barrier in between");
    expect("reading what other blocks count", [] {
        LAUNCH(blocks_count_and_look, 3, 1, 0, reinterpret_cast<int *>(other), reinterpret_cast<int *>(device));
    }, "count_and_look", "another block");
}

void test_copies(void)
{
    float host[4] = {1, 2, 3, 4};
    cudaMemcpyAsync(device, host, sizeof host, cudaMemcpyHostToDevice, stream);
    cudaStreamSynchronize(stream);
    LAUNCH(fine, 1, 64, 0, device, 64);
    cudaMemcpyAsync(host, device, sizeof host, cudaMemcpyDeviceToHost, stream);
    ok(isnan(host[0]) && isnan(host[3]), "a result that was not waited for is not a number");
    cudaStreamSynchronize(stream);
    ok(!isnan(host[0]), "and is there after that");
    ok(cudaMemcpyAsync(host, device, sizeof host, cudaMemcpyHostToDevice, stream) == cudaSuccess &&
           cudaStreamSynchronize(stream) != cudaSuccess,
       "a copy in the wrong direction: %s", cudaGetErrorString(cudaErrorLaunchFailure));
    cudasim_reset();
    cudaMemcpyAsync(device + N - 2, host, sizeof host, cudaMemcpyHostToDevice, stream);
    ok(cudaStreamSynchronize(stream) != cudaSuccess, "a copy beyond the end: %s", cudaGetErrorString(cudaErrorLaunchFailure));
    cudasim_reset();
}

/* What no GPU takes, and what is not implemented, is refused at once. */
void test_refusals(void)
{
    LAUNCH(fine, 1, 1056, 0, device, 1);
    ok(cudaGetLastError() == cudaErrorInvalidConfiguration, "too many threads are refused");
    LAUNCH(fine, 0, 32, 0, device, 1);
    ok(cudaGetLastError() == cudaErrorInvalidConfiguration, "an empty grid is refused");
    LAUNCH(fine, 1, 32, 49 << 10, device, 1);
    ok(cudaGetLastError() == cudaErrorInvalidConfiguration, "shared memory beyond 48 KiB is refused");
    ok(cudaFuncSetAttribute(fine, cudaFuncAttributeMaxDynamicSharedMemorySize, 49 << 10) == cudaSuccess,
       "unless it was asked for");
    LAUNCH(fine, 1, 64, 49 << 10, device, 1);
    ok(cudaGetLastError() == cudaSuccess && cudaStreamSynchronize(stream) == cudaSuccess, "before the launch");
    ok(cudaFuncSetAttribute(fine, (cudaFuncAttribute)9, 1) != cudaSuccess, "another attribute is refused");
    cudaGetLastError();
    void *memory;
    cudasim_set_memory(1 << 20);
    ok(cudaMalloc(&memory, 1 << 20) == cudaErrorMemoryAllocation && !memory, "memory comes to an end");
    cudasim_set_memory((size_t)8 << 30);
    cudaGetLastError();
}

/* In a process of its own, for it ends it. */
void test_host_access(void)
{
    fflush(stdout);
    int ends[2], status = 0;
    char text[256] = "";
    bool good = pipe(ends) == 0;
    pid_t child = good ? fork() : -1;
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        volatile float *hidden = device;
        _exit(hidden[3] == 1 ? 4 : 5);
    }
    close(ends[1]);
    good = child > 0 && waitpid(child, &status, 0) == child && read(ends[0], text, sizeof text - 1) > 0;
    ok(good && WIFEXITED(status) && WEXITSTATUS(status) == 1 && strstr(text, "the host touched device memory"),
       "the host cannot read device memory (status %x)", (unsigned)status);
    close(ends[0]);
}

/* A sum whose order matters, and a walk over all blocks: the same bits whatever the turns. */
void test_same_bits(void)
{
    float start[N], first[N], again[N];
    for (int i = 0; i < N; i++)
        start[i] = (float)(i % 37) * 0.37f;
    for (int order = CUDASIM_FORWARD; order <= CUDASIM_RANDOM; order++) {
        cudasim_set_order((cudasim_turns)order);
        cudaMemcpyAsync(device, start, sizeof start, cudaMemcpyHostToDevice, stream);
        LAUNCH(fine, 16, 64, 0, device, N);
        cudaMemcpyAsync(order == CUDASIM_FORWARD ? first : again, device, sizeof start, cudaMemcpyDeviceToHost, stream);
        cudaStreamSynchronize(stream);
        ok(order == CUDASIM_FORWARD ? first[0] > 0 : !memcmp(first, again, sizeof first), "order %d gives the same bits", order);
    }
}

} // namespace

int main()
{
    make_room(N);
    test_right_kernels();
    test_bounds();
    test_released();
    test_unwritten();
    test_barriers();
    test_races();
    test_copies();
    test_refusals();
    test_host_access();
    test_same_bits();
    return done();
}
