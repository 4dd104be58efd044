#include "encoders/vae.h"

#include "encoders/initial.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "encoders/transformer.h"

enum { BLOCKS = 2, LARGEST_SIDE = 4096, LARGEST_WIDTH = 1 << 16, LARGEST_CODEBOOK = 1 << 20 };

/* ---- What can be made ---- */

__attribute__((format(printf, 3, 4))) static bool refuse(char *message, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, size, format, arguments);
    va_end(arguments);
    return false;
}

static bool check_widths(const dt_vae_config *c, char *message, size_t size)
{
    if (c->layers < 1 || c->layers > DT_VAE_LAYERS)
        return refuse(message, size, "%d widths: expected 1 to %d, one for each hidden layer", c->layers, DT_VAE_LAYERS);
    for (int i = 0; i < c->layers; i++)
        if (c->widths[i] < 1 || c->widths[i] > LARGEST_WIDTH)
            return refuse(message, size, "width %d of layer %d: expected 1 to %d", c->widths[i], i, LARGEST_WIDTH);
    if (c->network == DT_VAE_CONV && c->image_size % (1 << c->layers))
        return refuse(message, size, "an image of %d pixels cannot be halved %d times, once for each width; "
                      "choose a multiple of %d, or fewer widths", c->image_size, c->layers, 1 << c->layers);
    return true;
}

static bool check_codes(const dt_vae_config *c, char *message, size_t size)
{
    if (c->codes < 2 || c->codes > LARGEST_CODEBOOK)
        return refuse(message, size, "%d codes: expected 2 to %d, or 0 for a Gaussian latent", c->codes, LARGEST_CODEBOOK);
    if (c->network != DT_VAE_CONV)
        return refuse(message, size, "a codebook needs the convolutional network, whose latent is a grid");
    if (!(c->code_decay >= 0 && c->code_decay < 1))
        return refuse(message, size, "code decay %g: expected 0 or more and below 1", (double)c->code_decay);
    if (!(c->commitment >= 0 && c->commitment < INFINITY))
        return refuse(message, size, "commitment %g: expected 0 or more", (double)c->commitment);
    return true;
}

static bool check_likelihood(const dt_vae_config *c, char *message, size_t size)
{
    if (c->likelihood == DT_LIKELIHOOD_BERNOULLI)
        return !c->learned_scale || refuse(message, size, "a Bernoulli likelihood has no scale that could be learned");
    return fabsf(c->fixed_log_scale) <= 20 ||
           refuse(message, size, "the logarithm of the scale is %g: expected -20 to 20", (double)c->fixed_log_scale);
}

bool dt_vae_check(const dt_vae_config *c, char *message, size_t size)
{
    if (c->image_size < 1 || c->image_size > LARGEST_SIDE)
        return refuse(message, size, "an image size of %d: expected 1 to %d pixels", c->image_size, LARGEST_SIDE);
    if (c->channels != 1 && c->channels != 3)
        return refuse(message, size, "%d channels: expected 1 (grey) or 3 (colour)", c->channels);
    if (c->latent < 1 || c->latent > LARGEST_WIDTH)
        return refuse(message, size, "a latent size of %d: expected 1 to %d", c->latent, LARGEST_WIDTH);
    if (c->tanh && c->network != DT_VAE_MLP)
        return refuse(message, size, "tanh units are those of the MLP; the convolutional network has rectifiers");
    return check_widths(c, message, size) && (!c->codes || check_codes(c, message, size)) && check_likelihood(c, message, size);
}

/* Whether the config can be made, has a codebook or not as the caller needs, and the argument its shape; else the graph is
 * marked. */
