#include "eval/singular.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    PARTS = 16,      /* of the rows, each summed on its own: the sum does not depend on the number of threads */
    ITERATIONS = 60, /* for one eigenvalue; two or three are usual */
    ALONE = 1 << 18, /* numbers that are not worth a second thread */
};

/* Reflections from both sides make a [m, n] upper bidiagonal, column by column and row by row. Those of a step
 * change all that is left of a by u y' + x v', which is done when the next step passes over it. */
typedef struct work {
    double *a;
    size_t m, n;
    double *u, *x;    /* [m] */
    double *y, *v;    /* [n] */
    double *next;     /* [m] the next u */
    double *sums;     /* [PARTS, n] */
    double *off;      /* [2 n]: the bidiagonal, d0 e0 d1 e1 ... */
    double *diagonal; /* [2 n] */
} work;

/* Makes h the vector of the reflection 1 - factor h h' that takes h to (alpha, 0, 0 ...); gives alpha. */
static double reflect(double *h, size_t n, double *factor)
{
    double squares = 0;
    for (size_t i = 0; i < n; i++)
        squares += h[i] * h[i];
    if (squares == 0) {
        *factor = 0;
        return 0;
    }
    double alpha = -copysign(sqrt(squares), h[0]);
    h[0] -= alpha;
    *factor = -1 / (alpha * h[0]);
    return alpha;
}

/* Brings the rows from k on up to date, right of column k; y = factor a' next. */
static void update(work *w, size_t k, double factor)
{
    size_t width = w->n - k - 1, rows = w->m - k, part = (rows + PARTS - 1) / PARTS;
    const double *y = w->y + k + 1, *v = w->v + k + 1;
#pragma omp parallel for schedule(static) if (rows * width > ALONE)
    for (size_t p = 0; p < PARTS; p++) {
        double *sum = w->sums + p * w->n;
        memset(sum, 0, width * sizeof *sum);
        size_t end = k + (p + 1) * part < w->m ? k + (p + 1) * part : w->m;
        for (size_t i = k + p * part; i < end; i++) {
            double *row = w->a + i * w->n + k + 1, u = w->u[i], x = w->x[i], h = w->next[i] * factor;
            for (size_t j = 0; j < width; j++) {
                row[j] -= u * y[j] + x * v[j];
                sum[j] += h * row[j];
            }
        }
    }
    for (size_t j = 0; j < width; j++) {
        double sum = 0;
        for (size_t p = 0; p < PARTS; p++)
            sum += w->sums[p * w->n + j];
        w->y[k + 1 + j] = sum;
    }
}

/* x = factor (a - u y') v of the rows below k, right of column k. */
static void turn(work *w, size_t k, double factor)
{
    size_t width = w->n - k - 1;
    const double *y = w->y + k + 1, *v = w->v + k + 1;
    double both = 0;
    for (size_t j = 0; j < width; j++)
        both += y[j] * v[j];
#pragma omp parallel for schedule(static) if ((w->m - k) * width > ALONE)
    for (size_t i = k + 1; i < w->m; i++) {
        const double *row = w->a + i * w->n + k + 1;
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (size_t j = 0; j < width; j++)
            sum += row[j] * v[j];
        w->x[i] = factor * (sum - w->u[i] * both);
    }
}

static void make_bidiagonal(work *w)
{
    for (size_t k = 0; k < w->n; k++) {
        double factor, *old = w->u;
        for (size_t i = k; i < w->m; i++)
            w->next[i] = w->a[i * w->n + k] - w->u[i] * w->y[k] - w->x[i] * w->v[k];
        w->off[2 * k] = reflect(w->next + k, w->m - k, &factor);
        if (k + 1 == w->n)
            return;
        update(w, k, factor);
        w->u = w->next;
        w->next = old;
        for (size_t j = k + 1; j < w->n; j++)
            w->v[j] = w->a[k * w->n + j] - w->u[k] * w->y[j];
        w->off[2 * k + 1] = reflect(w->v + k + 1, w->n - k - 1, &factor);
        turn(w, k, factor);
    }
}

/* One implicit QL step on rows first .. last of the symmetric tridiagonal matrix, none of whose off[first .. last -
 * 1] is negligible, with the shift of Wilkinson. */
static void ql_step(double *diagonal, double *off, size_t first, size_t last)
{
    double g = (diagonal[first + 1] - diagonal[first]) / (2 * off[first]);
    g = diagonal[last] - diagonal[first] + off[first] / (g + copysign(sqrt(g * g + 1), g));
    double sine = 1, cosine = 1, shift = 0;
    for (size_t i = last; i-- > first;) {
        double f = sine * off[i], b = cosine * off[i], r = sqrt(f * f + g * g);
        off[i + 1] = r;
        if (r == 0) { /* the matrix has come apart here */
            diagonal[i + 1] -= shift;
            off[last] = 0;
            return;
        }
        sine = f / r;
        cosine = g / r;
        g = diagonal[i + 1] - shift;
        r = (diagonal[i] - g) * sine + 2 * cosine * b;
        shift = sine * r;
        diagonal[i + 1] = g + shift;
        g = cosine * r - b;
    }
    diagonal[first] -= shift;
    off[first] = g;
    off[last] = 0;
}

/* Eigenvalues of the symmetric tridiagonal matrix into `diagonal`; off[n - 1] is 0. */
static bool find_eigenvalues(double *diagonal, double *off, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fmax(fabs(diagonal[i]), fabs(off[i])));
    for (size_t first = 0; first < n; first++) {
        size_t last = n;
        for (int i = 0; last != first; i++) {
            for (last = first; last + 1 < n && fabs(off[last]) > DBL_EPSILON * most;)
                last++;
            if (last != first && i == ITERATIONS)
                return false;
            if (last != first)
                ql_step(diagonal, off, first, last);
        }
    }
    return true;
}

/* All numbers to at most 1, so that no square is out of range; what they were divided by. */
static double scale_down(double *a, size_t count)
{
    double most = 0;
    for (size_t i = 0; i < count; i++)
        most = fmax(most, fabs(a[i]));
    for (size_t i = 0; most > 0 && i < count; i++)
        a[i] /= most;
    return most;
}

bool dt_nuclear_norm(double *a, size_t m, size_t n, double *norm, dt_error *error)
{
    *norm = 0;
    double scale = scale_down(a, m * n), sum = 0;
    if (scale == 0)
        return true;
    double *room = calloc(3 * m + 2 * n + PARTS * n + 4 * n, sizeof *room);
    if (!room)
        return dt_fail(error, "no memory for the singular values of a matrix of %zu x %zu", m, n);
    work w = {a, m, n, .u = room, .x = room + m, .next = room + 2 * m, .y = room + 3 * m};
    w.v = w.y + n;
    w.sums = w.v + n;
    w.off = w.sums + PARTS * n;
    w.diagonal = w.off + 2 * n;
    make_bidiagonal(&w);
    /* The symmetric tridiagonal matrix with a zero diagonal, beside which the bidiagonal's numbers stand, has the
     * singular values and their negatives for eigenvalues. */
    bool good = find_eigenvalues(w.diagonal, w.off, 2 * n);
    for (size_t i = 0; i < 2 * n; i++)
        sum += fabs(w.diagonal[i]) / 2;
    *norm = sum * scale;
    free(room);
    return good || dt_fail(error, "the singular values of a matrix of %zu x %zu do not converge", m, n);
}
