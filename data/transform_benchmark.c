#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "data/clock.h"
#include "data/file.h"
#include "data/transform.h"

#define MOST_FILES 4096
#define MOST_BYTES ((size_t)64 << 20) /* of one file */

typedef struct blob {
    char *bytes;
    size_t size;
} blob;

static int is_jpeg(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return dot && (!strcmp(dot, ".jpg") || !strcmp(dot, ".jpeg"));
}

static bool read_files(const char *folder, struct dirent **names, int count, blob *blobs, dt_error *error)
{
    for (int i = 0; i < count; i++) {
        char *path = dt_join(folder, names[i]->d_name);
        if (!path)
            return dt_fail(error, "no memory for a path");
        blobs[i].bytes = dt_file_read(path, MOST_BYTES, &blobs[i].size, error);
        free(path);
        if (!blobs[i].bytes)
            return false;
    }
    return true;
}

static bool run_once(const dt_transform *t, dt_transform_scratch *scratch, const blob *blobs, int count,
                     uint64_t seed, float *out, dt_error *error)
{
    for (int i = 0; i < count; i++)
        if (!dt_transform_jpeg(t, scratch, (const uint8_t *)blobs[i].bytes, blobs[i].size, seed + (uint64_t)i,
                               out, error))
            return false;
    return true;
}

static bool measure(const dt_transform *t, const blob *blobs, int count, double seconds, double *rate,
                    dt_error *error)
{
    dt_transform_scratch *scratch = dt_transform_scratch_new(error);
    float *out = malloc((size_t)t->size * (size_t)t->size * 3 * sizeof *out);
    bool good = scratch && (out || dt_fail(error, "no memory for the benchmark"));
    good = good && run_once(t, scratch, blobs, count, 0, out, error); /* memory grows, caches fill */
    double start = dt_now(), elapsed = 0;
    uint64_t done = 0;
    while (good && elapsed < seconds) {
        good = run_once(t, scratch, blobs, count, 1 + done, out, error);
        done += (uint64_t)count;
        elapsed = dt_now() - start;
    }
    *rate = elapsed > 0 ? (double)done / elapsed : 0;
    free(out);
    dt_transform_scratch_free(scratch);
    return good;
}

bool dt_transform_benchmark(const char *folder, const dt_transform *t, double seconds,
                            double *images_per_second, dt_error *error)
{
    struct dirent **names = NULL;
    int found = scandir(folder, &names, is_jpeg, alphasort);
    if (found < 0)
        return dt_fail(error, "%s: cannot list the folder", folder);
    int count = found < MOST_FILES ? found : MOST_FILES;
    blob *blobs = calloc((size_t)count + 1, sizeof *blobs);
    bool good = found > 0 || dt_fail(error, "%s: no .jpg files to measure", folder);
    good = good && (blobs || dt_fail(error, "no memory for the benchmark"));
    good = good && read_files(folder, names, count, blobs, error) &&
           measure(t, blobs, count, seconds, images_per_second, error);
    for (int i = 0; i < found; i++)
        free(names[i]);
    for (int i = 0; blobs && i < count; i++)
        free(blobs[i].bytes);
    free(names);
    free(blobs);
    return good;
}
