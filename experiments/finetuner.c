#include "experiments/finetuner.h"

#include "experiments/not_finite.h"

#include "data/shuffle.h"
#include "encoders/depth.h"
#include "losses/classification.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct dt_finetuner {
    dt_model *model;
    dt_finetuner_options options;
    dt_optimizer *optimizer;
    dt_graph *graph;
    dt_plan *plan;
    dt_tensor *samples, *labels, *others, *share; /* inputs; the last two with mixup */
    dt_tensor *logits, *loss;
    float *mixed, *scores; /* [batch, sample], with mixup; [batch, classes] */
    int32_t *other_labels;
};

/* Layer-wise learning-rate decay (Howard & Ruder, 2018): the head has rate 1, each step down the tower `decay` of it. */
static void set_rates(dt_finetuner *t)
{
    const dt_clip_config *c = &t->model->config;
    const dt_head_config *head = &t->model->head;
    int blocks = dt_tower_blocks(c, head->tower), layers = t->options.layers;
    int first = layers < 0 ? 0 : layers == 0 ? blocks + 2 : layers >= blocks ? 1 : blocks - layers + 1;
    for (int i = 0; i < dt_params_count(t->model->params); i++) {
        int depth = dt_param_depth(c, head, dt_params_info(t->model->params, i)->name);
        bool trained = depth >= 0 && depth >= first;
        dt_params_set_rate(t->model->params, i, trained ? (float)pow(t->options.layer_decay, blocks + 2 - depth) : 0);
    }
}

static void record(dt_finetuner *t)
{
    const dt_clip_config *c = &t->model->config;
    const dt_head_config *head = &t->model->head;
    int64_t n = t->options.batch_size, size = dt_clip_image_size(c);
    dt_graph *g = t->graph;
    if (head->tower == DT_TOWER_TEXT)
        t->samples = dt_input(g, "tokens", DT_I32, dt_dims(n, c->text.context_length));
    else
        t->samples = dt_input(g, "images", DT_F32, dt_dims(n, size, size, 3));
    t->labels = dt_input(g, "labels", DT_I32, dt_dims(n));
    dt_scope root = {g, t->model->params, ""};
    t->logits = dt_keep(dt_classifier(root, c, head, t->samples, t->options.layers < 0));
    t->loss = dt_cross_entropy(t->logits, t->labels, (float)t->options.smoothing);
    if (t->options.mixup > 0) {
        t->others = dt_input(g, "labels of the images mixed in", DT_I32, dt_dims(n));
        t->share = dt_input(g, "share of the images mixed in", DT_F32, (dt_shape){0});
        dt_tensor *other = dt_cross_entropy(t->logits, t->others, (float)t->options.smoothing);
        t->loss = dt_add(t->loss, dt_mul(t->share, dt_sub(other, t->loss)));
    }
    dt_keep(t->loss);
    dt_store_gradients(t->loss, false);
}

static bool make_room(dt_finetuner *t, dt_error *error)
{
    size_t n = (size_t)t->options.batch_size;
    t->scores = calloc(n * (size_t)t->model->head.classes, sizeof *t->scores);
    if (t->options.mixup > 0) {
        t->mixed = calloc((size_t)dt_count(&t->samples->shape), sizeof *t->mixed);
        t->other_labels = calloc(n, sizeof *t->other_labels);
    }
    return (t->scores && (t->options.mixup <= 0 || (t->mixed && t->other_labels))) || dt_fail(error, "out of memory");
}

dt_finetuner *dt_finetuner_new(dt_model *model, const dt_backend *backend, const dt_finetuner_options *options,
                               dt_error *error)
{
    dt_finetuner *t = calloc(1, sizeof *t);
    if (!t || !(t->graph = dt_graph_new())) {
        dt_fail(error, "out of memory");
        free(t);
        return NULL;
    }
    char message[DT_MESSAGE];
    t->model = model;
    t->options = *options;
    set_rates(t);
    record(t);
    t->plan = dt_plan_new(t->graph, backend, &(dt_plan_options){.batch = options->batch_size});
    bool good = t->plan || dt_fail(error, "%s", dt_graph_error(t->graph));
    good = good && make_room(t, error) &&
           ((t->optimizer = dt_optimizer_new(&options->optimizer, model->params, backend)) ||
            dt_fail(error, "%s", dt_optimizer_no_memory(&options->optimizer, model->params, backend, message)));
    if (good)
        return t;
    dt_finetuner_free(t);
    return NULL;
}

