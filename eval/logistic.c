#include "eval/logistic.h"

#include <lbfgs.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/clock.h"
#include "eval/factor.h"
#include "eval/logistic_pass.h"

/* The objective is solved as F = lambda/2 sum W^2 + mean loss, lambda = 1 / (C n), or 2 / (C n) with two
 * classes; times C n it is the stated one in both cases.
 *
 * Features have directions of very different variance, so that L-BFGS in W is slow where the penalty is
 * small. It works on u instead, W = W_0 + size u M, where M = L^-1 and L L' is the curvature at W_0 (that of
 * the loss as dt_logistic_pass_curvature averages it, plus lambda): there the curvature is about 1 in every direction. As the
 * curvature moves with the probabilities, M is made again from time to time ("rounds"). `size` is the length
 * of the gradient at W_0 in those coordinates, because the first step of liblbfgs has length 1. */
typedef struct solver {
    dt_logistic_pass pass;
    double lambda, tolerance;
    size_t variables;                                   /* height x padded classes */
    double *origin, *coefficients, *gradient, *inverse; /* W_0, W, dF/dW; M [height, height] */
    double *scaled;                                     /* dF/du / size */
    double size, value, gap; /* gap: |dF/du / size|^2 / 2, what a Newton step would gain */
    bool fresh; /* value and gradient are those of the origin: the first evaluation of a round is done */
    int iterations, evaluations;
} solver;

enum {
    MEMORY = 20,      /* corrections that L-BFGS keeps */
    PATIENCE = 30,    /* iterations of the first round; each has twice as many as the one before */
    LINE_SEARCH = 30, /* evaluations of a line search */
};

/* ---- what can be wrong ---- */

static bool check_labels(const int32_t *labels, const size_t *rows, size_t n, size_t classes, dt_error *error)
{
    size_t *seen = calloc(classes, sizeof *seen);
    bool good = seen || dt_fail(error, "no memory to count %zu classes", classes);
    for (size_t i = 0; good && i < n; i++) {
        size_t row = rows ? rows[i] : i;
        int32_t label = labels[row];
        good = (label >= 0 && (size_t)label < classes) ||
               dt_fail(error, "row %zu has label %d; expected 0 to %zu", row, label, classes - 1);
        if (good)
            seen[label]++;
    }
    for (size_t k = 0; good && k < classes; k++)
        good = seen[k] ||
               dt_fail(error,
                       "none of the %zu rows to fit is of class %zu; leave the class out and number the "
                       "others anew",
                       n, k);
    free(seen);
    return good;
}

static bool check(const int32_t *labels, const size_t *rows, size_t n, size_t dim, size_t classes, double C,
                  dt_error *error)
{
    if (classes < 2 || classes > INT32_MAX)
        return dt_fail(error, "a logistic regression of %zu classes; expected at least 2", classes);
    if (!n || !dim)
        return dt_fail(error, "a logistic regression needs rows and columns; found %zu rows of %zu", n, dim);
    if (!(C > 0) || !isfinite(C))
        return dt_fail(error, "C is %g; expected a positive, finite number", C);
    return check_labels(labels, rows, n, classes, error);
}

/* ---- the model in panels and back ---- */

/* coefficients of the centred features, less their means over the classes, which change no prediction. */
static void to_panels(const dt_logistic_pass *pass, const dt_logistic *model, bool shift,
                      double *coefficients)
{
    dt_panels p = pass->by_class;
    for (size_t j = 0; j <= pass->dim; j++) {
        double sum = 0;
        for (size_t k = 0; k < p.panels * p.width; k++) {
            double *c = coefficients + dt_panels_at(p, pass->height, j, k);
            *c = k >= pass->classes ? 0 : j < pass->dim ? model->weights[k * pass->dim + j] : model->bias[k];
            for (size_t i = 0; j == pass->dim && k < pass->classes && i < pass->dim; i++)
                *c += model->weights[k * pass->dim + i] * pass->mean[i];
            sum += *c;
        }
        for (size_t k = 0; shift && k < pass->classes; k++)
            coefficients[dt_panels_at(p, pass->height, j, k)] -= sum / (double)pass->classes;
    }
    for (size_t k = pass->classes; k < p.panels * p.width; k++)
        coefficients[dt_panels_at(p, pass->height, pass->dim, k)] = DT_LOGISTIC_NEVER;
}

