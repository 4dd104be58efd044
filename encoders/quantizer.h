/* Vector quantisation (van den Oord, Vinyals & Kavukcuoglu, "Neural discrete representation learning", 2017), the codebook as an exponential
 * moving average of what is assigned to it (there, appendix A.1). */
#ifndef DUET_ENCODERS_QUANTIZER_H
#define DUET_ENCODERS_QUANTIZER_H

#include "kernels/ops.h"
#include "kernels/params.h"

typedef struct dt_quantized {
    dt_tensor *z;          /* the nearest codes [..., width]; its gradient goes to x as it is (straight-through) */
    dt_tensor *codes;      /* int32 [...] */
    dt_tensor *commitment; /* scalar: mean over all numbers of (x - code)^2; moves x only */
    dt_tensor *perplexity; /* scalar: e^entropy of how often each code was taken in the batch; no gradient */
} dt_quantized;

/* x [..., width], to the nearest of `codes` codes. Buffers: SCOPE.counts [codes, 1] and SCOPE.sums [codes, width], the moving averages
 * of how often a code is taken and of the sum of what takes it; in training both move with `decay` at the end of the run, towards this batch's. The
 * codebook is not stored beside them: a code is its sum over its count, the counts Laplace-smoothed by 1e-5.
 *
 * Codes start near the origin, from U(-1 / codes, 1 / codes): if they were as long as x or longer, the shortest would win everything. With
 * the averages alone most would never be taken, so those that are not are moved (as the random restarts of Dhariwal et al., "Jukebox",
 * 2020): where a count falls below 1 - decay, that of having been taken once in this batch, code j becomes row j of x (row j mod m of m rows) with
 * just that count. So the first batch of training spreads the codebook over itself. */
dt_quantized dt_quantize(dt_scope scope, dt_tensor *x, int codes, float decay, bool training);

/* Codes int32 [...] -> [..., width]. */
dt_tensor *dt_codes_lookup(dt_scope scope, dt_tensor *codes, int count, int width);

#endif
