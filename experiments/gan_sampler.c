#include "experiments/gan_sampler.h"

#include "kernels/plan.h"

#include <stdlib.h>
#include <string.h>

enum { BATCH = 50 };

struct dt_gan_sampler {
    const dt_gan_config *config;
    dt_graph *graph;
    dt_plan *plan;
    dt_tensor *z, *condition, *drawn;
    size_t numbers, condition_bytes;
    float *z_room, *room; /* of one batch */
    void *condition_room;
};

static bool record(dt_gan_sampler *s, dt_params *params, const dt_backend *backend, dt_error *error)
{
    const dt_gan_config *c = s->config;
    if (!(s->graph = dt_graph_new()))
        return dt_fail(error, "out of memory");
    s->z = dt_input(s->graph, "z", DT_F32, dt_dims(BATCH, c->latent));
    s->condition = dt_gan_condition_input(s->graph, c, BATCH);
    s->drawn = dt_keep(dt_generator((dt_scope){s->graph, params, ""}, c, s->z, s->condition, false));
    s->plan = dt_plan_new(s->graph, backend, NULL);
    return s->plan || dt_fail(error, "%s", dt_graph_error(s->graph));
}

dt_gan_sampler *dt_gan_sampler_new(dt_params *params, const dt_gan_config *config, const dt_backend *backend, dt_error *error)
{
    dt_gan_sampler *s = calloc(1, sizeof *s);
    if (!s) {
        dt_fail(error, "out of memory");
        return NULL;
    }
    s->config = config;
    bool good = record(s, params, backend, error);
    if (good) {
        s->numbers = (size_t)dt_count(&s->drawn->shape) / BATCH;
        s->condition_bytes = s->condition ? (size_t)dt_count(&s->condition->shape) / BATCH * sizeof(float) : 0;
        s->z_room = calloc(BATCH, (size_t)config->latent * sizeof(float));
        s->room = calloc(BATCH, s->numbers * sizeof(float));
        s->condition_room = calloc(BATCH, s->condition_bytes + 1);
        good = (s->z_room && s->room && s->condition_room) || dt_fail(error, "out of memory");
    }
    if (good)
        return s;
    dt_gan_sampler_free(s);
    return NULL;
}

void dt_gan_sampler_free(dt_gan_sampler *s)
{
    if (!s)
        return;
    dt_plan_free(s->plan);
    dt_graph_free(s->graph);
    free(s->z_room);
    free(s->room);
    free(s->condition_room);
    free(s);
}

size_t dt_gan_sampler_numbers(const dt_gan_sampler *s)
{
    return s->numbers;
}

bool dt_gan_sampler_draw(dt_gan_sampler *s, const float *z, const void *conditions, size_t count, float *pictures,
                         dt_error *error)
{
    size_t latent = (size_t)s->config->latent;
    for (size_t from = 0; from < count; from += BATCH) {
        size_t n = count - from < BATCH ? count - from : BATCH;
        memcpy(s->z_room, z + from * latent, n * latent * sizeof(float));
        dt_plan_write(s->plan, s->z, s->z_room);
        if (s->condition) {
            memcpy(s->condition_room, (const char *)conditions + from * s->condition_bytes, n * s->condition_bytes);
            dt_plan_write(s->plan, s->condition, s->condition_room);
        }
        const char *message = dt_plan_run(s->plan, 0, 0);
        if (message)
            return dt_fail(error, "%s", message);
        dt_plan_read(s->plan, s->drawn, s->room);
        memcpy(pictures + from * s->numbers, s->room, n * s->numbers * sizeof(float));
    }
    return true;
}
