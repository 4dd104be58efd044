#include "data/shuffle.h"

#include "tests/tap.h"

static dt_error error;

static bool bijection(uint64_t n, uint64_t seed, uint64_t epoch)
{
    char *seen = calloc(n, 1);
    bool good = seen != NULL;
    for (uint64_t i = 0; good && i < n; i++) {
        uint64_t to = dt_permute(n, seed, epoch, i);
        good = to < n && !seen[to];
        if (good)
            seen[to] = 1;
    }
    free(seen);
    return good;
}

static void permutations(void)
{
    bool good = true;
    for (uint64_t n = 1; n < 300; n++)
        good = good && bijection(n, 7, n % 5);
    ok(good, "a bijection on every n below 300");
    ok(bijection(50000, 1, 0) && bijection(65537, 1, 1) && bijection(1000003, 2, 9), "and on large odd n");

    /* Where element 0 and element 1 go, over many epochs: chi-square against uniform. */
    enum { N = 13, EPOCHS = 26000 };
    int first[N] = {0}, step[N] = {0};
    for (uint64_t epoch = 0; epoch < EPOCHS; epoch++) {
        uint64_t a = dt_permute(N, 3, epoch, 0), b = dt_permute(N, 3, epoch, 1);
        first[a]++;
        step[(b + N - a) % N]++;
    }
    double chi = 0, chi_step = 0, mean = EPOCHS / (double)N, mean_step = EPOCHS / (double)(N - 1);
    for (int i = 0; i < N; i++) {
        chi += (first[i] - mean) * (first[i] - mean) / mean;
        if (i)
            chi_step += (step[i] - mean_step) * (step[i] - mean_step) / mean_step;
    }
    ok(chi < 32.9, "places are uniform (chi-square %.1f with 12 degrees of freedom, p 0.001 at 32.9)", chi);
    ok(chi_step < 31.3 && step[0] == 0, "neighbours are independent (chi-square %.1f, p 0.001 at 31.3)",
       chi_step);

    int fixed = 0;
    for (uint64_t i = 0; i < 10007; i++)
        fixed += dt_permute(10007, 1, 0, i) == dt_permute(10007, 1, 1, i);
    ok(fixed < 8, "two epochs agree in %d of 10007 places, about 1 expected", fixed);
    ok(dt_permute(UINT64_MAX, 1, 0, 5) < UINT64_MAX && dt_permute(1ull << 63, 1, 0, 5) < 1ull << 63,
       "huge n");
}

static void hashing(void)
{
    enum { BINS = 64, N = 64000 };
    int bins[BINS] = {0}, flips = 0;
    double sum = 0;
    bool inside = true;
    for (uint64_t i = 0; i < N; i++) {
        double u = dt_uniform(5, i, 2);
        inside = inside && u >= 0 && u < 1;
        sum += u;
        bins[(int)(u * BINS)]++;
        flips += __builtin_popcountll(dt_hash64(5, i, 2) ^ dt_hash64(5, i ^ 1ull << i % 64, 2));
    }
    double chi = 0;
    for (int i = 0; i < BINS; i++)
        chi += (bins[i] - N / BINS) * (double)(bins[i] - N / BINS) / (N / BINS);
    ok(inside && fabs(sum / N - 0.5) < 0.005, "uniform on [0, 1), mean %.4f", sum / N);
    ok(chi < 103.4, "uniform (chi-square %.1f with 63 degrees of freedom, p 0.001 at 103.4)", chi);
    ok(fabs(flips / (double)N - 32) < 0.2, "one changed bit changes %.2f of 64", flips / (double)N);
    ok(dt_hash64(1, 2, 3) != dt_hash64(1, 3, 2) && dt_hash64(1, 2, 3) != dt_hash64(2, 1, 3), "order matters");
    ok(dt_hash64(0, 0, 0) == 0x238275bc38fcbe91u, "the stream never changes (%llx)",
       (unsigned long long)dt_hash64(0, 0, 0));
}

static void weighted(void)
{
    const float weights[7] = {0, 1, 2.5f, 0, 1e-3f, 40, 6.5f};
    enum { N = 200000 };
    dt_alias *alias = dt_alias_new(weights, 7, &error);
    int counts[7] = {0};
    double worst = 0;
    for (uint64_t i = 0; i < N; i++)
        counts[dt_alias_draw(alias, dt_uniform(11, i, 0))]++;
    for (int i = 0; i < 7; i++) {
        double expected = N * (weights[i] / 50.001), sigma = sqrt(expected) + 1e-9;
        if (weights[i] > 0)
            worst = fmax(worst, fabs(counts[i] - expected) / sigma);
    }
    ok(counts[0] == 0 && counts[3] == 0, "weight 0 is never drawn");
    ok(worst < 4, "frequencies follow the weights (worst %.1f sigma)", worst);
    ok(dt_alias_draw(alias, 0) < 7 && dt_alias_draw(alias, 1 - 0x1p-53) < 7, "the ends of the range");
    dt_alias_free(alias);

    float many[1001];
    bool zero = false;
    for (int i = 0; i < 1001; i++)
        many[i] = i % 3 ? 0.1f : 0;
    alias = dt_alias_new(many, 1001, &error);
    for (uint64_t i = 0; i < N; i++)
        zero = zero || many[dt_alias_draw(alias, (double)i / N)] == 0;
    ok(!zero, "nor is it where rounding leaves cells over");
    dt_alias_free(alias);

    ok(!dt_alias_new(many, 1, &error) && strstr(error.message, "all 1 sampling weights are 0"),
       "all 0 is refused");
    ok(!dt_alias_new((const float[]){1, NAN}, 2, &error) && strstr(error.message, "weight 1 is nan"),
       "NaN is refused");
    ok(!dt_alias_new((const float[]){-1, 1}, 2, &error) && says(error.message, "sampling weight 0 is -1"), "a negative one is refused");
    ok(!dt_alias_new(NULL, 0, &error) && says(error.message, "0 sampling weights"), "none is refused");
}

int main(void)
{
    permutations();
    hashing();
    weighted();
    return done();
}
