#include "experiments/version.h"

#include "experiments/device.h"
#include "kernels/cpu/onednn.h"

#include <lmdb.h>
#include <omp.h>

json_t *dt_versions(const dt_backend *backend)
{
    int major, minor, patch;
    dt_onednn_version(&major, &minor, &patch);
    return json_pack("{s:s, s:s, s:o, s:s, s:i, s:s, s:s*, s:s}", "duet", DT_VERSION, "compiler", __VERSION__, "onednn",
                     json_sprintf("%d.%d.%d", major, minor, patch), "lmdb", mdb_version(NULL, NULL, NULL), "threads",
                     omp_get_max_threads(), "device", backend->name, "gpu", dt_device_gpu(backend), "precision",
                     dt_precision_name(backend->precision));
}
