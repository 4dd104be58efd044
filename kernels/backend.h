/* The contract between the tensor core and a device. A backend is a table of kernels, one for each op, and four
 * functions for its memory. The CPU's is dt_cpu(). */
#ifndef DUET_KERNELS_BACKEND_H
#define DUET_KERNELS_BACKEND_H

#include "kernels/op.h"
#include "kernels/optimizer.h"

enum { DT_MESSAGE = 256 };

/* One run of one node. Shapes and attributes are those of the node; pointers are device memory, tensors dense and
 * aligned to 64 bytes (views of leaves excepted). Kernels are deterministic: the same bits for the same inputs, whatever the
 * number of threads. */
typedef struct dt_call {
    const dt_node *node;
    void *const *in;  /* one for each input; read only */
    void *const *out; /* one for each output */
    void *workspace;  /* as large as prepare asked for; undefined contents */
    void *state;      /* what prepare made */
    uint64_t seed;    /* of the run, for random ops together with step */
    uint32_t step;
    char *fault; /* DT_MESSAGE bytes, "" at the start: a kernel that meets bad values (an id out of range) says so
                    here and returns; the run stops after it */
} dt_call;

/* What a kernel settles once, when a plan is made: library descriptors and scratch memory. */
typedef struct dt_preparation {
    const dt_node *node;
    size_t workspace; /* to be set: bytes needed during the call */
    void *state;      /* to be set: kept until release */
    char message[DT_MESSAGE];
} dt_preparation;

typedef struct dt_kernel {
    const dt_op *op;
    void (*run)(const dt_call *call);
    bool (*prepare)(dt_preparation *preparation); /* NULL: nothing to settle; false: see message */
    void (*release)(void *state);
} dt_kernel;

typedef struct dt_backend {
    const char *name;
    const dt_kernel *const *families; /* NULL-terminated; each family ends with an entry whose op is NULL */
    void *(*allocate)(size_t bytes);  /* 64-byte aligned device memory; NULL: none left */
    void (*release)(void *memory);
    void (*write)(void *to, const void *from, size_t bytes); /* host to device */
    void (*read)(void *to, const void *from, size_t bytes);  /* device to host */
    void (*copy)(void *to, const void *from, size_t bytes);        /* on the device */
    void (*add)(float *to, const float *from, size_t count); /* to += from, on the device */
    double (*sum_of_squares)(const float *x, size_t count);  /* in float64 */
    void (*adamw)(const dt_adamw_step *step);
    void (*sgd)(const dt_sgd_step *step);
    /* Waits for all that was asked for. NULL, or what went wrong since the last time: a text that lives until the next. The
     * pointer itself is NULL where nothing is left to wait for. */
    const char *(*finish)(void);
} dt_backend;

/* oneDNN and OpenMP; always there. */
const dt_backend *dt_cpu(void);

/* The entry of libduet_cuda.so, to be looked up by its name: the first GPU. NULL: none answers; `message` (DT_MESSAGE
 * bytes) says why. */
const dt_backend *dt_cuda(char *message);
typedef const dt_backend *dt_cuda_entry(char *message);

#endif
