/* Memory, copies, the optimizer and errors of the CUDA backend. */
#include "kernels/cuda/launch.h"
#include "kernels/cuda/notes.h"

#include <stdio.h>
#include <string.h>

extern "C" {
extern const dt_kernel *const dt_cuda_families[]; /* collected by the build from kernels/cuda */
}

namespace
{

enum { PARTS = 1024, ALARMS = 256 };

/* An alarm's place in gpu.raised, and what it means. */
struct alarm : dt_alarm {
    bool used;
    char where[DT_MESSAGE], text[DT_MESSAGE]; /* in text %d stands for the place that was raised */
};

/* The device handle. */
struct device {
    cudaStream_t stream, copies; /* where all is computed; where batches arrive meanwhile */
    cudaEvent_t taken;           /* by the stream, of what the copies brought */
    double *parts; /* PARTS partial sums */
    dt_moment *moment;
    int *raised; /* ALARMS words */
    alarm alarms[ALARMS];
    int used;    /* alarms */
    char trouble[DT_MESSAGE];
};

device gpu;

/* The first error is kept until finish tells it: those that follow are mostly its consequences. */
bool good(cudaError_t error, const char *doing)
{
    if (error != cudaSuccess && !gpu.trouble[0])
        snprintf(gpu.trouble, sizeof gpu.trouble, "CUDA, %s: %s", doing, cudaGetErrorString(error));
    return error == cudaSuccess;
}

void *allocate(size_t bytes)
{
    void *memory = NULL;
    if (cudaMalloc(&memory, bytes ? bytes : 1) == cudaSuccess)
        return memory;
    cudaGetLastError(); /* an answer for the caller, not trouble of the device */
    return NULL;
}

void release(void *memory)
{
    good(cudaFree(memory), "releasing memory");
}

void write(void *to, const void *from, size_t bytes)
{
    if (good(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, gpu.stream), "writing"))
        good(cudaStreamSynchronize(gpu.stream), "writing"); /* the host may use `from` again */
}

void read(void *to, const void *from, size_t bytes)
{
    if (good(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, gpu.stream), "reading"))
        good(cudaStreamSynchronize(gpu.stream), "reading");
}

void copy(void *to, const void *from, size_t bytes)
{
    good(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, gpu.stream), "copying");
}

void clear(void *to, size_t bytes)
{
    good(cudaMemsetAsync(to, 0, bytes, gpu.stream), "clearing");
}

void narrow(uint16_t *to, const float *from, size_t count)
{
    dt_cuda_convert(to, DT_BF16, from, DT_F32, (int64_t)count);
    good(cudaGetLastError(), "rounding to bfloat16");
}

__global__ void limit_kernel(float *x, int64_t count, float low, float high)
{
    for (int64_t i = dt_thread(); i < count; i += dt_threads())
        x[i] = x[i] < low ? low : x[i] > high ? high : x[i];
}

void limit(float *x, size_t count, float low, float high)
{
    DT_LAUNCH(limit_kernel, dt_grid((int64_t)count, DT_BLOCK), DT_BLOCK, 0, x, (int64_t)count, low, high);
    good(cudaGetLastError(), "keeping within limits");
}

/* to = keep to + take from. count is a multiple of V. */
template <int V> __global__ void blend_kernel(float *to, const float *from, int64_t count, float keep, float take)
{
    for (int64_t i = dt_thread() * V; i < count; i += dt_threads() * V) {
        float x[V], y[V];
        dt_load_some<V>(to, i, x);
        dt_load_some<V>(from, i, y);
        for (int k = 0; k < V; k++)
            x[k] = keep * x[k] + take * y[k];
        dt_store_some<V>(to, i, x);
    }
}

void blend_and_take(float *to, const float *from, size_t count, float keep, float take)
{
    dt_by_fours(count % 4 == 0 && dt_aligned4(to) && dt_aligned4(from), [&](auto four) {
        DT_LAUNCH(blend_kernel<four()>, dt_grid((int64_t)count, four() * DT_BLOCK), DT_BLOCK, 0, to, from, (int64_t)count, keep,
                  take);
    });
}

void blend(float *to, const float *from, size_t count, float keep)
{
    blend_and_take(to, from, count, keep, 1 - keep);
    good(cudaGetLastError(), "averaging");
}

void add(float *to, const float *from, size_t count)
{
    blend_and_take(to, from, count, 1, 1);
    good(cudaGetLastError(), "adding");
}

