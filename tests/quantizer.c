/* The quantizer against its definition in float64, over steps of the moving averages; what flows through it; and that a
 * codebook which starts as a point spreads over its data. */
#include "encoders/quantizer.h"
#include "kernels/random.h"
#include "tests/op_check.h"

enum { N = 3, PLACES = 5, ROWS = N * PLACES, CODES = 7, WIDTH = 4, STEPS = 3 };

static const float decay = 0.7f;

typedef struct recorded {
    dt_graph *graph;
    dt_plan *plan;
    dt_tensor *x, *dy, *through, *pulled, *looked_up;
    dt_quantized q;
} recorded;

/* Everything that the quantizer gives, and the gradients of sum(z dy) and of the commitment. */
static recorded record(dt_params *params, bool training)
{
    recorded r = {.graph = dt_graph_new()};
    dt_scope scope = {r.graph, params, "codebook"};
    r.x = dt_input(r.graph, "x", DT_F32, dt_dims(N, PLACES, WIDTH));
    r.dy = dt_input(r.graph, "dy", DT_F32, dt_dims(N, PLACES, WIDTH));
    r.q = dt_quantize(scope, r.x, CODES, decay, training);
    dt_gradient_from(&r.q.z, &r.dy, 1, &r.x, 1, &r.through);
    dt_gradient(r.q.commitment, &r.x, 1, &r.pulled);
    r.looked_up = dt_codes_lookup(scope, r.q.codes, CODES, WIDTH);
    dt_tensor *const kept[] = {r.q.z, r.q.codes, r.q.commitment, r.q.perplexity, r.through, r.pulled, r.looked_up};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        dt_keep(kept[i]);
    if (!dt_params_allocated(params))
        dt_params_allocate(params, 3);
    r.plan = dt_plan_new(r.graph, dt_cpu(), NULL);
    ok(r.plan != NULL, "planned %s", r.plan ? "" : dt_graph_error(r.graph));
    return r;
}

static void drop(recorded *r)
{
    dt_plan_free(r->plan);
    dt_graph_free(r->graph);
}

/* Rows of the size of the codes at the start, so that many codes are taken. */
static void draw(float *x, int step)
{
    op_random(x, ROWS * WIDTH, 40 + (uint64_t)step);
    for (int i = 0; i < ROWS * WIDTH; i++)
        x[i] *= 0.1f * (float)(step + 1);
}

static float *buffer(dt_params *params, const char *name)
{
    return dt_params_value(params, dt_params_find(params, name));
}

/* ---- The definition ---- */

typedef struct reference {
    double counts[CODES], sums[CODES][WIDTH], table[CODES][WIDTH];
    int32_t code[ROWS];
    float z[ROWS * WIDTH], pulled[ROWS * WIDTH], commitment, perplexity;
    int restarts; /* so far */
} reference;

static void reference_table(reference *f)
{
    double total = 0;
    for (int j = 0; j < CODES; j++)
        total += f->counts[j];
    for (int j = 0; j < CODES; j++)
        for (int k = 0; k < WIDTH; k++)
            f->table[j][k] = f->sums[j][k] / ((f->counts[j] + 1e-5) / (total + CODES * 1e-5) * total);
}

static int reference_nearest(const reference *f, const float *x)
{
    int best = 0;
    double least = INFINITY;
    for (int j = 0; j < CODES; j++) {
        double distance = 0;
        for (int k = 0; k < WIDTH; k++)
            distance += (x[k] - f->table[j][k]) * (x[k] - f->table[j][k]);
        if (distance < least)
            least = distance, best = j;
    }
    return best;
}

/* One step: what the batch gives, then the averages after it. */
static void reference_step(reference *f, const float *x)
{
    double counts[CODES] = {0}, sums[CODES][WIDTH] = {{0}}, commitment = 0, entropy = 0;
    reference_table(f);
    for (int i = 0; i < ROWS; i++) {
        int j = f->code[i] = reference_nearest(f, x + i * WIDTH);
        counts[j]++;
        for (int k = 0; k < WIDTH; k++) {
            double difference = x[i * WIDTH + k] - f->table[j][k];
            sums[j][k] += x[i * WIDTH + k];
            commitment += difference * difference / (ROWS * WIDTH);
            f->z[i * WIDTH + k] = (float)f->table[j][k];
            f->pulled[i * WIDTH + k] = (float)(2 * difference / (ROWS * WIDTH));
        }
    }
    for (int j = 0; j < CODES; j++) {
        entropy -= counts[j] ? counts[j] / ROWS * log(counts[j] / ROWS) : 0;
        f->counts[j] = decay * f->counts[j] + (1 - (double)decay) * counts[j];
        bool unused = f->counts[j] < 1 - (double)decay;
        for (int k = 0; k < WIDTH; k++) {
            f->sums[j][k] = decay * f->sums[j][k] + (1 - (double)decay) * sums[j][k];
            f->sums[j][k] = unused ? (1 - (double)decay) * x[j % ROWS * WIDTH + k] : f->sums[j][k];
        }
        f->counts[j] = unused ? 1 - (double)decay : f->counts[j];
        f->restarts += unused;
    }
    f->commitment = (float)commitment;
    f->perplexity = (float)exp(entropy);
}

