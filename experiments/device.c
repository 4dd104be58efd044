#include "experiments/device.h"

#include "eval/findings.h"

#include "data/file.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool find(dt_gpus *f, bool all);

/* The device handle. */
static struct {
    dt_backend table; /* of the GPU, with the precision that was chosen */
    char gpu[128];
    char words[sizeof(dt_error)];
} opened;

/* ---- Choosing ---- */

static const char *const precisions[] = {[DT_FP32] = "fp32", [DT_TF32] = "tf32", [DT_MIXED] = "bf16"};

const char *dt_precision_name(dt_precision precision)
{
    return precisions[precision];
}

const char *dt_device_gpu(const dt_backend *backend)
{
    return backend == &opened.table ? opened.gpu : NULL;
}

void dt_device_note(json_t *found)
{
    char text[16];
    if (!found || opened.table.precision == DT_FP32)
        return;
    snprintf(text, sizeof text, "in %s", dt_precision_name(opened.table.precision));
    dt_findings_note(found, text);
    json_object_set_new(found, "precision", json_string(dt_precision_name(opened.table.precision)));
}

void dt_device_print_note(void)
{
    if (opened.table.precision != DT_FP32)
        printf("computed in %s\n", dt_precision_name(opened.table.precision));
}

const char *dt_device_words(void)
{
    return opened.words;
}

bool dt_device_asked(const dt_device_options *asked)
{
    return asked->device || asked->precision;
}

static dt_precision precision_of(const dt_device_options *asked)
{
    dt_precision precision = DT_FP32;
    while (asked->precision && precision < DT_MIXED && strcmp(asked->precision, precisions[precision]))
        precision++;
    return precision;
}

/* `why`: it is not a GPU. */
static const dt_backend *take_cpu(const dt_device_options *asked, const char *why, dt_error *error)
{
    if (precision_of(asked) != DT_FP32) {
        dt_fail(error, "--precision %s is for a GPU, and the device is the CPU (%s); leave it out", asked->precision, why);
        return NULL;
    }
    snprintf(opened.words, sizeof opened.words, "cpu (%.*s)", (int)sizeof opened.words - 16, why);
    return dt_cpu();
}

static const dt_backend *take_gpu(const dt_device_options *asked, const dt_gpus *f, dt_error *error)
{
    dt_precision precision = precision_of(asked);
    if (precision == DT_MIXED && !f->backend->narrow) {
        dt_fail(error, "--precision bf16: %s has no bfloat16", f->library);
        return NULL;
    }
    opened.table = *f->backend;
    opened.table.precision = precision;
    snprintf(opened.gpu, sizeof opened.gpu, "%s", f->simulated ? "simulated" : f->gpus[0].name);
    snprintf(opened.words, sizeof opened.words, "cuda (%s, %s)", opened.gpu, dt_precision_name(precision));
    return &opened.table;
}

const dt_backend *dt_device_open(const dt_device_options *asked, dt_device_saying saying, dt_error *error)
{
    dt_gpus f = {0};
    const char *wish = asked->device ? asked->device : "auto", *named = getenv("DUET_CUDA");
    const dt_backend *backend = NULL;
    if (!strcmp(wish, "cpu"))
        backend = take_cpu(asked, "as --device says", error);
    else if (find(&f, false))
        backend = take_gpu(asked, &f, error);
    else if (f.unfit)
        dt_fail(error, "%s; --device cpu does without", f.why.message);
    else if (!strcmp(wish, "auto"))
        backend = take_cpu(asked, f.why.message, error);
    else
        dt_fail(error, "--device cuda: %s%s%s", f.why.message, *f.hint.message ? "; " : "", f.hint.message);
    /* a GPU that is there and not taken is news too; its driver's file is cheaper to ask for than the driver */
    bool missed = backend && strcmp(wish, "cpu") && !f.backend && dt_file_exists("/proc/driver/nvidia/version");
    bool news = asked->device || f.backend || (named && *named) || missed;
    if (missed && *f.hint.message)
        snprintf(opened.words, sizeof opened.words, "cpu (%.*s; %.*s)", 240, f.why.message, 240, f.hint.message);
    if (backend && (saying == DT_DEVICE_SAY || (saying == DT_DEVICE_SAY_NEWS && news)))
        fprintf(stderr, "device: %s\n", opened.words);
    return backend;
}

