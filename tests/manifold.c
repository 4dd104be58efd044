/* Precision and recall of distributions: against references, across blocks, with duplicates, bad input. */
#include "eval/manifold.h"

#include "data/shuffle.h"
#include "tests/distances_golden.h"

static dt_error error;

static double share_of(dt_feature_rows features, dt_feature_rows queries, size_t k)
{
    double *radii = calloc(features.n + 1, sizeof *radii), share = NAN;
    bool good = dt_manifold_radii(features, k, radii, &error) && dt_manifold_share(features, radii, queries, &share, &error);
    free(radii);
    return good ? share : NAN;
}

static void check_stored(void)
{
    dt_safetensors *file = stored_open();
    for (int i = 0; file && i < STORED_CASES; i++) {
        const stored_case c = stored_read(file, stored_names[i]);
        double precision = share_of(c.a, c.b, 3), recall = share_of(c.b, c.a, 3);
        ok(precision == c.precision && recall == c.recall, "%s: precision %g and recall %g (want %g and %g)", stored_names[i],
           precision, recall, c.precision, c.recall);
        ok(share_of(c.a, c.a, 1) == 1, "%s: a set is inside itself", stored_names[i]);
    }
    dt_safetensors_close(file);
}

/* Numbers on a line: 0, 1, 3, 6, 10 ... The k-th nearest can be told by hand. */
static void check_line(void)
{
    const float line[] = {0, 1, 3, 6, 10};
    double radii[5];
    static const double first[] = {1, 1, 4, 9, 16}, third[] = {36, 25, 9, 25, 81};
    ok(dt_manifold_radii((dt_feature_rows){line, 5, 1}, 1, radii, &error) && !memcmp(radii, first, sizeof radii),
       "the nearest on a line");
    ok(dt_manifold_radii((dt_feature_rows){line, 5, 1}, 3, radii, &error) && !memcmp(radii, third, sizeof radii),
       "the third nearest on a line");
    const float queries[] = {-1, -1.5F, 2, 5, 14, 14.5F};
    ok(dt_manifold_radii((dt_feature_rows){line, 5, 1}, 1, radii, &error), "balls that reach to the nearest");
    double share;
    ok(dt_manifold_share((dt_feature_rows){line, 5, 1}, radii, (dt_feature_rows){queries, 6, 1}, &share, &error) &&
           share == 4 / 6.0,
       "a rim belongs to its ball");
}

/* Every row four times, far from the origin: balls of radius 0, which hold their own row, and nothing beside it. */
static void check_duplicates(size_t n, size_t dim)
{
    float *rows = malloc(n * dim * sizeof *rows), *beside = malloc(n * dim * sizeof *beside);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < dim; j++) {
            rows[i * dim + j] = 100 + (float)dt_uniform(4, i % (n / 4), j);
            beside[i * dim + j] = rows[i * dim + j] + (j == i % dim ? 1e-4F : 0);
        }
    double *radii = malloc(n * sizeof *radii), most = 0;
    const dt_feature_rows f = {rows, n, dim};
    bool good = dt_manifold_radii(f, 3, radii, &error);
    for (size_t i = 0; good && i < n; i++)
        most = larger(most, radii[i]);
    ok(good && most == 0, "%zu rows, each four times: all radii are 0 (%g)", n, most);
    ok(share_of(f, f, 3) == 1, "and all rows inside");
    ok(share_of(f, (dt_feature_rows){beside, n, dim}, 3) == 0, "what is beside them is not");
    ok(share_of(f, (dt_feature_rows){beside, n, dim}, 4) == 1, "but inside balls that reach to others");
    free(rows);
    free(beside);
    free(radii);
}

static void check_refused(void)
{
    float rows[6] = {1, 0, 0, 1, 0, NAN};
    double radii[3], share;
    const dt_feature_rows two = {rows, 2, 2}, three = {rows, 3, 2}, wide = {rows, 1, 3};
    refuse(&error, "as many neighbours as rows", dt_manifold_radii(two, 2, radii, &error), "2 rows have no 2 nearest");
    refuse(&error, "no neighbours", dt_manifold_radii(two, 0, radii, &error), "no 0 nearest");
    refuse(&error, "a row that is no number", dt_manifold_radii(three, 1, radii, &error), "row 2 is not finite");
    refuse(&error, "another width", dt_manifold_share(two, radii, wide, &share, &error), "width 3");
    refuse(&error, "a query that is no number", dt_manifold_share(two, radii, three, &share, &error), "row 2 is not finite");
}

int main(void)
{
    check_stored();
    check_line();
    check_duplicates(100, 3);
    check_duplicates(2300, 20);
    check_refused();
    return done();
}
