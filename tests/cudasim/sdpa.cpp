/* Stands in for kernels/cuda/sdpa.cu: attention as its definition says, one query after another on the host, in the stream's
 * turn. As in the library, what is multiplied is bfloat16 and what is summed is not; and what the library refuses is refused:
 * heads of numbers that 8 does not divide or of more than 128, the gradient of a single position, and operands that are not
 * aligned. */
#include "kernels/cuda/sdpa.h"
#include "tests/cudasim/simulator.h"

#include <algorithm>
#include <stdio.h>

/* The simulator's own tests have no backend. */
cudaStream_t dt_cuda_stream(void) __attribute__((weak));

struct dt_sdpa {
    dt_sdpa_form form;
};

namespace
{

enum { WORKSPACE = 512, SAMPLES = 4 }; /* at most SAMPLES at once, so that a caller has parts and a rest to do */

/* One head of one sample: element i of position t of q, k or v (part 0, 1, 2), and of y. */
struct head {
    const dt_sdpa_form &f;
    int64_t sample, number;

    int64_t qkv(int part, int64_t t, int64_t i) const
    {
        return ((sample * f.t + t) * 3 + part) * f.heads * f.d + number * f.d + i;
    }

    int64_t y(int64_t t, int64_t i) const
    {
        return (sample * f.t + t) * f.heads * f.d + number * f.d + i;
    }

    int64_t lse(int64_t t) const
    {
        return (sample * f.heads + number) * f.t + t;
    }

    int64_t seen(int64_t t) const
    {
        return f.causal ? t + 1 : f.t;
    }
};

float rounded(double x)
{
    dt_bf16 narrow;
    dt_narrow_to(&narrow, (float)x);
    return dt_widen(narrow);
}

/* Scaled scores of query t. */
std::vector<double> scores(const head &h, const dt_bf16 *qkv, int64_t t)
{
    std::vector<double> s((size_t)h.seen(t), 0);
    for (size_t j = 0; j < s.size(); j++)
        for (int64_t i = 0; i < h.f.d; i++)
            s[j] += dt_load(qkv, h.qkv(0, t, i)) * dt_load(qkv, h.qkv(1, (int64_t)j, i)) / sqrt((double)h.f.d);
    return s;
}

void forward(const head &h, const dt_bf16 *qkv, dt_bf16 *y, float *lse)
{
    for (int64_t t = 0; t < h.f.t; t++) {
        std::vector<double> p = scores(h, qkv, t);
        double most = *std::max_element(p.begin(), p.end()), sum = 0;
        for (double &x : p)
            sum += x = exp(x - most);
        lse[h.lse(t)] = (float)(most + log(sum));
        for (int64_t i = 0; i < h.f.d; i++) {
            double mixed = 0;
            for (size_t j = 0; j < p.size(); j++)
                mixed += rounded(p[j]) * dt_load(qkv, h.qkv(2, (int64_t)j, i));
            dt_store(y, h.y(t, i), (float)(mixed / sum));
        }
    }
}

void backward(const head &h, const dt_bf16 *qkv, const dt_bf16 *y, const float *lse, const dt_bf16 *dy, dt_bf16 *dqkv)
{
    std::vector<double> dk((size_t)(h.f.t * h.f.d), 0), dv = dk;
    for (int64_t t = 0; t < h.f.t; t++) {
        std::vector<double> p = scores(h, qkv, t), dq((size_t)h.f.d, 0);
        double delta = 0;
        for (int64_t i = 0; i < h.f.d; i++)
            delta += dt_load(y, h.y(t, i)) * dt_load(dy, h.y(t, i));
        for (size_t j = 0; j < p.size(); j++) {
            double dp = 0, prob = exp(p[j] - lse[h.lse(t)]);
            for (int64_t i = 0; i < h.f.d; i++)
                dp += dt_load(dy, h.y(t, i)) * dt_load(qkv, h.qkv(2, (int64_t)j, i));
            const double ds = rounded(prob * (dp - delta) / sqrt((double)h.f.d));
            for (int64_t i = 0; i < h.f.d; i++) {
                const size_t at = j * (size_t)h.f.d + (size_t)i;
                dv[at] += rounded(prob) * dt_load(dy, h.y(t, i));
                dk[at] += ds * dt_load(qkv, h.qkv(0, t, i));
                dq[(size_t)i] += ds * dt_load(qkv, h.qkv(1, (int64_t)j, i));
            }
        }
        for (int64_t i = 0; i < h.f.d; i++)
            dt_store(dqkv, h.qkv(0, t, i), (float)dq[(size_t)i]);
    }
    for (int64_t t = 0; t < h.f.t; t++)
        for (int64_t i = 0; i < h.f.d; i++) {
            dt_store(dqkv, h.qkv(1, t, i), (float)dk[(size_t)(t * h.f.d + i)]);
            dt_store(dqkv, h.qkv(2, t, i), (float)dv[(size_t)(t * h.f.d + i)]);
        }
}

template <class Work>
void enqueue(const dt_sdpa_form &f, std::vector<cudasim_span> reads, std::vector<cudasim_span> writes, void *workspace,
             const dt_call *call, Work work)
{
    uintptr_t all = (uintptr_t)workspace;
    for (const auto *spans : {&reads, &writes})
        for (const cudasim_span &span : *spans)
            all |= (uintptr_t)span.memory;
    if (all % 16) {
        snprintf(call->fault, DT_MESSAGE, "an operand of attention is not aligned to 16 bytes");
        return;
    }
    writes.push_back({workspace, WORKSPACE});
    const cudaError_t error = cudasim_library(dt_cuda_stream(), "attention", reads, writes, [f, work] {
        for (int64_t sample = 0; sample < f.n; sample++)
            for (int64_t number = 0; number < f.heads; number++)
                work(head{f, sample, number});
    });
    if (error != cudaSuccess && !call->fault[0])
        snprintf(call->fault, DT_MESSAGE, "attention: %s", cudaGetErrorString(error));
}

/* Bytes of y; of qkv there are three times as many. */
size_t bytes(const dt_sdpa_form &f)
{
    return sizeof(dt_bf16) * (size_t)(f.n * f.t * f.heads * f.d);
}

size_t lse_bytes(const dt_sdpa_form &f)
{
    return sizeof(float) * (size_t)(f.n * f.t * f.heads);
}

} // namespace

