/* For tests of kernels that take bfloat16: their inputs and results in float32. */
#ifndef DUET_TESTS_BF16_H
#define DUET_TESTS_BF16_H

#include "kernels/plan.h"

#include <stdlib.h>
#include <string.h>

/* Rounds x to bfloat16, the even one of two that are equally near, and writes that to an input of the plan that holds
 * bfloat16. */
static inline void bf16_write(dt_plan *plan, const dt_tensor *input, float *x)
{
    size_t count = (size_t)dt_count(&input->shape);
    uint16_t *narrow = malloc(sizeof *narrow * count);
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
        memcpy(&x[i], &bits, sizeof bits);
        narrow[i] = (uint16_t)(bits >> 16);
    }
    dt_plan_write(plan, input, narrow);
    free(narrow);
}

/* A kept tensor that holds bfloat16, widened. */
static inline void bf16_read(const dt_plan *plan, const dt_tensor *kept, float *to)
{
    size_t count = (size_t)dt_count(&kept->shape);
    uint16_t *narrow = malloc(sizeof *narrow * count);
    dt_plan_read(plan, kept, narrow);
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = (uint32_t)narrow[i] << 16;
        memcpy(&to[i], &bits, sizeof bits);
    }
    free(narrow);
}

#endif
