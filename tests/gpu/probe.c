/* Which GPU answers: asks the driver alone, so that nothing of CUDA is needed to build this. Prints lines "KEY VALUE" (name,
 * capability, memory, cuda) and exits with 0; or one line with the reason, and exits with 1. */
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { MAJOR = 75, MINOR = 76 }; /* of the compute capability (CUDA Driver API) */

typedef struct driver {
    int (*init)(unsigned flags), (*version)(int *version), (*count)(int *count), (*get)(int *device, int number);
    int (*name)(char *name, int room, int device), (*memory)(size_t *bytes, int device);
    int (*attribute)(int *value, int attribute, int device);
} driver;

static int refuse(const char *why, int code)
{
    printf(code ? "%s (%d)\n" : "%s\n", why, code);
    return 1;
}

int main(void)
{
    driver d;
    const struct {
        const char *name;
        void *to;
    } calls[] = {{"cuInit", &d.init},
                 {"cuDriverGetVersion", &d.version},
                 {"cuDeviceGetCount", &d.count},
                 {"cuDeviceGet", &d.get},
                 {"cuDeviceGetName", &d.name},
                 {"cuDeviceTotalMem_v2", &d.memory},
                 {"cuDeviceGetAttribute", &d.attribute}};
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    if (!library)
        return refuse("there is no NVIDIA driver: libcuda.so.1 cannot be loaded", 0);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        void *call = dlsym(library, calls[i].name);
        if (!call)
            return refuse("the NVIDIA driver is too old", 0);
        memcpy(calls[i].to, &call, sizeof call);
    }
    char name[256] = "";
    size_t bytes = 0;
    int cuda = 0, count = 0, device = 0, major = 0, minor = 0, code = d.init(0);
    if (code || (code = d.count(&count)) || !count)
        return refuse(code ? "the NVIDIA driver does not answer" : "the NVIDIA driver lists no GPU", code);
    if ((code = d.get(&device, 0)) || (code = d.name(name, sizeof name, device)) || (code = d.memory(&bytes, device)) ||
        (code = d.attribute(&major, MAJOR, device)) || (code = d.attribute(&minor, MINOR, device)) || (code = d.version(&cuda)))
        return refuse("the first GPU does not answer", code);
    printf("name %s\ncapability %d%d\nmemory %.1f GiB\ncuda %d.%d\n", name, major, minor, (double)bytes / (1 << 30),
           cuda / 1000, cuda % 1000 / 10);
    return 0;
}
