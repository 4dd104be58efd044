/* How far generated pictures are from real ones, in the features of a model: Frechet distance (FID), kernel
 * distances (KID, CMMD), precision and recall. With a published CLIP's embeddings these are CLIP-FID (on embeddings
 * of unit length here) and CMMD.
 *
 *     dt_reference *real = dt_reference_new(model, data, &options, &error);          once
 *     dt_picture_set set = {pixels, count, 32, 32, 3};
 *     if (real && dt_distances_of_pictures(real, &set, &distances, &error))          as often as there are new pictures
 *         json_t *found = dt_distances_json(&distances, "CIFAR-10", "runs/cifar10", &error);   (eval/findings.h)
 *     dt_reference_free(real);
 *
 * Figures are comparable where model, layer and both counts are the same. */
#ifndef DUET_EVAL_GENERATED_H
#define DUET_EVAL_GENERATED_H

#include <jansson.h>

#include "eval/features.h"
#include "eval/kernel_distance.h"
#include "eval/picture_set.h"

enum { DT_DISTANCES_FEW = 2000 }; /* images of which a Frechet distance is plainly biased */

typedef struct dt_distance_options {
    dt_features_options features; /* layer, cache and the rest: of images that lie in data sets */
    size_t count;                 /* images of a data set; 0, or more than there are: all */
    bool first;                   /* the first ones, which in many stores are of few classes; false: drawn by the seed */
    uint64_t seed;                /* also of KID's subsets */
    size_t k;                     /* neighbours, for precision and recall; 0: DT_MANIFOLD_K */
} dt_distance_options;

typedef struct dt_distances {
    size_t real, generated, width; /* images of both, and features */
    size_t k;                      /* less than was asked for where there are too few images */
    double frechet, cmmd;          /* eval/frechet.h; eval/kernel_distance.h */
    dt_kid kid;
    double precision, recall; /* eval/manifold.h */
    const char *layer;        /* "features", "embedding"; NULL: rows that somebody else computed */
    char note[256];           /* what is to be said about the counts; "": nothing */
} dt_distances;

/* The real images: their features, Gaussian and manifold. Borrows the model and what the options point to. With a
 * cache the features of all images of the data are computed and kept there (dt_features_of), without one those of
 * the chosen images alone. NULL: fewer than 2 images, one that cannot be read, features that are not finite, no
 * memory. */
typedef struct dt_reference dt_reference;
dt_reference *dt_reference_new(dt_model *model, const dt_dataset *data, const dt_distance_options *options, dt_error *error);

/* The same of rows of features that were computed elsewhere, which are copied; only k and seed of the options count. */
dt_reference *dt_reference_of_rows(dt_feature_rows rows, const dt_distance_options *options, dt_error *error);
void dt_reference_free(dt_reference *reference); /* NULL is allowed */

/* What was wrong with a cache file (dt_features.note), of the last data set that was read; "": nothing. */
const char *dt_reference_note(const dt_reference *reference);

/* The distances of generated pictures: in memory, of a data set (chosen as the reference's were), or of rows of
 * features. False: as above, or features of another width. */
bool dt_distances_of_pictures(dt_reference *reference, const dt_picture_set *pictures, dt_distances *distances,
                              dt_error *error);
bool dt_distances_of_dataset(dt_reference *reference, const dt_dataset *data, dt_distances *distances, dt_error *error);
bool dt_distances_of_rows(dt_reference *reference, dt_feature_rows rows, dt_distances *distances, dt_error *error);

/* {"figures": [...]} with the keys frechet, kid (with its deviation), cmmd, precision and recall, named "NAME:
 * Frechet distance" ..., whose notes name counts, layer and checkpoint. The caller owns it. NULL: no memory, or a
 * name that is not UTF-8. */
json_t *dt_distances_json(const dt_distances *distances, const char *name, const char *checkpoint, dt_error *error);

#endif
