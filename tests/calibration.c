/* Confidences and the expected calibration error, by hand. */
#include "eval/calibration.h"

#include "tests/tap.h"

static void calibration(void)
{
    const float scores[] = {1, 3, 2}, infinite[] = {-INFINITY, INFINITY, INFINITY}, equal[] = {4, 4, 4, 4, 4};
    double want = 1 / (1 + exp(-1.0 * 2) + exp(-2.0 * 2));
    ok(fabs(dt_confidence(scores, 3, 2) - want) < 1e-15, "confidence of scaled scores");
    ok(dt_confidence(infinite, 3, 1) == 0.5 && dt_confidence(equal, 1, 1) == 1, "infinite scores, one class");
    ok(dt_calibration_bin_of(dt_confidence(equal, 5, 1)) == 2 && dt_calibration_bin_of(0) == 0 &&
           dt_calibration_bin_of(1) == 14 && dt_calibration_bin_of(nextafter(1.0 / 15, 1)) == 1 &&
           dt_calibration_bin_of(1.0 / 15) == 0,
       "bins hold their upper ends");
    dt_calibration c = {0};
    ok(dt_calibration_error(&c) == 0, "no rows, no error");
    dt_calibration_add(&c, 0.97, true); /* bin 14: accuracy 2/3, confidence 0.97 */
    dt_calibration_add(&c, 0.99, true);
    dt_calibration_add(&c, 0.95, false);
    dt_calibration_add(&c, 0.5, true); /* bin 7: accuracy 1, confidence 0.5 */
    ok(fabs(dt_calibration_error(&c) - (3.0 / 4 * (0.97 - 2.0 / 3) + 1.0 / 4 * 0.5)) < 1e-12 && c.bins[14].count == 3 &&
           c.bins[14].right == 2 && c.bins[7].count == 1,
       "the error by hand");
}

int main(void)
{
    calibration();
    return done();
}
