/* Random numbers in stretches that stay in the first level cache: words of many Philox blocks at a time, so
 * that the generator fills vectors; then numbers from the words. */
#include "kernels/random.h"

#include <math.h>

#include "kernels/backend.h"
#include "kernels/cpu/math.h"
#include "kernels/ops/random.h"

extern const dt_kernel dt_cpu_random[];

enum { BLOCKS = 64, STRETCH = 4 * BLOCKS };

/* The words of elements [first, first + STRETCH) of the op's stream; first is a multiple of STRETCH. */
static void draw_words(const dt_call *call, int64_t first, uint32_t *restrict words)
{
    const dt_random_form *form = call->node->attributes;
    uint32_t lane[4][BLOCKS], stream = form->stream, step = call->step;
    uint64_t seed = call->seed, block = (uint64_t)first / 4;
#pragma omp simd
    for (int i = 0; i < BLOCKS; i++) {
        dt_philox four = dt_random_block(seed, stream, step, block + (uint64_t)i);
        lane[0][i] = four.v[0];
        lane[1][i] = four.v[1];
        lane[2][i] = four.v[2];
        lane[3][i] = four.v[3];
    }
    for (int i = 0; i < BLOCKS; i++)
        for (int k = 0; k < 4; k++)
            words[4 * i + k] = lane[k][i];
}

/* dt_random_normal of every pair of words, within 1e-6. */
static void normals_from(const uint32_t *words, float *restrict y)
{
#pragma omp simd
    for (int i = 0; i < STRETCH; i += 2) {
        float u = ((float)(words[i] >> 8) + 0.5f) * 0x1p-24f, sine, cosine;
        float radius = sqrtf(-2.0f * dt_fast_log(u));
        dt_random_turn(dt_random_uniform(words[i + 1]), &sine, &cosine);
        y[i] = radius * cosine;
        y[i + 1] = radius * sine;
    }
}

static int64_t stretch_end(int64_t first, int64_t count)
{
    return first + STRETCH < count ? first + STRETCH : count;
}

static void run_normals(const dt_call *call)
{
    float *y = call->out[0];
    int64_t count = dt_count(&call->node->output[0].shape);
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < count; first += STRETCH) {
        uint32_t words[STRETCH];
        float normals[STRETCH];
        draw_words(call, first, words);
        normals_from(words, normals);
        for (int64_t i = first, end = stretch_end(first, count); i < end; i++)
            y[i] = normals[i - first];
    }
}

static void run_uniforms(const dt_call *call)
{
    float *y = call->out[0];
    int64_t count = dt_count(&call->node->output[0].shape);
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < count; first += STRETCH) {
        uint32_t words[STRETCH];
        draw_words(call, first, words);
        for (int64_t i = first, end = stretch_end(first, count); i < end; i++)
            y[i] = dt_random_uniform(words[i - first]);
    }
}

/* y may be x. */
static void run_dropout(const dt_call *call)
{
    const float *x = call->in[0];
    float *y = call->out[0];
    int64_t count = dt_count(&call->node->output[0].shape);
    float rate = ((const dt_random_form *)call->node->attributes)->rate, scale = 1 / (1 - rate);
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < count; first += STRETCH) {
        uint32_t words[STRETCH];
        draw_words(call, first, words);
#pragma omp simd
        for (int64_t i = first; i < stretch_end(first, count); i++)
            y[i] = dt_random_uniform(words[i - first]) >= rate ? x[i] * scale : 0;
    }
}

const dt_kernel dt_cpu_random[] = {{&dt_op_normals, run_normals, NULL, NULL},
                                   {&dt_op_uniforms, run_uniforms, NULL, NULL},
                                   {&dt_op_dropout, run_dropout, NULL, NULL},
                                   {0}};