void dt_finetuner_free(dt_finetuner *t)
{
    if (!t)
        return;
    dt_plan_free(t->plan);
    dt_graph_free(t->graph);
    dt_optimizer_free(t->optimizer);
    free(t->scores);
    free(t->mixed);
    free(t->other_labels);
    free(t);
}

/* Beta(alpha, alpha) by Johnk's rejection (1964), the numbers being a function of (seed, step); the smaller of x and 1 - x, so
 * that the batch's own labels keep the greater share. */
static double draw_share(double alpha, uint64_t seed, uint64_t step)
{
    for (uint64_t i = 0;; i += 2) {
        double x = log(1 - dt_uniform(seed, step, i)) / alpha, y = log(1 - dt_uniform(seed, step, i + 1)) / alpha;
        double most = x > y ? x : y, sum = most + log1p(exp((x > y ? y : x) - most)); /* log(u^(1/a) + v^(1/a)) */
        if (isinf(most))
            return 0; /* alpha is as good as zero: nothing is mixed */
        if (sum <= 0)
            return exp((x < y ? x : y) - sum);
    }
}

/* Mixes each image with its mirror place in the batch. */
static void mix(dt_finetuner *t, const float *images, const int32_t *labels)
{
    size_t n = (size_t)t->options.batch_size, size = (size_t)dt_count(&t->samples->shape) / n;
    uint64_t seed = dt_hash64(t->options.seed, 0x6d69787570, 0); /* "mixup": a stream of its own */
    float share = (float)draw_share(t->options.mixup, seed, dt_optimizer_steps(t->optimizer));
    for (size_t i = 0; i < n; i++) {
        const float *a = images + i * size, *b = images + (n - 1 - i) * size;
        t->other_labels[i] = labels[n - 1 - i];
        for (size_t k = 0; k < size; k++)
            t->mixed[i * size + k] = a[k] + share * (b[k] - a[k]);
    }
    dt_plan_write(t->plan, t->samples, t->mixed);
    dt_plan_write(t->plan, t->others, t->other_labels);
    dt_plan_write(t->plan, t->share, &share);
}

static double accuracy(dt_finetuner *t, const int32_t *labels)
{
    size_t n = (size_t)t->options.batch_size, classes = (size_t)t->model->head.classes, right = 0;
    dt_plan_read(t->plan, t->logits, t->scores);
    for (size_t i = 0; i < n; i++) {
        size_t best = 0;
        for (size_t c = 1; c < classes; c++)
            if (t->scores[i * classes + c] > t->scores[i * classes + best])
                best = c;
        right += best == (size_t)labels[i];
    }
    return (double)right / (double)n;
}

bool dt_finetuner_step(dt_finetuner *t, const void *samples, const int32_t *labels, double learning_rate,
                       dt_finetune_result *result, dt_error *error)
{
    float loss;
    if (t->options.mixup > 0)
        mix(t, samples, labels);
    else
        dt_plan_write(t->plan, t->samples, samples);
    dt_plan_write(t->plan, t->labels, labels);
    const char *message = dt_plan_run(t->plan, t->options.seed, (uint32_t)dt_optimizer_steps(t->optimizer));
    if (message)
        return dt_fail(error, "%s", message);
    dt_plan_read(t->plan, t->loss, &loss);
    result->loss = (double)loss;
    result->accuracy = accuracy(t, labels);
    result->grad_norm = isfinite(loss) ? dt_optimizer_step(t->optimizer, (float)learning_rate) : (double)NAN;
    return isfinite(result->grad_norm) || dt_not_finite(t->plan, t->options.seed, dt_optimizer_steps(t->optimizer),
                                                        isfinite(loss) ? "the gradient" : "the loss", error);
}

dt_optimizer *dt_finetuner_optimizer(dt_finetuner *t)
{
    return t->optimizer;
}
