/* The contract between the tensor core and a device. A backend is a table of kernels, one for each op, and the functions for its
 * memory, its copies and its optimizer's steps. The CPU's is dt_cpu(). */
#ifndef DUET_KERNELS_BACKEND_H
#define DUET_KERNELS_BACKEND_H

#include "kernels/op.h"
#include "kernels/optimizer.h"

enum { DT_MESSAGE = 256 };

/* How a backend computes. Parameters, statistics, reductions and losses are float32 in all of them.
 * DT_FP32: everything. DT_TF32: operands of matrix products and convolutions are rounded to 10 bits of mantissa.
 * DT_MIXED: activations and their gradients are kept, and products taken, in bfloat16 with float32 sums. */
typedef enum { DT_FP32, DT_TF32, DT_MIXED } dt_precision;

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
    dt_precision precision; /* the backend's */
    size_t workspace; /* to be set: bytes needed during the call */
    void *state;      /* to be set: kept until release */
    char message[DT_MESSAGE];
} dt_preparation;

/* Which operands of a kernel may be bfloat16 in a plan of DT_MIXED precision. A kernel sees what it got by the dtype of its node's
 * tensors. Where a result is needed in the other type, the plan puts a dt_op_cast between. */
typedef enum {
    DT_WIDE,               /* none: float32 (and int32) in and out */
    DT_NARROW_EACH,        /* each of those named, by itself; a result is, if one of the named inputs is */
    DT_NARROW_TAKES,       /* as EACH, but it does not ask for bfloat16: terms of a sum stay exact unless another reader wants them so */
    DT_NARROW_SAME,        /* those named are all of one type: bfloat16 if one of the named inputs is */
    DT_NARROW_SOURCE,      /* as EACH, but a result is bfloat16 whatever the inputs are */
    DT_NARROW_PRODUCT,     /* the named inputs all are, always; of the named results each may be */
    DT_NARROW_PRODUCT_SAME /* all that are named are, always */
} dt_narrow;

typedef struct dt_kernel {
    const dt_op *op;
    void (*run)(const dt_call *call);
    bool (*prepare)(dt_preparation *preparation); /* NULL: nothing to settle; false: see message */
    void (*release)(void *state);
    dt_narrow narrow;
    unsigned narrow_in, narrow_out; /* bit i names input (result) i; ~0u all of them */
} dt_kernel;

typedef struct dt_backend {
    const char *name;
    dt_precision precision; /* of the plans that are made with it; whoever opened the backend may choose (dt_device_open) */
    bool on_host;           /* its memory is the host's, to be read and written by anyone */
    const dt_kernel *const *families; /* NULL-terminated; each family ends with an entry whose op is NULL */
    void *(*allocate)(size_t bytes);  /* 64-byte aligned device memory; NULL: none left */
    void (*release)(void *memory);
    void (*write)(void *to, const void *from, size_t bytes); /* host to device */
    void (*read)(void *to, const void *from, size_t bytes);  /* device to host */
    void (*copy)(void *to, const void *from, size_t bytes);        /* on the device */
    void (*clear)(void *to, size_t bytes);                         /* zeros, on the device */
    void (*narrow)(uint16_t *to, const float *from, size_t count); /* to bfloat16, on the device; NULL: no DT_MIXED plans */
    void (*add)(float *to, const float *from, size_t count); /* to += from, on the device */
    /* The norm of the gradients in all stretches, summed in float64, and what follows from it: scale = min(1, most / (norm + 1e-6)), or
     * 1 where most is 0. `loss` is a number that must be finite too; NULL: none. All in the backend's memory. */
    void (*clip)(dt_clip *to, const float *gradient, const dt_stretch *stretch, size_t stretches, float most, const float *loss);
    void (*adamw)(const dt_adamw_step *step);
    void (*sgd)(const dt_sgd_step *step);
    void (*blend)(float *to, const float *from, size_t count, float keep); /* to = keep to + (1 - keep) from */
    void (*limit)(float *x, size_t count, float low, float high); /* x = min(max(x, low), high) */
    /* What random ops draw from in the runs that are asked for next, beside dt_call. NULL: dt_call is all. */
    void (*moment)(uint64_t seed, uint32_t step);
    /* What is asked for between record (false: not now) and recorded is not done but kept, to be done by each replay with the same
     * memory. recorded gives NULL where something was asked for that cannot be kept. NULL: the backend cannot. */
    bool (*record)(void);
    void *(*recorded)(void);
    void (*replay)(void *recording);
    void (*forget)(void *recording);
    void (*memory)(size_t *left, size_t *all); /* bytes; NULL: not known */
    const char *(*note)(int i); /* what is slower than it might be, and why: note 0, 1 ... until NULL. The pointer NULL: nothing */
    /* Copies from the host beside what the device computes (NULL, all of them: write does it). send begins one, from memory that stays
     * as it is until await; await waits for all that were begun; taken says that what was asked for so far has used what they brought, so
     * that the next send may write over it. */
    void (*send)(void *to, const void *from, size_t bytes);
    void (*await)(void);
    void (*taken)(void);
    void *(*host_allocate)(size_t bytes); /* host memory from which send is fastest; NULL: none left */
    void (*host_release)(void *memory);
    /* Waits for all that was asked for. NULL, or what went wrong since the last time: a text that lives until the next. The
     * pointer itself is NULL where nothing is left to wait for. */
    const char *(*finish)(void);
} dt_backend;

/* Bytes of its memory that are left, and all; 0 and 0 where it does not say. */
static inline void dt_backend_memory(const dt_backend *backend, size_t *left, size_t *all)
{
    *left = *all = 0;
    if (backend->memory)
        backend->memory(left, all);
}

/* oneDNN and OpenMP; always there. */
const dt_backend *dt_cpu(void);

/* The entry of libduet_cuda.so, to be looked up by its name: the first GPU. NULL: none answers; `message` (DT_MESSAGE
 * bytes) says why. */
const dt_backend *dt_cuda(char *message);
typedef const dt_backend *dt_cuda_entry(char *message);

#endif
