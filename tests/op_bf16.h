/* Testing a backend's kernels in bfloat16: an op whose inputs, result and gradients are bfloat16, against the CPU's in
 * float32 on the same rounded inputs. For ops that are one node and whose gradients are one node each: the types are set by
 * hand, not by a plan's precision. */
#ifndef DUET_TESTS_OP_BF16_H
#define DUET_TESTS_OP_BF16_H

#include "tests/bf16.h"
#include "tests/op_check.h"

static inline void op_bf16_round(float *x, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
        memcpy(&x[i], &bits, sizeof bits);
    }
}

/* Both are sums in float32 in some order, within 2^-16 of the largest of them, and one is rounded once: to 8 bits,
 * neighbours being 2^-7 of their power of two apart, so by 2^-8 of the element at most. */
static inline void op_bf16_near(const char *name, const char *what, const float *got, const float *want, size_t n)
{
    double most = 0, worst = 0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs((double)want[i]));
    for (size_t i = 0; i < n; i++)
        worst = larger(worst, fabs((double)got[i] - want[i]) / (0x1p-8 * fabs((double)want[i]) + 0x1p-16 * most + 1e-30));
    ok(worst <= 1, "%s in bfloat16: %s (worst %.2f of what is allowed)", name, what, worst);
}

/* What the backend makes of one tensor of the graph. */
static inline void op_bf16_compare(const dt_plan *plan, const dt_tensor *x, const char *name, const char *what,
                                   const float *want)
{
    size_t n = (size_t)dt_count(&x->shape);
    float *got = calloc(n, sizeof *got);
    if (x->dtype == DT_BF16)
        bf16_read(plan, x, got);
    else
        dt_plan_read(plan, x, got);
    op_bf16_near(name, what, got, want, n);
    free(got);
}

static inline void op_bf16_run(const op_case *c, unsigned wide, const op_run *want)
{
    dt_graph *g = dt_graph_new();
    dt_tensor *x[OP_INPUTS] = {0}, *dx[OP_INPUTS];
    for (int i = 0; i < c->inputs; i++)
        x[i] = dt_input(g, "x", DT_F32, c->shape[i]);
    dt_tensor *y = dt_keep(c->build(x, c->context)), *dy = dt_input(g, "dy", DT_F32, y->shape);
    dt_gradient_from(&y, &dy, 1, x, c->inputs, dx);
    y->dtype = dy->dtype = DT_BF16;
    for (int i = 0; i < c->inputs; i++) {
        x[i]->dtype = DT_BF16;
        dt_keep(dx[i])->dtype = wide >> i & 1 ? DT_F32 : DT_BF16;
    }
    dt_plan *plan = dt_plan_new(g, op_backend(), NULL);
    if (plan) {
        for (int i = 0; i < c->inputs; i++)
            bf16_write(plan, x[i], want->value[i]);
        bf16_write(plan, dy, want->dy);
        const char *message = dt_plan_run(plan, 1, 0);
        op_bf16_compare(plan, y, c->name, "value", want->y);
        for (int i = 0; i < c->inputs; i++)
            op_bf16_compare(plan, dx[i], c->name, i ? "second gradient" : "gradient", want->dx[i]);
        const char *trouble = op_backend()->finish ? op_backend()->finish() : NULL;
        if (!ok(!message && !trouble, "%s in bfloat16 runs", c->name))
            printf("# %s\n", message ? message : trouble);
    } else {
        ok(false, "%s in bfloat16 is planned: %s", c->name, dt_graph_error(g));
    }
    dt_plan_free(plan);
    dt_graph_free(g);
}

/* Bit i of `wide`: the gradient of input i stays float32. On the CPU there is nothing to compare. */
static inline void op_bf16(const op_case *c, unsigned wide)
{
    op_run want;
    if (op_backend() == dt_cpu())
        return;
    if (ok(op_start_on(&want, c, NULL, dt_cpu()), "%s runs on the CPU", c->name)) {
        for (int i = 0; i < c->inputs; i++)
            op_bf16_round(want.value[i], (size_t)dt_count(&c->shape[i]));
        op_bf16_round(want.dy, want.count);
        op_again(&want);
        op_bf16_run(c, wide, &want);
    }
    op_end(&want);
}

#endif
