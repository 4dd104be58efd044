#include "eval/calibration.h"

#include <math.h>

double dt_confidence(const float *scores, size_t classes, double scale)
{
    float most = scores[0];
    double sum = 0;
    for (size_t c = 1; c < classes; c++)
        most = scores[c] > most ? scores[c] : most;
    for (size_t c = 0; c < classes; c++) /* equal infinities have no difference */
        sum += scores[c] == most ? 1 : exp(scale * ((double)scores[c] - (double)most));
    return 1 / sum;
}

size_t dt_calibration_bin_of(double confidence)
{
    size_t bin = 0;
    while (bin + 1 < DT_CALIBRATION_BINS && confidence > (double)(bin + 1) / DT_CALIBRATION_BINS)
        bin++;
    return bin;
}

void dt_calibration_add(dt_calibration *calibration, double confidence, bool right)
{
    dt_calibration_bin *bin = &calibration->bins[dt_calibration_bin_of(confidence)];
    bin->count++;
    bin->right += right;
    bin->confidence += confidence;
}

double dt_calibration_error(const dt_calibration *calibration)
{
    double gaps = 0;
    size_t rows = 0;
    for (int i = 0; i < DT_CALIBRATION_BINS; i++) {
        const dt_calibration_bin *bin = &calibration->bins[i];
        gaps += fabs((double)bin->right - bin->confidence);
        rows += bin->count;
    }
    return rows ? gaps / (double)rows : 0;
}
