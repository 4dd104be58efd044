/* duet devices: what can be computed on here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <omp.h>

#include "experiments/commands.h"
#include "experiments/device.h"
#include "experiments/print.h"
#include "experiments/shared_options.h"

static const char summary[] = "Lists the processor and the GPUs, and says which of them --device auto takes, and why. A GPU is computed "
                              "on through libduet_cuda.so, which lies beside the program or is the file that DUET_CUDA names in the "
                              "environment.";

/* "model name : Intel(R) Xeon(R) ..." of the first processor. */
static void processor_name(char *name, size_t size)
{
    char *line = NULL;
    size_t room = 0;
    FILE *file = fopen("/proc/cpuinfo", "r");
    snprintf(name, size, "a processor without a name");
    while (file && getline(&line, &room, file) > 0) {
        const char *colon = strchr(line, ':');
        if (!colon || strncmp(line, "model name", 10))
            continue;
        line[strcspn(line, "\n")] = 0;
        snprintf(name, size, "%s", colon + 1 + strspn(colon + 1, " "));
        break;
    }
    if (file)
        fclose(file);
    free(line);
}

static double gibibytes(size_t bytes)
{
    return (double)bytes / (double)(1 << 30);
}

static void print_text(const char *processor, int processors, const dt_gpus *f)
{
    const char *taken = f->backend ? "cuda" : "cpu";
    printf("cpu   %s, %d processor%s\n", processor, processors, processors == 1 ? "" : "s");
    if (f->simulated)
        printf("cuda  the simulator of the tests, %s\n", f->library);
    for (int i = 0; i < f->count; i++)
        printf("cuda  %s, %.1f GiB, compute capability %d.%d\n", f->gpus[i].name, gibibytes(f->gpus[i].memory), f->gpus[i].major,
               f->gpus[i].minor);
    if (f->cuda)
        printf("      driver %s, CUDA up to %d.%d\n", *f->driver ? f->driver : "of unknown version", f->cuda / 1000,
               f->cuda % 1000 / 10);
    if (!f->backend)
        printf("cuda  not used: %s%s%s\n", f->why.message, *f->hint.message ? "; " : "", f->hint.message);
    if (f->unfit)
        printf("\n--device auto takes none while DUET_CUDA names what cannot be used\n");
    else
        printf("\n--device auto takes %s%s\n", taken,
               f->count > 1 && f->backend ? ", the first GPU; CUDA_VISIBLE_DEVICES chooses another" : "");
}

static json_t *gpus_json(const dt_gpus *f)
{
    json_t *list = json_array();
    for (int i = 0; i < f->count; i++) {
        const dt_gpu *gpu = &f->gpus[i];
        json_array_append_new(list, json_pack("{s:s, s:I, s:o}", "name", gpu->name, "memory_bytes", (json_int_t)gpu->memory,
                                              "compute_capability", json_sprintf("%d.%d", gpu->major, gpu->minor)));
    }
    return list;
}

/* "why" is left out where the first GPU is used, "hint" where there is nothing to do, "driver" and "driver_cuda" where they
 * are not known. */
static json_t *cuda_json(const dt_gpus *f)
{
    const char *hint = f->backend || !*f->hint.message ? NULL : f->hint.message;
    return json_pack("{s:b, s:s*, s:s*, s:o, s:s, s:b, s:s*, s:o*}", "used", f->backend != NULL, "why",
                     f->backend ? NULL : f->why.message, "hint", hint, "gpus", gpus_json(f), "library", f->library,
                     "simulated", f->simulated, "driver", *f->driver ? f->driver : NULL, "driver_cuda",
                     f->cuda ? json_sprintf("%d.%d", f->cuda / 1000, f->cuda % 1000 / 10) : NULL);
}

static bool print_json(const char *processor, int processors, const dt_gpus *f, dt_error *error)
{
    json_t *o = json_pack("{s:s?, s:{s:s, s:i}, s:o}", "auto", f->unfit ? NULL : f->backend ? "cuda" : "cpu", "cpu", "name",
                          processor, "processors", processors, "cuda", cuda_json(f));
    bool good = (o || dt_fail(error, "out of memory, or a name that is not UTF-8")) && dt_print_json(o, 2, error);
    json_decref(o);
    return good;
}

int dt_cmd_devices(int argc, char **argv)
{
    bool json = false;
    const dt_option options[] = {
        DT_JSON_OPTION(json, ""),
    };
    const dt_usage usage = {"duet devices", NULL, summary, options, sizeof options / sizeof *options, .least = 0, .most = 0};
    char **arguments, processor[256];
    int count, status = dt_options_parse(&usage, argc, argv, &arguments, &count);
    if (status >= 0)
        return status;
    dt_error error;
    dt_gpus found;
    int processors = omp_get_num_procs();
    processor_name(processor, sizeof processor);
    dt_gpus_find(&found);
    if (!json)
        print_text(processor, processors, &found);
    else if (!print_json(processor, processors, &found, &error)) {
        fprintf(stderr, "duet devices: %s\n", error.message);
        return DT_EXIT_FAILURE;
    }
    return DT_EXIT_GOOD;
}
