/* What a plan does more slowly than it might, and why: a library refuses a form, and kernels of Duet's own take its place.
 * Results are right all the same, so it is no error; but who measures should know. */
#ifndef DUET_KERNELS_CUDA_NOTES_H
#define DUET_KERNELS_CUDA_NOTES_H

#include "kernels/cuda/launch.h"

/* Remembers "OP of SHAPE x SHAPE in TYPE: text", once; the first 32 different ones of the process. */
void dt_cuda_note(const dt_node *node, const char *text);

/* Note i, from 0 on, in the order in which they were made; NULL: there are no more. It stays as it is. */
extern "C" const char *dt_cuda_notes(int i);

#endif
