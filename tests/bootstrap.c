/* The bootstrap: its bounds against the normal ones, how often they hold the truth, and what a draw is. */
#include "eval/bootstrap.h"

#include "data/shuffle.h"
#include "tests/tap.h"

static dt_error error;

/* By the central limit theorem the bounds lie at mean +- 1.96 s / sqrt(n). A percentile p of B draws has the
 * standard error sqrt(p (1 - p) / B) / density, 2.67 / sqrt(B) of the draws' deviation at p = 0.025; five of
 * them are allowed, and 1 / n for the steps of a share. */
static void against_normal(size_t n, double share, size_t draws)
{
    float *values = malloc(n * sizeof *values);
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += values[i] = dt_uniform(5, i, n) < share;
    double mean = sum / (double)n, deviation = sqrt(mean * (1 - mean) / (double)n);
    double allowed = 5 * 2.67 / sqrt((double)draws) * deviation + 1 / (double)n;
    dt_bounds bounds, again, other;
    bool good = dt_bootstrap_mean(values, n, draws, 1, &bounds, &error);
    ok(good && fabs(bounds.low - (mean - 1.96 * deviation)) < allowed &&
           fabs(bounds.high - (mean + 1.96 * deviation)) < allowed,
       "share %.3f of %zu: %.4f to %.4f", mean, n, bounds.low, bounds.high);
    dt_bootstrap_mean(values, n, draws, 1, &again, &error);
    dt_bootstrap_mean(values, n, draws, 2, &other, &error);
    ok(bounds.low == again.low && bounds.high == again.high, "the same seed, the same bounds");
    ok(n < 1000 || bounds.low != other.low || bounds.high != other.high, "another seed, other bounds");
    free(values);
}

/* Of 300 samples of 100 normal-ish values (sums of 4 uniform ones) 95 % of the intervals should hold the true
 * mean: the standard deviation of that share is 0.0126, five of them are allowed, and 0.01 for the shortness
 * of a percentile interval at n = 100. */
static void coverage(void)
{
    enum { SAMPLES = 300, N = 100 };
    int held = 0;
    for (uint64_t s = 0; s < SAMPLES; s++) {
        float values[N];
        for (uint64_t i = 0; i < N; i++)
            values[i] = (float)(dt_uniform(s, i, 0) + dt_uniform(s, i, 1) + dt_uniform(s, i, 2) + dt_uniform(s, i, 3));
        dt_bounds bounds;
        dt_bootstrap_mean(values, N, 400, s, &bounds, &error);
        held += bounds.low <= 2 && 2 <= bounds.high;
    }
    ok(fabs((double)held / SAMPLES - 0.95) < 5 * 0.0126 + 0.01, "%d of %d intervals hold the mean", held, SAMPLES);
}

/* How many rows a draw has, how many different ones, and a statistic that half of the draws do not have. */
static void look(const void *context, const uint32_t *times, void *scratch, double *values)
{
    const size_t n = *(const size_t *)context;
    uint64_t *fresh = scratch;
    values[0] = values[1] = 0;
    for (size_t i = 0; i < n; i++) {
        values[0] += times[i];
        values[1] += times[i] > 0;
    }
    values[2] = times[0] % 2 ? 7 : NAN;
    values[3] = NAN;
    values[4] = (double)(*fresh)++;
}

static void bootstrap(void)
{
    against_normal(50, 0.3, 1000);
    against_normal(1001, 0.5, 20000);
    against_normal(20000, 0.93, 1000);
    coverage();
    size_t n = 1003;
    dt_bounds bounds[5];
    ok(dt_bootstrap(&(dt_bootstrap_options){.n = n, .draws = 101, .count = 5, .scratch_size = 8}, look, &n, bounds, &error),
       "several statistics");
    ok(bounds[0].low == (double)n && bounds[0].high == (double)n, "a draw has as many samples");
    /* 1 - 1/e of the samples are in a draw, with a deviation of sqrt(n (1/e - 2/e^2)) = 9.9 */
    ok(fabs(bounds[1].low - 634) < 50 && fabs(bounds[1].high - 634) < 50 && bounds[1].low < bounds[1].high,
       "a draw misses 1/e of them");
    ok(bounds[2].low == 7 && bounds[2].high == 7 && isnan(bounds[3].low) && isnan(bounds[3].high),
       "draws without the statistic do not count");
    ok(bounds[4].low == 0 && bounds[4].high == 0, "scratch is zeroed");
    const float one[] = {0.25f};
    ok(dt_bootstrap_mean(one, 1, 1, 0, bounds, &error) && bounds->low == 0.25 && bounds->high == 0.25, "one sample, one draw");
    ok(!dt_bootstrap_mean(one, 0, 1, 0, bounds, &error) && says(error.message, "0 samples"), "no samples");
    ok(!dt_bootstrap_mean(one, (size_t)1 << 33, 1, 0, bounds, &error) && says(error.message, "expected 1 to"), "too many samples");
}

/* Bounds beside a biased statistic's value are none for it; a fifth of a deviation of bias is still let pass. */
static void hold(void)
{
    const dt_bounds bounds = {.low = 1, .high = 5, .mean = 3, .deviation = 1}, none = {NAN, NAN, NAN, NAN},
                    same = {.low = 0.7, .high = 0.7, .mean = 0.7 - 1e-16, .deviation = 1e-17};
    ok(dt_bounds_hold(&bounds, 3) && dt_bounds_hold(&bounds, 2.8) && dt_bounds_hold(&bounds, 3.2), "draws around the value");
    ok(!dt_bounds_hold(&bounds, 2.7) && !dt_bounds_hold(&bounds, 3.3) && !dt_bounds_hold(&bounds, 1.01), "draws beside it");
    ok(!dt_bounds_hold(&bounds, 5.1) && !dt_bounds_hold(&bounds, NAN) && !dt_bounds_hold(&none, 3), "outside, and none");
    ok(dt_bounds_hold(&same, 0.7), "draws that all have it");
}

int main(void)
{
    hold();
    bootstrap();
    return done();
}