static bool fits(const dt_vae_config *c, bool grid, const dt_tensor *x, dt_shape want, const char *what)
{
    char message[256];
    dt_graph *g = dt_graph_of(x);
    want.dim[0] = x->shape.rank ? x->shape.dim[0] : 0;
    if (dt_graph_error(g))
        return false;
    if (!dt_vae_check(c, message, sizeof message))
        dt_graph_fail(g, "vae", "%s", message);
    else if ((c->codes > 0) != grid)
        dt_graph_fail(g, "vae", "%s", grid ? "it has no codebook: its latent is a vector"
                                           : "it has a codebook: its latent is a grid of codes");
    else if (!dt_same_shape(&x->shape, &want))
        dt_graph_fail(g, "vae", "%s has the shape %s, expected %s", what, dt_shape_text(&x->shape).chars,
                      dt_shape_text(&want).chars);
    return !dt_graph_error(g);
}

static dt_shape image_shape(const dt_vae_config *c, int64_t n, int channels)
{
    return dt_dims(n, c->image_size, c->image_size, channels);
}

dt_tensor *dt_vae_target(const dt_vae_config *c, dt_tensor *images)
{
    return c->channels == 3 ? images : dt_slice(images, 3, 0, 1);
}

/* ---- Layers ---- */

static dt_tensor *linear(dt_scope scope, dt_tensor *x, int64_t out, dt_init weights, dt_init bias)
{
    dt_tensor *weight = dt_param(scope, "weight", dt_dims(out, dt_width(x)), weights);
    return dt_linear(x, weight, dt_param(scope, "bias", dt_dims(out), bias));
}

/* Padded such that the side is divided by the stride. */
static dt_conv_form form_of(int size, int stride)
{
    int padding = (size - stride) / 2;
    return (dt_conv_form){.stride = {stride, stride}, .padding = {padding, padding}, .dilation = {1, 1}, .groups = 1};
}

static dt_tensor *convolve(dt_scope scope, dt_tensor *x, int64_t out, int size, int stride, dt_init weights)
{
    dt_tensor *weight = dt_param(scope, "weight", dt_dims(out, dt_width(x), size, size), weights);
    return dt_conv2d(x, weight, dt_param(scope, "bias", dt_dims(out), dt_zeros), form_of(size, stride));
}

/* Twice the side. A result is a sum over 2 x 2 of the kernel's 4 x 4 places. */
static dt_tensor *enlarge(dt_scope scope, dt_tensor *x, int64_t out, dt_init weights, dt_init bias)
{
    dt_tensor *weight = dt_param(scope, "weight", dt_dims(dt_width(x), out, 4, 4), weights);
    return dt_conv_transpose2d(x, weight, dt_param(scope, "bias", dt_dims(out), bias), form_of(4, 2), (const int[2]){0, 0});
}

static dt_tensor *blocks(dt_scope scope, dt_tensor *x)
{
    int64_t width = dt_width(x);
    for (int i = 0; i < BLOCKS; i++) {
        dt_scope block = dt_in(scope, "block%d", i);
        dt_tensor *y = convolve(dt_in(block, "conv1"), dt_relu(x), width, 3, 1, dt_he(9 * width));
        x = dt_add(x, convolve(dt_in(block, "conv2"), dt_relu(y), width, 1, 1, dt_zeros));
    }
    return dt_relu(x);
}

/* Hidden layer i of an MLP. */
static dt_tensor *hidden(dt_scope scope, const dt_vae_config *c, int i, dt_tensor *x, int width)
{
    dt_init weights = c->tanh ? dt_glorot(dt_width(x), width, 1) : dt_he(dt_width(x));
    x = linear(dt_in(scope, "fc%d", i), x, width, weights, dt_zeros);
    return c->tanh ? dt_tanh(x) : dt_relu(x);
}

/* ---- The encoder ---- */

static dt_tensor *encode_convolutions(dt_scope scope, const dt_vae_config *c, dt_tensor *x)
{
    x = dt_affine(x, 2, -1);
    for (int i = 0; i < c->layers; i++)
        x = convolve(dt_in(scope, "conv%d", i), i ? dt_relu(x) : x, c->widths[i], 4, 2, dt_he(16 * dt_width(x)));
    return blocks(scope, x);
}

