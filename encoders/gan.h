/* Generators and discriminators: perceptrons for points of the plane, DCGAN (Radford, Metz & Chintala, 2016), and a small
 * residual pair (Miyato et al., "Spectral normalization for generative adversarial networks", 2018; Gulrajani et al., 2017).
 * Everything in them can be differentiated twice, for penalties on the discriminator's slope. */
#ifndef DUET_ENCODERS_GAN_H
#define DUET_ENCODERS_GAN_H

#include "kernels/ops.h"
#include "kernels/params.h"

typedef enum { DT_GAN_MLP, DT_GAN_DCGAN, DT_GAN_RESIDUAL } dt_gan_network;
typedef enum { DT_GAN_NORM_NONE, DT_GAN_NORM_BATCH, DT_GAN_NORM_SPECTRAL } dt_gan_norm;
typedef enum { DT_CONDITION_NONE, DT_CONDITION_CLASS, DT_CONDITION_VECTOR } dt_condition;

typedef struct dt_gan_config {
    dt_gan_network network;
    int image_size;      /* DCGAN and residual: 4 or 7 times a power of two, 8 to 256; MLP: 0 */
    int channels;        /* 1: grey, 3: colour; MLP: numbers of a point (2) */
    int latent;          /* numbers of z */
    int width;           /* DCGAN: channels next to the image (doubled where the side halves, at most 8 times); residual: channels
                            of every block; MLP: hidden units */
    int layers;          /* hidden layers of the MLP */
    dt_gan_norm discriminator_norm; /* BATCH: DCGAN only, all layers but the first; SPECTRAL: every weight of any
                                       discriminator, the condition's too. The generator has batch norm, the MLP's nothing */
    dt_condition condition;
    int classes;         /* CLASS: how many */
    int condition_width; /* VECTOR: its numbers (a text embedding), best of about unit variance each */
} dt_gan_config;

/* Whether the configuration makes sense and the network can make that image size; the message says what would. */
bool dt_gan_check(const dt_gan_config *config, char *message, size_t size);

/* z [n, latent], condition int32 [n] (class) or float32 [n, condition_width] (vector), NULL without one -> images in (-1, 1)
 * [n, size, size, channels], or points [n, channels]. Parameters: SCOPE.generator.*. A condition sets gain and bias of every
 * batch norm (conditional batch norm: de Vries et al., 2017; Miyato & Koyama, 2018), through a table or a linear map; the MLP
 * gets it beside z. Training: batch statistics, and one update of the running ones a run (momentum 0.1, eps 1e-5). */
dt_tensor *dt_generator(dt_scope scope, const dt_gan_config *config, dt_tensor *z, dt_tensor *condition, bool training);

/* x -> a logit a sample, w . f(x) + b, and with a condition + e(condition) . f(x) (projection: Miyato & Koyama, 2018); without
 * one, a conditional discriminator leaves that term out. f(x) is the last hidden layer: DCGAN's as it is, [side * side *
 * channels], the residual one summed over positions. Parameters: SCOPE.discriminator.*.
 * Training: with batch norm real and generated ones are to be judged in calls of their own (the running statistics then follow
 * the last call); with any other norm one call on both, joined along the first axis, gives the same numbers in less time. */
typedef struct dt_judgement {
    dt_tensor *logits;   /* [n] */
    dt_tensor *features; /* f(x) [n, w] */
    dt_tensor *dead;     /* scalar: the share of the (leaky) rectifiers' channels, over all hidden layers, that are nowhere above
                            zero in the whole batch; no gradient, and no work unless it is kept */
} dt_judgement;
dt_judgement dt_discriminator(dt_scope scope, const dt_gan_config *config, dt_tensor *x, dt_tensor *condition, bool training);

/* The input that a condition of n samples is written to; NULL where there is none. */
dt_tensor *dt_gan_condition_input(dt_graph *g, const dt_gan_config *config, int64_t n);

/* As an image tower: images [n, size, size, 3] normalised to (-1, 1) -> the discriminator's f(x) in evaluation mode. */
dt_tensor *dt_gan_features(dt_scope scope, const dt_gan_config *config, dt_tensor *images);

/* images [n, size, size, 3] as they come -> what is modelled: [n, size, size, channels], of grey ones the first channel. */
dt_tensor *dt_gan_target(const dt_gan_config *config, dt_tensor *images);

/* Records both once, so that all parameters are declared. They start as the papers have it: DCGAN N(0, 0.02), the residual
 * pair as Glorot & Bengio, 2010 (gain sqrt 2 in the branches), hidden layers of the MLP as He et al., 2015; biases 0, gains 1. */
void dt_gan_declare(dt_scope scope, const dt_gan_config *config);

#endif