static void from_panels(const dt_logistic_pass *pass, const double *coefficients, dt_logistic *model)
{
    dt_panels p = pass->by_class;
    for (size_t k = 0; k < pass->classes; k++) {
        double *w = model->weights + k * pass->dim,
               bias = coefficients[dt_panels_at(p, pass->height, pass->dim, k)];
        for (size_t j = 0; j < pass->dim; j++) {
            w[j] = coefficients[dt_panels_at(p, pass->height, j, k)];
            bias -= w[j] * pass->mean[j];
        }
        model->bias[k] = bias;
    }
}

static bool model_new(dt_logistic *model, size_t classes, size_t dim, dt_error *error)
{
    *model =
        (dt_logistic){classes, dim, calloc(classes * dim, sizeof(double)), calloc(classes, sizeof(double))};
    if (model->weights && model->bias)
        return true;
    dt_logistic_free(model);
    return dt_fail(error, "no memory for a model of %zu features and %zu classes", dim, classes);
}

void dt_logistic_free(dt_logistic *model)
{
    free(model->weights);
    free(model->bias);
    *model = (dt_logistic){0};
}

/* A gradient in panels as one by the model's weights and bias, where those are wanted; returns its largest
 * entry. The intercept of centred features is b + W mean. */
static double gradient_out(const dt_logistic_pass *pass, const double *gradient, double *weights,
                           double *bias)
{
    dt_panels p = pass->by_class;
    double most = 0;
    for (size_t k = 0; k < pass->classes; k++) {
        double by_bias = gradient[dt_panels_at(p, pass->height, pass->dim, k)];
        most = fmax(most, fabs(by_bias));
        if (bias)
            bias[k] = by_bias;
        for (size_t j = 0; j < pass->dim; j++) {
            double slope = gradient[dt_panels_at(p, pass->height, j, k)] + by_bias * pass->mean[j];
            most = fmax(most, fabs(slope));
            if (weights)
                weights[k * pass->dim + j] = slope;
        }
    }
    return most;
}

/* No weights; as intercepts the logarithms of the classes' shares, less their mean. Returns F there, which is
 * the entropy of the shares. */
static double cold_start(const dt_logistic_pass *pass, double *coefficients)
{
    dt_panels p = pass->by_class;
    double mean = 0, entropy = 0;
    memset(coefficients, 0, dt_panels_size(p, pass->height) * sizeof *coefficients);
    for (size_t i = 0; i < pass->n; i++) {
        size_t k = (size_t)pass->labels[pass->rows ? pass->rows[i] : i];
        coefficients[dt_panels_at(p, pass->height, pass->dim, k)]++;
    }
    for (size_t k = 0; k < p.panels * p.width; k++) {
        double *bias = &coefficients[dt_panels_at(p, pass->height, pass->dim, k)],
               share = *bias / (double)pass->n;
        *bias = k < pass->classes ? log(share) : DT_LOGISTIC_NEVER;
        mean += k < pass->classes ? *bias / (double)pass->classes : 0;
        entropy -= k < pass->classes ? share * *bias : 0;
    }
    for (size_t k = 0; k < pass->classes; k++)
        coefficients[dt_panels_at(p, pass->height, pass->dim, k)] -= mean;
    return entropy;
}

/* ---- value and gradient ---- */

/* F at the coefficients, its gradient by them. */
static double value_at(dt_logistic_pass *pass, double lambda, const double *coefficients, double *gradient)
{
    dt_panels p = pass->by_class;
    double loss = dt_logistic_pass_loss(pass, coefficients, gradient), squares = 0;
    for (size_t q = 0; q < p.panels; q++) {
        size_t at = q * pass->height * p.width, end = at + pass->dim * p.width; /* without the intercepts */
        for (size_t i = at; i < end; i++) {
            squares += coefficients[i] * coefficients[i];
            gradient[i] += lambda * coefficients[i];
        }
    }
    return loss + lambda / 2 * squares;
}