/* ---- Against it ---- */

static void compare(const recorded *r, const reference *f, const float *dy)
{
    float z[ROWS * WIDTH], found[ROWS * WIDTH], gradient[ROWS * WIDTH], number;
    int32_t code[ROWS];
    dt_plan_read(r->plan, r->q.codes, code);
    ok(!memcmp(code, f->code, sizeof code), "each row takes the nearest code");
    dt_plan_read(r->plan, r->q.z, z);
    near("codes of the rows", z, f->z, ROWS * WIDTH, 1e-6);
    dt_plan_read(r->plan, r->looked_up, found);
    ok(!memcmp(z, found, sizeof z), "z is the codes to the bit, and a lookup finds the same");
    dt_plan_read(r->plan, r->q.commitment, &number);
    near("commitment", &number, &f->commitment, 1, 1e-6);
    dt_plan_read(r->plan, r->q.perplexity, &number);
    near("perplexity", &number, &f->perplexity, 1, 1e-5);
    dt_plan_read(r->plan, r->through, gradient);
    ok(!memcmp(gradient, dy, sizeof gradient), "z's gradient goes to x to the bit");
    dt_plan_read(r->plan, r->pulled, gradient);
    near("the commitment's gradient", gradient, f->pulled, ROWS * WIDTH, 1e-7);
}

static void compare_averages(dt_params *params, const reference *f)
{
    float counts[CODES], sums[CODES * WIDTH];
    for (int j = 0; j < CODES; j++) {
        counts[j] = (float)f->counts[j];
        for (int k = 0; k < WIDTH; k++)
            sums[j * WIDTH + k] = (float)f->sums[j][k];
    }
    near("counts", buffer(params, "codebook.counts"), counts, CODES, 1e-6);
    near("sums", buffer(params, "codebook.sums"), sums, CODES * WIDTH, 1e-6);
}

static void steps(void)
{
    dt_params *params = dt_params_new();
    recorded r = record(params, true);
    reference f = {0};
    float x[ROWS * WIDTH], dy[ROWS * WIDTH];
    ok(!dt_params_size(params) && dt_params_count(params) == 2, "the codebook is two buffers and no parameter");
    for (int j = 0; j < CODES; j++) {
        f.counts[j] = buffer(params, "codebook.counts")[j];
        for (int k = 0; k < WIDTH; k++)
            f.sums[j][k] = buffer(params, "codebook.sums")[j * WIDTH + k];
    }
    op_random(dy, ROWS * WIDTH, 9);
    for (int step = 0; step < STEPS; step++) {
        draw(x, step);
        dt_plan_write(r.plan, r.x, x);
        dt_plan_write(r.plan, r.dy, dy);
        ok(!dt_plan_run(r.plan, 1, (uint32_t)step), "step %d", step);
        reference_step(&f, x);
        compare(&r, &f, dy);
        compare_averages(params, &f);
    }
    ok(f.perplexity > 2, "several codes were taken (perplexity %.2f)", (double)f.perplexity);
    ok(f.restarts > 0 && f.restarts < STEPS * CODES, "some were unused and moved (%d)", f.restarts);
    drop(&r);
    dt_params_free(params);
}

static void evaluation(void)
{
    dt_params *params = dt_params_new();
    recorded learning = record(params, true), still = record(params, false);
    float x[ROWS * WIDTH], dy[ROWS * WIDTH] = {0}, z[2][ROWS * WIDTH], before[CODES * WIDTH], counts[CODES];
    draw(x, 1);
    memcpy(before, buffer(params, "codebook.sums"), sizeof before);
    memcpy(counts, buffer(params, "codebook.counts"), sizeof counts);
    const recorded *order[] = {&still, &learning};
    for (int i = 0; i < 2; i++) {
        dt_plan_write(order[i]->plan, order[i]->x, x);
        dt_plan_write(order[i]->plan, order[i]->dy, dy);
        ok(!dt_plan_run(order[i]->plan, 1, 0) && dt_plan_read(order[i]->plan, order[i]->q.z, z[i]), "run");
        bool same = !memcmp(before, buffer(params, "codebook.sums"), sizeof before) &&
                    !memcmp(counts, buffer(params, "codebook.counts"), sizeof counts);
        ok(same == (i == 0), "%s the averages", i ? "training moves" : "evaluation keeps");
    }
    ok(!memcmp(z[0], z[1], sizeof z[0]), "both take the codes from before the step");
    drop(&learning);
    drop(&still);
    dt_params_free(params);
}

