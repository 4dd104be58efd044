/* Randomness of the data pipeline, as pure functions: what a sample gets depends on (seed, epoch, position)
 * and on nothing that happened before, so that any number of threads and any resume give the same data. */
#ifndef DUET_DATA_SHUFFLE_H
#define DUET_DATA_SHUFFLE_H

#include <stddef.h>
#include <stdint.h>

#include "data/error.h"

/* 64 well-mixed bits: three rounds of the finalizer of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014, with the
 * constants "Mix13" of Stafford), each after adding the next word and the golden-ratio increment. */
uint64_t dt_hash64(uint64_t seed, uint64_t a, uint64_t b);

/* Uniform on [0, 1): the upper 53 bits of dt_hash64. */
double dt_uniform(uint64_t seed, uint64_t a, uint64_t b);

/* Element i of a random permutation of 0 .. n-1, in O(1) time and memory; i < n.
 * A Feistel network on the bits that n - 1 needs, walked until the value lies below n (Black & Rogaway,
 * "Ciphers with Arbitrary Finite Domains", CT-RSA 2002). Statistical, not cryptographic. */
uint64_t dt_permute(uint64_t n, uint64_t seed, uint64_t epoch, uint64_t i);

/* Weighted sampling with replacement in O(1) a draw: Walker's alias method as built by Vose (IEEE Trans.
 * Software Eng. 17(9), 1991). 8 bytes an element. */
typedef struct dt_alias dt_alias;

/* n weights, finite and not negative, not all 0; at most 2^32 - 1 of them. Weights are not kept. */
dt_alias *dt_alias_new(const float *weights, size_t n, dt_error *error);
void dt_alias_free(dt_alias *alias); /* NULL is allowed */

/* Index i with probability weights[i] / sum, when u is uniform on [0, 1). */
size_t dt_alias_draw(const dt_alias *alias, double u);

#endif