__global__ void moment_kernel(dt_moment *to, dt_moment now)
{
    *to = now;
}

void moment(uint64_t seed, uint32_t step)
{
    DT_LAUNCH(moment_kernel, 1, 1, 0, gpu.moment, dt_moment{seed, step});
    good(cudaGetLastError(), "setting seed and step");
}

__global__ void quiet_kernel(int *raised)
{
    raised[threadIdx.x] = DT_QUIET;
}

/* Calls visit with a number of neighbours, as a constant, and where they begin, for all that this thread has of a stretch: four
 * at a time where the stretch allows it, as those of parameters do, which begin and end at multiples of 16. */
template <class Visit> __device__ __forceinline__ void walk_along(const dt_stretch &s, Visit visit)
{
    const int64_t from = (int64_t)s.from, end = from + s.count;
    if ((from | end) % 4 == 0)
        for (int64_t i = from + 4 * threadIdx.x; i < end; i += 4 * DT_BLOCK)
            visit(std::integral_constant<int, 4>(), i);
    else
        for (int64_t i = from + threadIdx.x; i < end; i += DT_BLOCK)
            visit(std::integral_constant<int, 1>(), i);
}

/* Block p of n sums every n-th stretch from its own on; n follows from their number, so that the additions are the same whatever
 * the GPU. */
__global__ void squares_kernel(const float *x, const dt_stretch *stretch, int64_t stretches, double *part)
{
    DT_SHARED(double, room, DT_BLOCK / DT_WARP);
    double sum = 0;
    for (int64_t k = blockIdx.x; k < stretches; k += gridDim.x) {
        walk_along(stretch[k], [&](auto wide, int64_t i) {
            constexpr int V = decltype(wide)::value;
            float v[V];
            dt_load_some<V>(x, i, v);
            for (int e = 0; e < V; e++)
                sum += (double)v[e] * v[e];
        });
    }
    sum = dt_team_reduce<DT_BLOCK>(sum, dt_plus<double>(), room);
    if (threadIdx.x == 0)
        part[blockIdx.x] = sum;
}

__global__ void clip_kernel(const double *part, int parts, float most, const float *loss, dt_clip *to)
{
    DT_SHARED(double, room, DT_BLOCK / DT_WARP);
    double sum = 0;
    for (int i = threadIdx.x; i < parts; i += DT_BLOCK)
        sum += part[i];
    sum = dt_team_reduce<DT_BLOCK>(sum, dt_plus<double>(), room);
    if (threadIdx.x)
        return;
    double norm = sqrt(sum), scale = most > 0 ? most / (norm + 1e-6) : 1;
    to->norm = norm;
    to->scale = scale < 1 ? (float)scale : 1.0f;
    to->finite = norm - norm == 0 && (!loss || *loss - *loss == 0);
}

void clip(dt_clip *to, const float *gradient, const dt_stretch *stretch, size_t stretches, float most, const float *loss)
{
    const int parts = stretches < (size_t)PARTS ? (int)stretches : (int)PARTS;
    if (parts)
        DT_LAUNCH(squares_kernel, (unsigned)parts, DT_BLOCK, 0, gradient, stretch, (int64_t)stretches, gpu.parts);
    DT_LAUNCH(clip_kernel, 1, DT_BLOCK, 0, gpu.parts, parts, most, loss, to);
    good(cudaGetLastError(), "summing squares");
}

/* One block a stretch: one launch for all parameters. */
__global__ void adamw_kernel(dt_adamw_step s)
{
    const dt_stretch part = s.stretch[blockIdx.x];
    float lr = s.lr * part.rate, keep = s.coupled ? 1 : 1 - lr * part.decay, l2 = s.coupled ? part.decay : 0;
    float rate = lr / s.bias1, root = 1 / sqrtf(s.bias2), scale = s.clip->scale;
    if (!s.clip->finite)
        return;
    walk_along(part, [&](auto wide, int64_t i) {
        constexpr int V = decltype(wide)::value;
        float p[V], gradient[V], m[V], v[V];
        dt_load_some<V>(s.value, i, p);
        dt_load_some<V>(s.gradient, i, gradient);
        dt_load_some<V>(s.m, i, m);
        dt_load_some<V>(s.v, i, v);
        for (int k = 0; k < V; k++) {
            float g = gradient[k] * scale + l2 * p[k];
            m[k] = s.beta1 * m[k] + (1 - s.beta1) * g;
            v[k] = s.beta2 * v[k] + (1 - s.beta2) * g * g;
            p[k] = p[k] * keep - rate * m[k] / (sqrtf(v[k]) * root + s.eps);
        }
        dt_store_some<V>(s.m, i, m);
        dt_store_some<V>(s.v, i, v);
        dt_store_some<V>(s.value, i, p);
        if (s.narrowed)
            dt_store_some<V>((dt_bf16 *)s.narrowed, i, p);
    });
}