dt_sdpa *dt_sdpa_new(const dt_sdpa_form *form, char *message)
{
    const bool refused = form->d % 8 || form->d > 128 || (form->backward && form->t == 1);
    if (refused) {
        snprintf(message, DT_MESSAGE, "no attention for %d positions and heads of %d numbers", (int)form->t, (int)form->d);
        return NULL;
    }
    dt_sdpa *sdpa = new dt_sdpa{*form};
    if (form->backward && form->n > SAMPLES)
        sdpa->form.n = SAMPLES;
    return sdpa;
}

void dt_sdpa_free(dt_sdpa *sdpa)
{
    delete sdpa;
}

int64_t dt_sdpa_samples(const dt_sdpa *sdpa)
{
    return sdpa->form.n;
}

size_t dt_sdpa_workspace(const dt_sdpa *)
{
    return WORKSPACE;
}

void dt_sdpa_forward(const dt_sdpa *sdpa, const void *qkv, void *y, float *lse, void *workspace, const dt_call *call)
{
    const dt_sdpa_form &f = sdpa->form;
    enqueue(f, {{qkv, 3 * bytes(f)}}, {{y, bytes(f)}, {lse, lse_bytes(f)}}, workspace, call, [=](const head &h) {
        forward(h, static_cast<const dt_bf16 *>(qkv), static_cast<dt_bf16 *>(y), lse);
    });
}

void dt_sdpa_backward(const dt_sdpa *sdpa, const void *qkv, const void *y, const float *lse, const void *dy, void *dqkv,
                      void *workspace, const dt_call *call)
{
    const dt_sdpa_form &f = sdpa->form;
    enqueue(f, {{qkv, 3 * bytes(f)}, {y, bytes(f)}, {lse, lse_bytes(f)}, {dy, bytes(f)}}, {{dqkv, 3 * bytes(f)}}, workspace,
            call, [=](const head &h) {
                backward(h, static_cast<const dt_bf16 *>(qkv), static_cast<const dt_bf16 *>(y), lse,
                         static_cast<const dt_bf16 *>(dy), static_cast<dt_bf16 *>(dqkv));
            });
}