/* out = factor (M or its transpose) in; all panels at once. */
static void multiply(const solver *s, bool transposed, const double *in, double *out)
{
    const dt_logistic_pass *pass = &s->pass;
    size_t height = pass->height, width = pass->by_class.width;
    dt_panel_left left =
        transposed ? (dt_panel_left){s->inverse, 1, height} : (dt_panel_left){s->inverse, height, 1};
#pragma omp parallel for num_threads(pass->threads) schedule(static)
    for (size_t q = 0; q < pass->by_class.panels; q++)
        dt_panel_product(width, 0, height, height, left, in + q * height * width, false,
                         out + q * height * width);
}

static void move(solver *s, const double *u)
{
    multiply(s, true, u, s->coefficients);
    for (size_t i = 0; i < s->variables; i++)
        s->coefficients[i] = s->origin[i] + s->size * s->coefficients[i];
}

static lbfgsfloatval_t evaluate(void *instance, const lbfgsfloatval_t *u, lbfgsfloatval_t *slope, int n,
                                lbfgsfloatval_t step)
{
    solver *s = instance;
    (void)n, (void)step;
    if (!s->fresh) {
        move(s, u);
        s->value = value_at(&s->pass, s->lambda, s->coefficients, s->gradient);
        s->evaluations++;
        multiply(s, false, s->gradient, s->scaled);
    }
    s->fresh = false;
    for (size_t i = 0; i < s->variables; i++)
        slope[i] = s->size * s->scaled[i];
    return s->value;
}

static bool settled(const solver *s)
{
    return s->gap <= s->tolerance * s->value;
}

static int progress(void *instance, const lbfgsfloatval_t *u, const lbfgsfloatval_t *slope,
                    const lbfgsfloatval_t value, const lbfgsfloatval_t length,
                    const lbfgsfloatval_t slope_length, const lbfgsfloatval_t step, int n, int iteration,
                    int evaluations)
{
    solver *s = instance;
    (void)u, (void)slope, (void)value, (void)length, (void)step, (void)n, (void)iteration, (void)evaluations;
    s->iterations++;
    s->gap = slope_length * slope_length / (s->size * s->size) / 2;
    return settled(s);
}

/* ---- coordinates ---- */

/* M at the origin. Columns are brought to one scale first, and a little is added to the diagonal, so that the
 * factor exists where features depend on each other and the penalty is next to nothing: that changes the
 * coordinates, not the solution. */
static bool new_coordinates(solver *s, dt_error *error)
{
    size_t side = s->pass.dim + 1, height = s->pass.height;
    double *curvature = malloc(side * side * sizeof *curvature), *unit = malloc(side * sizeof *unit);
    bool good =
        (curvature && unit) || dt_fail(error, "no memory for the curvature of %zu features", s->pass.dim);
    if (good) {
        dt_logistic_pass_curvature(&s->pass, s->origin, curvature);
        for (size_t j = 0; j < side; j++) {
            double own = curvature[j * side + j] + (j < s->pass.dim ? s->lambda : 0);
            unit[j] = own > 0 ? 1 / sqrt(own) : 1;
            for (size_t i = 0; i < j; i++)
                curvature[j * side + i] *= unit[i] * unit[j];
            curvature[j * side + j] = 1 + 1e-10;
        }
        dt_cholesky(curvature, side, s->pass.threads);
        dt_invert_lower(curvature, side, s->inverse, height, s->pass.threads);
        for (size_t i = 0; i < side; i++)
            for (size_t j = 0; j <= i; j++)
                s->inverse[i * height + j] *= unit[j];
    }
    free(curvature);
    free(unit);
    return good;
}

/* ---- the fit ---- */

static double *zeros(size_t count)
{
    return calloc(count, sizeof(double));
}