/* Two equal rows: one code takes both, and the others become these two in turn. */
static void few_rows(void)
{
    const float x[] = {1, -2, 3, 1, -2, 3}, least = 1 - decay;
    dt_params *params = dt_params_new();
    dt_graph *g = dt_graph_new();
    dt_tensor *input = dt_input(g, "x", DT_F32, dt_dims(2, 3));
    dt_keep(dt_quantize((dt_scope){g, params, "codebook"}, input, 5, decay, true).perplexity);
    dt_params_allocate(params, 1);
    dt_plan *plan = dt_plan_new(g, dt_cpu(), NULL);
    ok(plan && dt_plan_write(plan, input, x) && !dt_plan_run(plan, 1, 0), "fewer rows than codes");
    int taken = 0, moved = 0;
    for (int j = 0; j < 5; j++) {
        const float *sum = buffer(params, "codebook.sums") + 3 * j;
        moved += buffer(params, "codebook.counts")[j] == least && sum[0] == least * x[0] && sum[1] == least * x[1];
        taken += buffer(params, "codebook.counts")[j] > 2 * least && fabsf(sum[0] / (2 * least) - x[0]) < 1e-2f;
    }
    ok(taken == 1 && moved == 4, "%d taken, %d moved", taken, moved);
    dt_plan_free(plan);
    dt_graph_free(g);
    dt_params_free(params);
}

/* ---- A toy problem ---- */

enum { CLUSTERS = 16, BATCH = 256, TOY_WIDTH = 8, TOY_CODES = 32 };

/* Rows around CLUSTERS fixed centres. */
static void toy_rows(float *x, const float *centre, uint64_t step)
{
    op_random(x, BATCH * TOY_WIDTH, 1000 + step);
    for (int i = 0; i < BATCH; i++)
        for (int k = 0; k < TOY_WIDTH; k++)
            x[i * TOY_WIDTH + k] = centre[i % CLUSTERS * TOY_WIDTH + k] + 0.05f * x[i * TOY_WIDTH + k];
}

static void spreads(void)
{
    static float x[BATCH * TOY_WIDTH], centre[CLUSTERS * TOY_WIDTH];
    dt_params *params = dt_params_new();
    dt_graph *g = dt_graph_new();
    dt_tensor *input = dt_input(g, "x", DT_F32, dt_dims(BATCH, TOY_WIDTH));
    dt_quantized q = dt_quantize((dt_scope){g, params, ""}, input, TOY_CODES, 0.9f, true);
    dt_keep(q.perplexity);
    dt_keep(q.commitment);
    dt_params_allocate(params, 1);
    dt_plan *plan = dt_plan_new(g, dt_cpu(), NULL);
    float first = 0, last = 0, error = 1;
    op_random(centre, CLUSTERS * TOY_WIDTH, 5);
    for (uint32_t step = 0; plan && step < 300; step++) {
        toy_rows(x, centre, step);
        dt_plan_write(plan, input, x);
        dt_plan_run(plan, 1, step);
        dt_plan_read(plan, q.perplexity, step ? &last : &first);
        dt_plan_read(plan, q.commitment, &error);
    }
    ok(last > first && last > 0.75f * CLUSTERS, "perplexity rises from %.1f to %.1f (%d clusters)", (double)first,
       (double)last, CLUSTERS);
    ok(error < 0.1f, "and the codes lie at the clusters (squared error %.4f)", (double)error);
    dt_plan_free(plan);
    dt_graph_free(g);
    dt_params_free(params);
}

static void refuses(void)
{
    dt_params *params = dt_params_new();
    dt_graph *g = dt_graph_new();
    dt_tensor *x = dt_input(g, "x", DT_F32, dt_dims(4, 3));
    dt_quantize((dt_scope){g, params, ""}, x, 0, decay, true);
    const char *error = dt_graph_error(g);
    ok(error && strstr(error, "and 0 codes"), "no codes: %s", error ? error : "");
    dt_quantized q = dt_quantize((dt_scope){g, params, ""}, dt_relu(x), 4, decay, true);
    ok(dt_graph_error(g) == error && q.z && q.codes && q.commitment && q.perplexity, "and the error passes on");
    dt_graph_free(g);
    dt_params_free(params);
}

int main(void)
{
    steps();
    evaluation();
    few_rows();
    spreads();
    refuses();
    return done();
}