void dt_gpus_find(dt_gpus *f)
{
    *f = (dt_gpus){0};
    find(f, true);
}

/* ---- The shared object ---- */

/* Its path: what DUET_CUDA names, else beside the program. Whether it is there. */
static bool find_library(dt_gpus *f, bool *named)
{
    const char *given = getenv("DUET_CUDA");
    size_t room = sizeof f->library;
    *named = given && *given;
    if (*named) {
        snprintf(f->library, room, "%s%s", strchr(given, '/') ? "" : "./", given); /* a file, not one of the system's */
        return dt_file_exists(f->library) || dt_fail(&f->why, "%s, which DUET_CUDA names, is not there", f->library);
    }
    static const char name[] = "libduet_cuda.so";
    ssize_t length = readlink("/proc/self/exe", f->library, room - sizeof name);
    f->library[length > 0 ? length : 0] = 0;
    char *slash = strrchr(f->library, '/');
    memcpy(slash ? slash + 1 : f->library, name, sizeof name);
    if (dt_file_exists(f->library))
        return true;
    dt_fail(&f->hint, "looked for %s, which make builds where nvcc and cuDNN are; DUET_CUDA=FILE names one elsewhere", f->library);
    return dt_fail(&f->why, "%s is not beside the program", name);
}

/* Numbers that tell what both sides share, 0 after the last; the build writes them beside each backend's kernels (Makefile). An old
 * library would otherwise be called through a table that has moved on. */
extern const size_t dt_cpu_contract[];

static bool agrees(const size_t *contract)
{
    size_t i = 0;
    while (dt_cpu_contract[i] && contract[i] == dt_cpu_contract[i])
        i++;
    return contract[i] == dt_cpu_contract[i];
}

static bool other_version(dt_gpus *f)
{
    return dt_fail(&f->why, "%s was built from other sources than this program; \"make cuda\" builds it anew", f->library);
}

/* What the library wants of the program and does not find; an old one may want what is no longer there. */
static bool of_duet(const char *problem)
{
    static const char wanted[] = "undefined symbol: ";
    const char *symbol = strstr(problem, wanted);
    return symbol && strstr(symbol, "dt_");
}

/* Opened, and found to be this program's; NULL: see why. Stays open until the program ends. */
static void *load(dt_gpus *f)
{
    void *library = dlopen(f->library, RTLD_NOW | RTLD_LOCAL);
    const char *problem = library ? NULL : dlerror();
    if (problem && of_duet(problem))
        other_version(f);
    else if (problem)
        dt_fail(&f->why, "%s cannot be loaded: %s", f->library, problem);
    if (!library)
        return NULL;
    const size_t *contract = dlsym(library, "dt_cuda_contract");
    if (!dlsym(library, "dt_cuda"))
        dt_fail(&f->why, "%s is no CUDA backend of duet: it has no dt_cuda", f->library);
    else if (!contract || !agrees(contract))
        other_version(f);
    else
        return library;
    return NULL;
}

static bool start(dt_gpus *f, void *library)
{
    char message[DT_MESSAGE] = "";
    dt_cuda_entry *entry;
    *(void **)&entry = dlsym(library, "dt_cuda");
    if ((f->backend = entry(message)))
        return true;
    if (!f->cuda)
        return dt_fail(&f->why, "%s", message);
    return dt_fail(&f->why, "%s (the driver knows CUDA up to %d.%d)", message, f->cuda / 1000, f->cuda % 1000 / 10);
}

/* ---- The driver, by its own names and numbers (CUDA Driver API); no header of CUDA is needed to build this ---- */

enum { NO_DEVICE = 100, MAJOR = 75, MINOR = 76 };

typedef struct driver {
    int (*init)(unsigned flags), (*version)(int *version), (*count)(int *count), (*get)(int *device, int number);
    int (*name)(char *name, int room, int device), (*memory)(size_t *bytes, int device);
    int (*attribute)(int *value, int attribute, int device), (*error)(int code, const char **text);
} driver;

