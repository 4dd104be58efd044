/* In place of kernels/cuda/dnn.cu and sdpa.cu where cuDNN is missing: it refuses everything, as the library itself may, so that
 * Duet's own kernels do what they can. */
#include "kernels/cuda/dnn.h"
#include "kernels/cuda/sdpa.h"

#include <stdio.h>

static void absent(char *message)
{
    snprintf(message, DT_MESSAGE, "this library was built without cuDNN");
}

dt_dnn *dt_dnn_new(const dt_convolution *, char *message)
{
    absent(message);
    return NULL;
}

void dt_dnn_free(dt_dnn *)
{
}

size_t dt_dnn_workspace(const dt_dnn *)
{
    return 0;
}

void dt_dnn_run(const dt_dnn *, void *, void *, void *, void *, const dt_call *call)
{
    absent(call->fault);
}

dt_sdpa *dt_sdpa_new(const dt_sdpa_form *, char *message)
{
    absent(message);
    return NULL;
}

void dt_sdpa_free(dt_sdpa *)
{
}

int64_t dt_sdpa_samples(const dt_sdpa *)
{
    return 0;
}

size_t dt_sdpa_workspace(const dt_sdpa *)
{
    return 0;
}

void dt_sdpa_forward(const dt_sdpa *, const void *, void *, float *, void *, const dt_call *call)
{
    absent(call->fault);
}

void dt_sdpa_backward(const dt_sdpa *, const void *, const void *, const float *, const void *, void *, void *,
                      const dt_call *call)
{
    absent(call->fault);
}
