/* Losses by rows: the value of a recorded function against its definition in float64, and its gradients against differences. */
#ifndef DUET_TESTS_LOSS_ROWS_H
#define DUET_TESTS_LOSS_ROWS_H

#include "tests/op_check.h"

typedef struct loss_row {
    const char *name;
    dt_tensor *(*build)(dt_tensor **x, const void *context);
    int inputs;
    dt_shape shape[5];
    double (*element)(const op_run *r, int64_t i); /* of the result, from r->value */
} loss_row;

static inline void loss_check(const loss_row *row)
{
    op_case c = {.name = row->name, .build = row->build, .inputs = row->inputs};
    memcpy(c.shape, row->shape, sizeof row->shape);
    op_run r;
    if (!ok(op_start(&r, &c, NULL), "%s runs", row->name)) {
        printf("# %s\n", r.error);
        op_end(&r);
        return;
    }
    float *want = calloc(r.count, sizeof *want);
    double most = 1;
    for (size_t i = 0; i < r.count; i++) {
        want[i] = (float)row->element(&r, (int64_t)i);
        most = fmax(most, fabs(want[i]));
    }
    near(row->name, r.y, want, r.count, 2e-6 * most);
    op_differences(&r);
    free(want);
    op_end(&r);
}

/* The function refuses these shapes, with `words` in the message. */
static inline void loss_refuses(dt_tensor *(*build)(dt_tensor **, const void *), int inputs, const dt_shape *shapes,
                                const char *words)
{
    op_case c = {.name = words, .build = build, .inputs = inputs};
    memcpy(c.shape, shapes, sizeof *shapes * (size_t)inputs);
    op_run r;
    bool runs = op_start(&r, &c, NULL);
    ok(!runs && strstr(r.error, words), "refused: %s", runs ? "it runs" : r.error);
    op_end(&r);
}

#define LOSS_REFUSES(build, words, ...)                                                                           \
    loss_refuses(build, (int)(sizeof((dt_shape[]){__VA_ARGS__}) / sizeof(dt_shape)), (dt_shape[]){__VA_ARGS__}, words)

#endif
