#include "experiments/version.h"

#include "kernels/cpu/onednn.h"

#include <lmdb.h>
#include <omp.h>

json_t *dt_versions(void)
{
    int major, minor, patch;
    dt_onednn_version(&major, &minor, &patch);
    return json_pack("{s:s, s:s, s:o, s:s, s:i}", "duet", DT_VERSION, "compiler", __VERSION__, "onednn",
                     json_sprintf("%d.%d.%d", major, minor, patch), "lmdb", mdb_version(NULL, NULL, NULL), "threads",
                     omp_get_max_threads());
}