static bool allocate(solver *s, dt_error *error)
{
    s->variables = dt_panels_size(s->pass.by_class, s->pass.height);
    s->origin = zeros(s->variables);
    s->coefficients = zeros(s->variables);
    s->gradient = zeros(s->variables);
    s->scaled = zeros(s->variables);
    s->inverse = zeros(s->pass.height * s->pass.height);
    return (s->origin && s->coefficients && s->gradient && s->scaled && s->inverse &&
            s->variables <= INT32_MAX - 16) ||
           dt_fail(error, "no memory for a logistic regression of %zu features and %zu classes", s->pass.dim,
                   s->pass.classes);
}

static void release(solver *s)
{
    dt_logistic_pass_close(&s->pass);
    free(s->origin);
    free(s->coefficients);
    free(s->gradient);
    free(s->scaled);
    free(s->inverse);
}

/* Value, gradient and gap at the origin, in the round's coordinates. */
static void evaluate_origin(solver *s)
{
    s->value = value_at(&s->pass, s->lambda, s->origin, s->gradient);
    s->evaluations++;
    multiply(s, false, s->gradient, s->scaled);
    double squares = 0;
    for (size_t i = 0; i < s->variables; i++)
        squares += s->scaled[i] * s->scaled[i];
    s->gap = squares / 2;
    s->size = sqrt(squares);
    s->fresh = true;
}

/* At most so many iterations from the origin, which moves to where they end. */
static bool run_round(solver *s, lbfgsfloatval_t *u, int iterations, int *status, dt_error *error)
{
    lbfgs_parameter_t settings;
    lbfgs_parameter_init(&settings);
    settings.m = MEMORY;
    settings.epsilon = 0; /* progress decides */
    settings.max_iterations = iterations;
    settings.max_linesearch = LINE_SEARCH;
    memset(u, 0, s->variables * sizeof *u);
    *status = lbfgs((int)s->variables, u, NULL, evaluate, progress, s, &settings);
    if (*status == LBFGSERR_OUTOFMEMORY)
        return dt_fail(error, "no memory for L-BFGS over %zu variables", s->variables);
    move(s, u);
    memcpy(s->origin, s->coefficients, s->variables * sizeof *s->origin);
    return true;
}

/* What is left to gain is judged at the start of a round only: L-BFGS ends a round when it seems settled, but
 * in coordinates that may have aged. Where a line search fails at the first iteration of a round, float64 has
 * no better point than the origin, or almost: the rest is lost in the rounding of the sum over the rows. */
static bool minimise(solver *s, int most, bool *converged, dt_error *error)
{
    const double rounding = 1e-11;
    lbfgsfloatval_t *u = lbfgs_malloc((int)s->variables);
    bool good = u || dt_fail(error, "no memory for L-BFGS over %zu variables", s->variables);
    int status = 0, before = -1;
    for (int patience = PATIENCE; good; patience *= 2) {
        good = new_coordinates(s, error);
        if (!good)
            break;
        evaluate_origin(s);
        bool stuck = s->iterations == before;
        *converged = settled(s) || (stuck && s->gap <= rounding * s->value);
        if (*converged || s->iterations >= most)
            break;
        before = s->iterations;
        good = stuck
                   ? dt_fail(error,
                             "L-BFGS stopped (liblbfgs code %d) with %.2g of the objective left to gain; the "
                             "features may be of very different sizes: normalise them",
                             status, s->gap / s->value)
                   : run_round(s, u, patience < most - before ? patience : most - before, &status, error);
    }
    lbfgs_free(u);
    return good;
}

static bool check_start(const dt_logistic *start, size_t classes, size_t dim, dt_error *error)
{
    if (start->classes != classes || start->dim != dim)
        return dt_fail(error,
                       "the model to start from has %zu classes and %zu features; expected %zu and %zu",
                       start->classes, start->dim, classes, dim);
    for (size_t i = 0; i < classes * dim; i++)
        if (!isfinite(start->weights[i]) || !isfinite(start->bias[i / dim]))
            return dt_fail(error, "the model to start from is not finite at class %zu", i / dim);
    return true;
}