void adamw(const dt_adamw_step *s)
{
    if (s->stretches)
        DT_LAUNCH(adamw_kernel, (unsigned)s->stretches, DT_BLOCK, 0, *s);
    good(cudaGetLastError(), "AdamW");
}

__global__ void sgd_kernel(dt_sgd_step s)
{
    const dt_stretch part = s.stretch[blockIdx.x];
    float lr = s.lr * part.rate, scale = s.clip->scale;
    if (!s.clip->finite)
        return;
    walk_along(part, [&](auto wide, int64_t i) {
        constexpr int V = decltype(wide)::value;
        float p[V], gradient[V], v[V] = {};
        dt_load_some<V>(s.value, i, p);
        dt_load_some<V>(s.gradient, i, gradient);
        if (!s.first)
            dt_load_some<V>(s.velocity, i, v);
        for (int k = 0; k < V; k++) {
            float g = gradient[k] * scale + part.decay * p[k];
            v[k] = s.first ? g : s.momentum * v[k] + g;
            p[k] -= lr * (s.nesterov ? g + s.momentum * v[k] : v[k]);
        }
        dt_store_some<V>(s.velocity, i, v);
        dt_store_some<V>(s.value, i, p);
        if (s.narrowed)
            dt_store_some<V>((dt_bf16 *)s.narrowed, i, p);
    });
}

void sgd(const dt_sgd_step *s)
{
    if (s->stretches)
        DT_LAUNCH(sgd_kernel, (unsigned)s->stretches, DT_BLOCK, 0, *s);
    good(cudaGetLastError(), "SGD");
}

bool record(void)
{
    if (cudaStreamBeginCapture(gpu.stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess)
        return true;
    cudaGetLastError(); /* it is the caller who does without */
    return false;
}

void *recorded(void)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t exec = NULL;
    bool whole = cudaStreamEndCapture(gpu.stream, &graph) == cudaSuccess && graph &&
                 cudaGraphInstantiate(&exec, graph, 0) == cudaSuccess;
    if (graph)
        cudaGraphDestroy(graph);
    if (!whole)
        cudaGetLastError(); /* it is the caller who does without */
    return whole ? exec : NULL;
}

void replay(void *recording)
{
    good(cudaGraphLaunch((cudaGraphExec_t)recording, gpu.stream), "replaying");
}

void forget(void *recording)
{
    good(cudaGraphExecDestroy((cudaGraphExec_t)recording), "forgetting a recording");
}

void memory(size_t *left, size_t *all)
{
    if (cudaMemGetInfo(left, all) == cudaSuccess)
        return;
    cudaGetLastError();
    *left = *all = 0;
}

void send(void *to, const void *from, size_t bytes)
{
    if (good(cudaStreamWaitEvent(gpu.copies, gpu.taken, 0), "sending"))
        good(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, gpu.copies), "sending");
}

void await(void)
{
    good(cudaStreamSynchronize(gpu.copies), "sending");
}

void taken(void)
{
    good(cudaEventRecord(gpu.taken, gpu.stream), "taking what was sent");
}

void *host_allocate(size_t bytes)
{
    void *memory = NULL;
    if (cudaMallocHost(&memory, bytes ? bytes : 1) == cudaSuccess)
        return memory;
    cudaGetLastError();
    return NULL;
}

void host_release(void *memory)
{
    good(cudaFreeHost(memory), "releasing host memory");
}

/* The first alarm that was raised becomes the trouble; all are quiet again. */
void hear_alarms(void)
{
    int raised[ALARMS];
    if (!gpu.used || gpu.trouble[0])
        return;
    read(raised, gpu.raised, sizeof raised);
    for (int i = 0; i < ALARMS && !gpu.trouble[0]; i++)
        if (gpu.alarms[i].used && raised[i] != DT_QUIET) {
            char text[DT_MESSAGE];
            snprintf(text, sizeof text, gpu.alarms[i].text, raised[i]);
            snprintf(gpu.trouble, sizeof gpu.trouble, "%.120s: %.130s", gpu.alarms[i].where, text);
            DT_LAUNCH(quiet_kernel, 1, ALARMS, 0, gpu.raised);
        }
}

