/* Spectral normalisation (Miyato et al., 2018): a weight divided by its largest singular value, which one power iteration a
 * step follows. */
#ifndef DUET_ENCODERS_SPECTRAL_H
#define DUET_ENCODERS_SPECTRAL_H

#include "kernels/ops.h"
#include "kernels/params.h"

/* weight [out, ...], seen as a matrix [out, rest] -> weight / sigma, sigma = u^T W v with u and v held fixed for the gradient,
 * as torch.nn.utils.spectral_norm has it. Buffer: SCOPE.u [out], which need not be of length one; in training it moves by one
 * iteration a run, however often it is recorded, and the result already uses the new one. v = W^T u, normalised, is taken from
 * the old u in training and from the present one otherwise (torch stores v, so that its evaluation lags half an iteration
 * behind this). A weight of zeros has no such direction: the result is NaN. */
dt_tensor *dt_spectral_normalize(dt_scope scope, dt_tensor *weight, bool training);

#endif