/* The origin from the model to start from, where that is better than none: the solution for a much greater C
 * is not. */
static void choose_start(solver *s, const dt_logistic *start)
{
    double cold = cold_start(&s->pass, s->origin);
    if (!start)
        return;
    to_panels(&s->pass, start, true, s->coefficients);
    s->evaluations++;
    if (value_at(&s->pass, s->lambda, s->coefficients, s->gradient) < cold)
        memcpy(s->origin, s->coefficients, s->variables * sizeof *s->origin);
}

bool dt_logistic_fit(dt_logistic *model, const float *x, const int32_t *labels, const size_t *rows, size_t n,
                     size_t dim, const dt_logistic_options *options, dt_logistic_facts *facts,
                     dt_error *error)
{
    double since = dt_now();
    *model = (dt_logistic){0};
    if (!check(labels, rows, n, dim, options->classes, options->C, error) ||
        (options->start && !check_start(options->start, options->classes, dim, error)))
        return false;
    solver s = {.tolerance = options->tolerance > 0 ? options->tolerance : 1e-9,
                .lambda = (options->classes == 2 ? 2 : 1) / (options->C * (double)n)};
    dt_logistic_facts found = {0};
    bool good =
        dt_logistic_pass_open(&s.pass, x, labels, rows, n, dim, options->classes, options->threads, error) &&
        dt_logistic_pass_centre(&s.pass, error) && allocate(&s, error);
    if (good)
        choose_start(&s, options->start);
    good =
        good &&
        minimise(&s, options->max_iterations > 0 ? options->max_iterations : 1000, &found.converged, error) &&
        model_new(model, options->classes, dim, error);
    if (good) {
        from_panels(&s.pass, s.origin, model);
        double scale = options->C * (double)n;
        found.objective = scale * s.value;
        found.gradient_max = scale * gradient_out(&s.pass, s.gradient, NULL, NULL);
        found.iterations = s.iterations;
        found.evaluations = s.evaluations;
        found.seconds = dt_now() - since;
    }
    if (good && facts)
        *facts = found;
    release(&s);
    return good;
}

bool dt_logistic_objective(const dt_logistic *model, const float *x, const int32_t *labels,
                           const size_t *rows, size_t n, double C, int threads, double *objective,
                           double *weights_gradient, double *bias_gradient, dt_error *error)
{
    if (!check(labels, rows, n, model->dim, model->classes, C, error))
        return false;
    solver s = {.lambda = (model->classes == 2 ? 2 : 1) / (C * (double)n)};
    bool good =
        dt_logistic_pass_open(&s.pass, x, labels, rows, n, model->dim, model->classes, threads, error) &&
        dt_logistic_pass_centre(&s.pass, error) && allocate(&s, error);
    if (good) {
        to_panels(&s.pass, model, false, s.origin);
        double scale = C * (double)n, value = value_at(&s.pass, s.lambda, s.origin, s.gradient);
        for (size_t i = 0; i < s.variables; i++)
            s.gradient[i] *= scale;
        gradient_out(&s.pass, s.gradient, weights_gradient, bias_gradient);
        if (objective)
            *objective = scale * value;
    }
    release(&s);
    return good;
}

bool dt_logistic_scores(const dt_logistic *model, const float *x, const size_t *rows, size_t n, int threads,
                        float *scores, dt_error *error)
{
    dt_logistic_pass pass;
    double *coefficients = NULL;
    bool good = dt_logistic_pass_open(&pass, x, NULL, rows, n, model->dim, model->classes, threads, error);
    if (good)
        good = (coefficients = zeros(dt_panels_size(pass.by_class, pass.height))) ||
               dt_fail(error, "no memory for the scores of %zu classes", model->classes);
    if (good) {
        to_panels(&pass, model, false, coefficients);
        dt_logistic_pass_scores(&pass, coefficients, scores);
    }
    free(coefficients);
    dt_logistic_pass_close(&pass);
    return good;
}