const char *finish(void)
{
    static char told[DT_MESSAGE];
    good(cudaStreamSynchronize(gpu.stream), "running");
    hear_alarms();
    memcpy(told, gpu.trouble, sizeof told);
    gpu.trouble[0] = 0;
    return told[0] ? told : NULL;
}

bool start(char *message)
{
    int count = 0;
    cudaError_t error = cudaGetDeviceCount(&count); /* without a driver the count stays as it is */
    if (error == cudaSuccess && count == 0) {
        snprintf(message, DT_MESSAGE, "the CUDA driver lists no GPU");
        return false;
    }
    bool started = good(error, "looking for GPUs") && good(cudaSetDevice(0), "opening the GPU") &&
                   good(cudaStreamCreateWithFlags(&gpu.stream, cudaStreamNonBlocking), "opening the GPU") &&
                   good(cudaStreamCreateWithFlags(&gpu.copies, cudaStreamNonBlocking), "opening the GPU") &&
                   good(cudaEventCreateWithFlags(&gpu.taken, cudaEventDisableTiming), "opening the GPU") &&
                   good(cudaMalloc((void **)&gpu.parts, sizeof(double) * PARTS), "opening the GPU") &&
                   good(cudaMalloc((void **)&gpu.moment, sizeof *gpu.moment), "opening the GPU") &&
                   good(cudaMalloc((void **)&gpu.raised, sizeof(int) * ALARMS), "opening the GPU");
    if (started) { /* the first kernel shows whether this library has code for this GPU */
        DT_LAUNCH(quiet_kernel, 1, ALARMS, 0, gpu.raised);
        started = good(cudaGetLastError(), "running a first kernel") && good(cudaStreamSynchronize(gpu.stream), "running a first kernel");
    }
    if (!started)
        snprintf(message, DT_MESSAGE, "%s", gpu.trouble);
    gpu.trouble[0] = 0;
    return started;
}

} // namespace

cudaStream_t dt_cuda_stream(void)
{
    return gpu.stream;
}

const dt_moment *dt_cuda_moment(void)
{
    return gpu.moment;
}

dt_alarm *dt_cuda_alarm_new(const dt_node *node, const char *text)
{
    for (int i = 0; i < ALARMS; i++) {
        alarm *a = &gpu.alarms[i];
        if (a->used)
            continue;
        bool labelled = node->label && *node->label;
        a->used = true;
        a->raised = gpu.raised + i;
        gpu.used++;
        snprintf(a->where, sizeof a->where, "%s%s%s%s", node->op->name, labelled ? " (in " : "", labelled ? node->label : "",
                 labelled ? ")" : "");
        snprintf(a->text, sizeof a->text, "%s", text);
        DT_LAUNCH(quiet_kernel, 1, 1, 0, a->raised); /* whoever had it before may have raised it */
        return a;
    }
    return NULL;
}

void dt_cuda_alarm_free(void *memory)
{
    if (!memory)
        return;
    ((alarm *)memory)->used = false;
    gpu.used--;
}

void dt_cuda_check(const dt_call *call, const char *name)
{
    cudaError_t error = cudaGetLastError();
    if (error != cudaSuccess && !call->fault[0])
        snprintf(call->fault, DT_MESSAGE, "CUDA, %s: %s", name, cudaGetErrorString(error));
}

const dt_backend *dt_cuda(char *message)
{
    static dt_backend backend = {};
    static bool started;
    backend.name = "cuda";
    backend.families = dt_cuda_families;
    backend.allocate = allocate;
    backend.release = release;
    backend.write = write;
    backend.read = read;
    backend.copy = copy;
    backend.clear = clear;
    backend.narrow = narrow;
    backend.add = add;
    backend.clip = clip;
    backend.adamw = adamw;
    backend.sgd = sgd;
    backend.blend = blend;
    backend.limit = limit;
    backend.moment = moment;
    backend.record = record;
    backend.recorded = recorded;
    backend.replay = replay;
    backend.forget = forget;
    backend.memory = memory;
    backend.note = dt_cuda_notes;
    backend.send = send;
    backend.await = await;
    backend.taken = taken;
    backend.host_allocate = host_allocate;
    backend.host_release = host_release;
    backend.finish = finish;
    started = started || start(message);
    return started ? &backend : NULL;
}