dt_posterior dt_vae_encode(dt_scope scope, const dt_vae_config *c, dt_tensor *x)
{
    if (!fits(c, false, x, image_shape(c, 0, c->channels), "x"))
        return (dt_posterior){x, x};
    scope = dt_in(scope, "encoder");
    int64_t n = x->shape.dim[0];
    if (c->network == DT_VAE_CONV)
        x = encode_convolutions(scope, c, x);
    x = dt_reshape(x, dt_dims(n, -1));
    for (int i = 0; i < c->layers && c->network == DT_VAE_MLP; i++)
        x = hidden(scope, c, i, x, c->widths[i]);
    dt_init weights = dt_glorot(dt_width(x), c->latent, 1);
    dt_tensor *mu = linear(dt_in(scope, "mu"), x, c->latent, weights, dt_zeros);
    dt_tensor *log_variance = linear(dt_in(scope, "log_variance"), x, c->latent, weights, dt_zeros);
    return (dt_posterior){mu, dt_clamp(log_variance, -10, 10)};
}

int dt_vae_grid(const dt_vae_config *c)
{
    int side = c->image_size;
    for (int i = 0; i < c->layers; i++)
        side /= 2;
    return side;
}

dt_tensor *dt_vae_encode_grid(dt_scope scope, const dt_vae_config *c, dt_tensor *x)
{
    if (!fits(c, true, x, image_shape(c, 0, c->channels), "x"))
        return x;
    scope = dt_in(scope, "encoder");
    x = encode_convolutions(scope, c, x);
    return convolve(dt_in(scope, "code"), x, c->latent, 1, 1, dt_glorot(dt_width(x), c->latent, 1));
}

dt_quantized dt_vae_quantize(dt_scope scope, const dt_vae_config *c, dt_tensor *grid, bool training)
{
    return dt_quantize(dt_in(scope, "codebook"), grid, c->codes, c->code_decay, training);
}

dt_tensor *dt_vae_features(dt_scope scope, const dt_vae_config *c, dt_tensor *images)
{
    dt_tensor *x = dt_vae_target(c, images);
    if (!c->codes)
        return dt_vae_encode(scope, c, x).mu;
    return dt_reshape(dt_vae_encode_grid(scope, c, x), dt_dims(images->shape.dim[0], -1));
}

/* ---- The decoder ---- */

/* Half-way between black and white: of logits 0, of a mean 1/2. */
static dt_init middle(const dt_vae_config *c)
{
    return dt_filled(c->likelihood == DT_LIKELIHOOD_BERNOULLI ? 0 : 0.5f);
}

/* x [m, s, s, width of the last stage] -> [m, size, size, channels]. */
static dt_tensor *decode_convolutions(dt_scope scope, const dt_vae_config *c, dt_tensor *x)
{
    x = blocks(scope, x);
    for (int i = c->layers - 2; i >= 0; i--)
        x = dt_relu(enlarge(dt_in(scope, "up%d", c->layers - 2 - i), x, c->widths[i], dt_he(4 * dt_width(x)), dt_zeros));
    dt_init small = dt_glorot(4 * dt_width(x), 16 * c->channels, 1);
    small.value *= 0.1f;
    return enlarge(dt_in(scope, "output"), x, c->channels, small, middle(c));
}

static dt_tensor *decode_mlp(dt_scope scope, const dt_vae_config *c, dt_tensor *x)
{
    int64_t pixels = (int64_t)c->image_size * c->image_size * c->channels;
    for (int i = 0; i < c->layers; i++)
        x = hidden(scope, c, i, x, c->widths[c->layers - 1 - i]);
    x = linear(dt_in(scope, "output"), x, pixels, dt_glorot(dt_width(x), pixels, 1), middle(c));
    return dt_reshape(x, image_shape(c, x->shape.dim[0], c->channels));
}

