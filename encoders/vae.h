/* Variational autoencoders: encoder q(z|x) = N(mu(x), diag sigma(x)^2) and decoder p(x|z). The multilayer perceptron of Kingma &
 * Welling (2014), a convolutional pair, and the VQ-VAE (van den Oord et al., 2017; quantizer.h), whose latent is a grid of codes. */
#ifndef DUET_ENCODERS_VAE_H
#define DUET_ENCODERS_VAE_H

#include "encoders/quantizer.h"
#include "kernels/ops.h"
#include "kernels/params.h"

enum { DT_VAE_LAYERS = 8 };

typedef enum { DT_VAE_MLP, DT_VAE_CONV } dt_vae_network;

typedef enum {
    DT_LIKELIHOOD_BERNOULLI,     /* the output is logits */
    DT_LIKELIHOOD_GAUSSIAN,      /* ... a mean; log_scale is a constant (fixed_log_scale), or learned: one number for all pixels */
    DT_LIKELIHOOD_LOGISTIC,      /* ... a mean; log_scale as above: discretised, for 256 levels */
} dt_likelihood;

typedef struct dt_vae_config {
    int image_size;  /* pixels */
    int channels;    /* 1: grey (the first of three that come), or 3 */
    dt_vae_network network;
    int layers;      /* of widths */
    int widths[DT_VAE_LAYERS]; /* units of each hidden layer from the image on (tanh: "activation"), or channels of each convolution,
                                  of which each halves the side; the decoder mirrors them */
    bool tanh;       /* hidden units of the MLP: tanh (Kingma & Welling; Burda et al.), else relu */
    int latent;      /* numbers of z; of a VQ-VAE the width of a code */
    dt_likelihood likelihood;
    bool learned_scale;    /* log_scale is SCOPE.decoder.log_scale, which starts at fixed_log_scale */
    float fixed_log_scale; /* -20..20 */
    int codes;       /* of a VQ-VAE's codebook, which then takes the place of q (a convolutional one); 0: none */
    float code_decay, commitment; /* of the codebook's moving averages (0.99), and the weight of the encoder's pull to the codes (0.25) */
} dt_vae_config;

/* Whether the networks can be made; if not, the message says what to change. Recording a config that fails here marks the graph
 * with the same message. */
bool dt_vae_check(const dt_vae_config *config, char *message, size_t size);

/* images [n, size, size, 3] in [0, 1] -> what is modelled: [n, size, size, channels]. */
dt_tensor *dt_vae_target(const dt_vae_config *config, dt_tensor *images);

/* The MLP: hidden layers fc0, fc1, .. from the image on, then linear mu and log_variance; the decoder has fc0, fc1, .. from z on, then
 * a linear output. It takes x as it is.
 *
 * The convolutional pair takes 2 x - 1. Each stage conv0, conv1, .. is a 4 x 4 convolution of stride 2; at the smallest side follow
 * residual blocks block0 and block1 (x + 1 x 1 of relu of 3 x 3 of relu: van den Oord et al., 2017), and linear mu and log_variance
 * (a VQ-VAE's code: a 1 x 1 convolution to its latent numbers). The decoder has input (linear; of a VQ-VAE a 3 x 3 convolution), the same
 * blocks, transposed convolutions up0, up1, .. and a last one, output. Rectifiers between them and no norm; blocks start as their
 * shortcuts.
 *
 * Weights start at He et al.'s deviation (2015) where rectifiers follow, else at Glorot & Bengio's bound (2010); biases at 0, that of a
 * mean's output at 1/2. The convolutional output starts at a tenth of that bound: where z moves the first pictures far from the mean image, training
 * first learns not to listen to z (on CIFAR-10 the KL then fell to 0 within 200 steps and stayed there for a thousand). */

/* x [n, size, size, channels] -> mu and log_variance [n, latent]. log_variance is kept in -10..10, so that no early step overflows (outside its
 * gradient is 0). Not for a VQ-VAE. Parameters: SCOPE.encoder.*. */
typedef struct dt_posterior {
    dt_tensor *mu, *log_variance;
} dt_posterior;
dt_posterior dt_vae_encode(dt_scope scope, const dt_vae_config *config, dt_tensor *x);

/* z [m, latent] -> what p(x|z) is: logits or mean [m, size, size, channels], and log_scale (a scalar; NULL for Bernoulli).
 * Parameters: SCOPE.decoder.*. */
typedef struct dt_reconstruction {
    dt_tensor *output, *log_scale;
} dt_reconstruction;
dt_reconstruction dt_vae_decode(dt_scope scope, const dt_vae_config *config, dt_tensor *z);

/* Of a VQ-VAE: x -> the encoder's grid [n, s, s, latent], its nearest codes, and a grid of codes -> the decoder's output. s is
 * dt_vae_grid. Buffers of the codebook: SCOPE.codebook.* (quantizer.h). */
int dt_vae_grid(const dt_vae_config *config);
dt_tensor *dt_vae_encode_grid(dt_scope scope, const dt_vae_config *config, dt_tensor *x);
dt_quantized dt_vae_quantize(dt_scope scope, const dt_vae_config *config, dt_tensor *grid, bool training);
dt_reconstruction dt_vae_decode_grid(dt_scope scope, const dt_vae_config *config, dt_tensor *grid);

/* As an image tower: images [n, size, size, 3] in [0, 1] -> mu [n, latent]; of a VQ-VAE the encoder's grid, flattened. */
dt_tensor *dt_vae_features(dt_scope scope, const dt_vae_config *config, dt_tensor *images);

/* The picture that an output stands for: the mean of p(x|z), in [0, 1]. */
dt_tensor *dt_vae_picture(const dt_vae_config *config, dt_tensor *output);

/* Records both halves once (and the codebook), so that all parameters are declared. */
void dt_vae_declare(dt_scope scope, const dt_vae_config *config);

/* Starts the bias of the output at a mean image [size, size, channels] in [0, 1], as Burda et al. (2016) do: at its logits, the image kept
 * in 0.001..0.999, or at itself; the convolutional network at the mean of each channel. `params` are allocated and `prefix` is the scope's. False:
 * it has no such parameter. */
bool dt_vae_start_at(dt_params *params, const char *prefix, const dt_vae_config *config, const float *mean);

#endif