static bool open_driver(driver *d, dt_error *why)
{
    const struct {
        const char *name;
        void *to;
    } calls[] = {{"cuInit", &d->init},          {"cuDriverGetVersion", &d->version},   {"cuDeviceGetCount", &d->count},
                 {"cuDeviceGet", &d->get},      {"cuDeviceGetName", &d->name},         {"cuDeviceTotalMem_v2", &d->memory},
                 {"cuGetErrorString", &d->error}, {"cuDeviceGetAttribute", &d->attribute}};
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    const char *problem = library ? NULL : dlerror();
    if (problem)
        return dt_fail(why, "there is no NVIDIA driver: %s", strstr(problem, "No such file") ? "libcuda.so.1 is not found" : problem);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        void *call = dlsym(library, calls[i].name);
        if (!call)
            return dt_fail(why, "the NVIDIA driver is too old: its libcuda.so.1 has no %s", calls[i].name);
        memcpy(calls[i].to, &call, sizeof call);
    }
    return true;
}

static bool complain(const driver *d, int code, dt_error *why)
{
    const char *text = NULL;
    if (d->error(code, &text) || !text)
        text = "an error without a name";
    return dt_fail(why, "the NVIDIA driver does not answer: %s (%d)", text, code);
}

static bool ask_gpu(const driver *d, int number, dt_gpu *gpu, dt_error *why)
{
    int device, code = d->get(&device, number);
    if (!code)
        code = d->name(gpu->name, sizeof gpu->name, device);
    if (!code)
        code = d->memory(&gpu->memory, device);
    if (!code)
        code = d->attribute(&gpu->major, MAJOR, device);
    if (!code)
        code = d->attribute(&gpu->minor, MINOR, device);
    gpu->name[sizeof gpu->name - 1] = 0;
    return !code || complain(d, code, why);
}

/* "580.65.06"; a remark, so that it may be absent. */
static void read_driver_version(dt_gpus *f)
{
    FILE *file = fopen("/sys/module/nvidia/version", "r");
    if (!file || fscanf(file, "%63s", f->driver) != 1)
        *f->driver = 0;
    if (file)
        fclose(file);
}

/* Fills in what it lists. Whether the first GPU is one for the kernels. */
static bool ask_driver(dt_gpus *f, dt_error *why)
{
    driver d;
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    int count = 0;
    if (!open_driver(&d, why))
        return false;
    read_driver_version(f);
    if (d.version(&f->cuda)) /* may be asked before all else */
        f->cuda = 0;
    int code = d.init(0);
    if (!code)
        code = d.count(&count);
    if (code && code != NO_DEVICE)
        return complain(&d, code, why);
    for (; f->count < count && f->count < DT_GPUS; f->count++)
        if (!ask_gpu(&d, f->count, &f->gpus[f->count], why))
            return false;
    if (!f->count)
        return dt_fail(why, "the NVIDIA driver lists no GPU%s%s", visible ? "; CUDA_VISIBLE_DEVICES is " : "",
                       visible ? *visible ? visible : "empty" : "");
    const dt_gpu *gpu = &f->gpus[0];
    return gpu->major >= DT_GPU_MAJOR ||
           dt_fail(why, "%s has compute capability %d.%d; the kernels are for %d.0 and above%s", gpu->name, gpu->major,
                   gpu->minor, DT_GPU_MAJOR, f->count > 1 ? "; CUDA_VISIBLE_DEVICES can put another GPU first" : "");
}

/* Whether there is a GPU that can be used. `all`: asks the driver even where the library is not there. A library that was named is
 * loaded first of all, to see whether it is one of this program, and whether it is the simulator. */
static bool find(dt_gpus *f, bool all)
{
    bool named;
    void *library = NULL;
    dt_error why;
    bool good = find_library(f, &named) && (!named || (library = load(f)));
    f->unfit = named && !good;
    f->simulated = library && dlsym(library, "cudasim_thread_index");
    if (!f->simulated && (good || all)) {
        bool answers = ask_driver(f, &why);
        if (good && !answers)
            f->why = why;
        good &= answers;
    }
    return good && (library || (library = load(f))) && start(f, library);
}
