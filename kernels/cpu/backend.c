#include "kernels/backend.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

extern const dt_kernel *const dt_cpu_families[]; /* collected by the build from kernels/ops */

/* Large blocks ask for huge pages: intermediates are walked from end to end again and again. */
static void *allocate(size_t bytes)
{
    enum { HUGE_PAGE = 2 << 20, LINE = 64 };
    void *memory = NULL;
    size_t align = bytes >= HUGE_PAGE ? HUGE_PAGE : LINE;
    if (posix_memalign(&memory, align, bytes ? bytes : LINE))
        return NULL;
    if (align == HUGE_PAGE)
        madvise(memory, bytes, MADV_HUGEPAGE); /* a wish: what comes of it does not matter */
    return memory;
}

static void copy(void *to, const void *from, size_t bytes)
{
    memmove(to, from, bytes);
}

static void clear(void *to, size_t bytes)
{
    memset(to, 0, bytes);
}

static void add(float *to, const float *from, size_t count)
{
#pragma omp parallel for simd schedule(static) if (count > 1 << 15)
    for (size_t i = 0; i < count; i++)
        to[i] += from[i];
}

static double sum_of_squares(const float *x, size_t count)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < count; i++)
        sum += (double)x[i] * x[i];
    return sum;
}

/* Parts of fixed length, whatever the number of threads. */
static void clip(dt_clip *to, const float *gradient, const dt_stretch *stretch, size_t stretches, float most, const float *loss)
{
    enum { MAX_PARTS = 1024 };
    double part[MAX_PARTS] = {0}, total = 0;
    size_t each = (stretches + MAX_PARTS - 1) / MAX_PARTS;
#pragma omp parallel for schedule(static) if (stretches > 1)
    for (size_t p = 0; p < MAX_PARTS; p++)
        for (size_t s = p * each; s < (p + 1) * each && s < stretches; s++)
            part[p] += sum_of_squares(gradient + stretch[s].from, stretch[s].count);
    for (size_t p = 0; p < MAX_PARTS; p++)
        total += part[p];
    double norm = sqrt(total), scale = most > 0 ? most / (norm + 1e-6) : 1;
    *to = (dt_clip){norm, scale < 1 ? (float)scale : 1.0f, isfinite(norm) && (!loss || isfinite(*loss))};
}

/* Arrays and numbers are copied out of the step: it might change with what is written, for all that the compiler knows, and
 * elements would be gathered one by one. */
static void adamw_stretch(const dt_adamw_step *s, const dt_stretch *part)
{
    float lr = s->lr * part->rate, keep = s->coupled ? 1 : 1 - lr * part->decay, l2 = s->coupled ? part->decay : 0;
    float rate = lr / s->bias1, root = 1 / sqrtf(s->bias2), scale = s->clip->scale, eps = s->eps;
    float b1 = s->beta1, c1 = 1 - s->beta1, b2 = s->beta2, c2 = 1 - s->beta2;
    float *value = s->value + part->from, *first = s->m + part->from, *second = s->v + part->from;
    const float *gradient = s->gradient + part->from;
    size_t count = part->count;
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        float p = value[i], g = gradient[i] * scale + l2 * p;
        float m = b1 * first[i] + c1 * g, v = b2 * second[i] + c2 * g * g;
        first[i] = m;
        second[i] = v;
        value[i] = p * keep - rate * m / (sqrtf(v) * root + eps);
    }
}

static void adamw(const dt_adamw_step *s)
{
    if (!s->clip->finite)
        return;
#pragma omp parallel for schedule(static) if (s->stretches > 1)
    for (size_t k = 0; k < s->stretches; k++)
        adamw_stretch(s, &s->stretch[k]);
}

static void sgd_stretch(const dt_sgd_step *s, const dt_stretch *part)
{
    float momentum = s->first ? 0 : s->momentum, look = s->nesterov ? s->momentum : 0;
    bool nesterov = s->nesterov;
    float l2 = part->decay, lr = s->lr * part->rate, scale = s->clip->scale;
    float *value = s->value + part->from, *velocity = s->velocity + part->from;
    const float *gradient = s->gradient + part->from;
    size_t count = part->count;
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        float p = value[i], g = gradient[i] * scale + l2 * p;
        float v = momentum * velocity[i] + g;
        velocity[i] = v;
        value[i] = p - lr * (nesterov ? g + look * v : v);
    }
}

static void sgd(const dt_sgd_step *s)
{
    if (!s->clip->finite)
        return;
#pragma omp parallel for schedule(static) if (s->stretches > 1)
    for (size_t k = 0; k < s->stretches; k++)
        sgd_stretch(s, &s->stretch[k]);
}

static void blend(float *to, const float *from, size_t count, float keep)
{
#pragma omp parallel for simd schedule(static) if (count > 1 << 15)
    for (size_t i = 0; i < count; i++)
        to[i] = keep * to[i] + (1 - keep) * from[i];
}

static void limit(float *x, size_t count, float low, float high)
{
    for (size_t i = 0; i < count; i++)
        x[i] = x[i] < low ? low : x[i] > high ? high : x[i];
}

const dt_backend *dt_cpu(void)
{
    static const dt_backend cpu = {.name = "cpu", .on_host = true, .families = dt_cpu_families, .allocate = allocate, .release = free,
                                   .write = copy, .read = copy,
                                   .copy = copy, .clear = clear, .add = add,
                                   .clip = clip, .adamw = adamw, .sgd = sgd, .blend = blend, .limit = limit};
    return &cpu;
}
