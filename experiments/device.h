/* Where a command computes: on the CPU, or on the first GPU, through libduet_cuda.so.
 *
 *     dt_device_options device = {0};
 *     const dt_option options[] = {..., DT_DEVICE_OPTIONS(device), ...};
 *     const dt_backend *backend = dt_device_open(&device, DT_DEVICE_SAY_NEWS, &error);
 *
 * The shared object lies in the folder of the program itself, or is the file that DUET_CUDA names in the environment. It loads
 * cuBLASLt and cuDNN with it, so the driver (libcuda.so.1) is asked for a GPU before it is opened; nothing of this happens
 * before a command asks, nor with --device cpu. Where DUET_CUDA names the simulator of the tests there is no driver to ask. */
#ifndef DUET_EXPERIMENTS_DEVICE_H
#define DUET_EXPERIMENTS_DEVICE_H

#include "data/json.h"
#include "experiments/options.h"
#include "kernels/backend.h"

/* What was asked for; NULL where an option was not given. */
typedef struct dt_device_options {
    const char *device, *precision;
} dt_device_options;

/* The two options of every command that computes, for its table. */
#define DT_DEVICE_OPTIONS(asked)                                                                                                \
    {"device", 0, DT_CHOICE, &(asked).device, "auto|cpu|cuda",                                                                  \
     .help = "where to compute; auto: on a GPU where one answers, else on the CPU (default: auto)"},                            \
    {                                                                                                                           \
        "precision", 0, DT_CHOICE, &(asked).precision, "fp32|tf32|bf16",                                                        \
            .help = "precision of matrix products, and with bf16 of activations too; tf32 and bf16 on a GPU only (default: fp32)"         \
    }

/* Whether one of the two was given. */
bool dt_device_asked(const dt_device_options *asked);

/* Whether the line "device: ..." is written to stderr: always, of what runs for long; where it is no matter of course, as
 * --device was given or a GPU is taken; or not here, as a log will say it, or nobody wants to know. */
typedef enum dt_device_saying { DT_DEVICE_SAY, DT_DEVICE_SAY_NEWS, DT_DEVICE_SAY_NOTHING } dt_device_saying;

/* Of a command with --quiet that does not run for long. */
static inline dt_device_saying dt_device_news(bool quiet)
{
    return quiet ? DT_DEVICE_SAY_NOTHING : DT_DEVICE_SAY_NEWS;
}

/* The backend, with the precision that was asked for. It lives until the program ends; one is open at a time. auto gives one where
 * there is no GPU, too, and the line says why it is the CPU. NULL: `cuda`, and there is no GPU that can be used, with the reason and
 * what to do; a precision that the device has not; `cuda` or `auto`, and what DUET_CUDA names is not there or no library of this
 * program, for somebody wanted it. */
const dt_backend *dt_device_open(const dt_device_options *asked, dt_device_saying saying, dt_error *error);

/* Notes in what an evaluation found (eval/findings.h; NULL is allowed) what it was computed in, where that is not float32: figures differ in
 * late digits then, and whoever compares them should see it. */
void dt_device_note(json_t *found);

/* The same under a table on the standard output: "computed in bf16"; nothing in float32. */
void dt_device_print_note(void);

/* What that line says of the device that was opened last: "cuda (NVIDIA H200, bf16)", "cpu (why)". */
const char *dt_device_words(void);

/* "fp32", "tf32", "bf16" */
const char *dt_precision_name(dt_precision precision);

/* The name of the GPU that an opened backend computes on; NULL: the CPU. */
const char *dt_device_gpu(const dt_backend *backend);

/* ---- What there is, for `duet devices` ---- */

enum { DT_GPUS = 16, DT_GPU_MAJOR = 8 /* the least compute capability that the kernels are built for */ };

typedef struct dt_gpu {
    char name[128];
    size_t memory;    /* bytes */
    int major, minor; /* compute capability */
} dt_gpu;

typedef struct dt_gpus {
    const dt_backend *backend; /* on the first GPU; NULL: none can be used */
    dt_error why;              /* none can be */
    dt_error hint;             /* what to do about it; perhaps "" */
    char library[4096];        /* path of libduet_cuda.so, there or not */
    bool unfit;                /* DUET_CUDA names it, and it is not there or no library of this program */
    bool simulated;            /* it is the tests' simulator, which has no driver to ask */
    char driver[64];           /* version of the NVIDIA driver; "": not known, or none */
    int cuda;                  /* the CUDA version that the driver knows: 13000 is 13.0; 0: no driver */
    dt_gpu gpus[DT_GPUS];      /* as the driver lists them */
    int count;
} dt_gpus;

/* Asks for everything, and opens the backend where that is possible. */
void dt_gpus_find(dt_gpus *found);

#endif
