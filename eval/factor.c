#include "eval/factor.h"

#include <math.h>

void dt_cholesky(double *a, size_t side, int threads)
{
    for (size_t j = 0; j < side; j++) {
        const double *top = a + j * side;
        double pivot = top[j];
        for (size_t k = 0; k < j; k++)
            pivot -= top[k] * top[k];
        pivot = sqrt(pivot);
        a[j * side + j] = pivot;
#pragma omp parallel for num_threads(threads) schedule(static) if ((side - j) * j > 1 << 18)
        for (size_t i = j + 1; i < side; i++) {
            double *row = a + i * side, sum = 0;
#pragma omp simd reduction(+ : sum)
            for (size_t k = 0; k < j; k++)
                sum += row[k] * top[k];
            row[j] = (row[j] - sum) / pivot;
        }
    }
}

void dt_invert_lower(const double *l, size_t side, double *m, size_t height, int threads)
{
    enum { COLUMNS = 64 };
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (size_t first = 0; first < side; first += COLUMNS)
        for (size_t i = first; i < side; i++) {
            size_t end = first + COLUMNS <= i ? first + COLUMNS : i + 1;
            double *row = m + i * height;
            for (size_t j = first; j < end; j++)
                row[j] = j == i;
            for (size_t k = first; k < i; k++) {
                size_t known = end <= k ? end : k + 1;
                for (size_t j = first; j < known; j++)
                    row[j] -= l[i * side + k] * m[k * height + j];
            }
            for (size_t j = first; j < end; j++)
                row[j] /= l[i * side + i];
        }
}