static dt_reconstruction reconstruction(dt_scope scope, const dt_vae_config *c, dt_tensor *output)
{
    const dt_shape scalar = {0};
    if (c->likelihood == DT_LIKELIHOOD_BERNOULLI)
        return (dt_reconstruction){output, NULL};
    dt_tensor *scale = c->learned_scale ? dt_param(scope, "log_scale", scalar, dt_filled(c->fixed_log_scale))
                                        : dt_fill(dt_graph_of(output), scalar, c->fixed_log_scale);
    return (dt_reconstruction){output, scale};
}

dt_reconstruction dt_vae_decode(dt_scope scope, const dt_vae_config *c, dt_tensor *z)
{
    if (!fits(c, false, z, dt_dims(0, c->latent), "z"))
        return (dt_reconstruction){z, z};
    scope = dt_in(scope, "decoder");
    if (c->network == DT_VAE_MLP)
        return reconstruction(scope, c, decode_mlp(scope, c, z));
    int64_t side = dt_vae_grid(c), width = c->widths[c->layers - 1];
    dt_tensor *x = linear(dt_in(scope, "input"), z, side * side * width, dt_he(c->latent), dt_zeros);
    x = dt_reshape(x, dt_dims(z->shape.dim[0], side, side, width));
    return reconstruction(scope, c, decode_convolutions(scope, c, x));
}

dt_reconstruction dt_vae_decode_grid(dt_scope scope, const dt_vae_config *c, dt_tensor *grid)
{
    int64_t side = dt_vae_grid(c);
    if (!fits(c, true, grid, dt_dims(0, side, side, c->latent), "the grid"))
        return (dt_reconstruction){grid, grid};
    scope = dt_in(scope, "decoder");
    dt_tensor *x = convolve(dt_in(scope, "input"), grid, c->widths[c->layers - 1], 3, 1, dt_he(9 * (int64_t)c->latent));
    return reconstruction(scope, c, decode_convolutions(scope, c, x));
}

dt_tensor *dt_vae_picture(const dt_vae_config *c, dt_tensor *output)
{
    return c->likelihood == DT_LIKELIHOOD_BERNOULLI ? dt_sigmoid(output) : dt_clamp(output, 0, 1);
}

/* ---- Its parameters ---- */

void dt_vae_declare(dt_scope scope, const dt_vae_config *c)
{
    char message[256];
    if (!dt_vae_check(c, message, sizeof message)) {
        dt_graph_fail(scope.graph, "vae", "%s", message);
        return;
    }
    dt_tensor *x = dt_fill(scope.graph, image_shape(c, 1, c->channels), 0);
    if (c->codes)
        dt_vae_decode_grid(scope, c, dt_vae_quantize(scope, c, dt_vae_encode_grid(scope, c, x), false).z);
    else
        dt_vae_decode(scope, c, dt_vae_encode(scope, c, x).mu);
}

static float logit(float p)
{
    p = fminf(fmaxf(p, 0.001f), 0.999f);
    return logf(p / (1 - p));
}

bool dt_vae_start_at(dt_params *params, const char *prefix, const dt_vae_config *c, const float *mean)
{
    char name[256];
    snprintf(name, sizeof name, "%s%sdecoder.output.bias", prefix, *prefix ? "." : "");
    int i = dt_params_find(params, name);
    if (i < 0)
        return false;
    size_t biases = dt_params_info(params, i)->count;
    size_t pixels = (size_t)c->image_size * (size_t)c->image_size * (size_t)c->channels;
    float *bias = dt_params_value(params, i);
    for (size_t k = 0; k < biases; k++) {
        double sum = 0;
        for (size_t j = k; j < pixels; j += biases)
            sum += mean[j];
        float at = (float)(sum / (double)(pixels / biases));
        bias[k] = c->likelihood == DT_LIKELIHOOD_BERNOULLI ? logit(at) : at;
    }
    return true;
}
