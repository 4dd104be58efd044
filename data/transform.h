/* From a JPEG or PNG file or decoded pixels to what an image encoder takes.
 *
 * The output is float32 [size, size, 3], channels last: (x / 255 - mean) / std; or, where `bytes` says so, the x
 * themselves, for who normalises them later. All randomness is a pure function of the 64-bit seed that the caller gives
 * for the sample, so a sample repeats whatever thread makes it and when. */
#ifndef DUET_DATA_TRANSFORM_H
#define DUET_DATA_TRANSFORM_H

#include "data/error.h"
#include "data/image.h"
#include "data/resample.h"

typedef enum dt_transform_mode {
    /* The short side becomes `resize`, the long side int(resize * long / short), then the central square; to the
     * bits of torchvision's Resize and CenterCrop on Pillow images. CMYK is resized as CMYK, as there. With
     * `squash` both sides become `resize`, whatever the picture's shape. */
    DT_TRANSFORM_EVAL,
    /* torchvision's RandomResizedCrop: area uniform in scale (of the picture's), log aspect uniform in log
     * ratio, ten tries, else the largest central crop within the ratios. The crop is cut out, then resized to
     * size x size. */
    DT_TRANSFORM_RANDOM_RESIZED_CROP,
    /* For small pictures: the picture is fitted into the square, its longer side being size * uniform(scale)
     * pixels, and its centre is moved by uniform(-shift, shift) * size along each axis. What leaves the
     * square is cut; what is not covered is background. */
    DT_TRANSFORM_JITTER,
    /* The square of DT_TRANSFORM_EVAL, padded by `padding` pixels (background, or its reflection), then a
     * random size x size crop. */
    DT_TRANSFORM_PAD_CROP,
} dt_transform_mode;

typedef struct dt_transform {
    dt_transform_mode mode;
    dt_interpolation interpolation;
    int size; /* pixels, 1..8192 */
    float mean[3], std[3];
    bool bytes; /* the output is uint8, before mean and std; only where dt_transform_gives_bytes */

    /* Of DT_TRANSFORM_EVAL and DT_TRANSFORM_PAD_CROP. */
    int resize; /* pixels, at least `size`; 0: `size` */
    bool squash;
    bool floor_crop; /* where the margin of the central crop is odd its smaller half comes first, as in Hugging Face's image
                        processors; else the rounding is Python's, as in torchvision */

    /* Of the random modes; DT_TRANSFORM_EVAL uses none of the following. */
    double flip;           /* probability of a left-right mirror */
    double scale[2];       /* least and most: of the area, or of the side (DT_TRANSFORM_JITTER) */
    double ratio[2];       /* least and most width / height */
    double shift;          /* fraction of the size */
    int padding;           /* pixels */
    bool reflect;          /* pad with the reflection (edge pixel not repeated) */
    uint8_t background[3]; /* RGB */
    /* RandomResizedCrop of large JPEG files decodes at 1/2, 1/4 or 1/8 where the crop keeps at least size
     * pixels a side; on photographs the output then differs from a full decode by 1 to 2 levels of 255 in the
     * mean (3 root mean square). full_decode forbids it: then a file gives the same bits as its decoded
     * pixels. */
    bool full_decode;

    /* Colour, after the geometry: with probability colour_jitter, in random order, as torchvision's
     * ColorJitter on tensors: factors uniform in 1 +- brightness, contrast, saturation; hue in +- hue turns
     * (at most 0.5). Then, with probability grayscale, luma in all channels. */
    double colour_jitter, brightness, contrast, saturation, hue, grayscale;
} dt_transform;

/* CLIP's mean and std, bicubic, flip 0.5 (EVAL: none), white background, and per mode: scale 0.08..1 and
 * ratio 3/4..4/3; scale 0.925..1.125 and shift 0.075; padding size / 8, reflected. No colour changes. */
dt_transform dt_transform_default(dt_transform_mode mode, int size);

/* Whether the pixels are whole numbers until they are normalised: colours are never changed. */
bool dt_transform_gives_bytes(const dt_transform *transform);

/* Checks ranges, once, when the settings are read; the transforms below take a checked one. */
bool dt_transform_check(const dt_transform *transform, dt_error *error);

/* A thread's working memory: after the first few pictures nothing more is allocated (but what libjpeg and
 * libpng take and return for each file). The caller frees. */
typedef struct dt_transform_scratch dt_transform_scratch;
dt_transform_scratch *dt_transform_scratch_new(dt_error *error);
void dt_transform_scratch_free(dt_transform_scratch *scratch); /* NULL is allowed */

/* `out` has size * size * 3 floats, or bytes. Only what the crop needs of the file is decoded. */
bool dt_transform_jpeg(const dt_transform *transform, dt_transform_scratch *scratch, const uint8_t *jpeg,
                       size_t size, uint64_t seed, void *out, dt_error *error);

/* The same from a JPEG or PNG file in memory, told apart by its first bytes. */
bool dt_transform_encoded(const dt_transform *transform, dt_transform_scratch *scratch, const uint8_t *bytes,
                          size_t size, uint64_t seed, void *out, dt_error *error);

/* The same from pixels (1, 3 or 4 channels), such as a cache holds. */
bool dt_transform_pixels(const dt_transform *transform, dt_transform_scratch *scratch, const dt_image *image,
                         uint64_t seed, void *out, dt_error *error);

/* Runs the transform over the .jpg files of a folder, read into memory first, on one thread for about
 * `seconds` seconds. */
bool dt_transform_benchmark(const char *folder, const dt_transform *transform, double seconds,
                            double *images_per_second, dt_error *error);

#endif
