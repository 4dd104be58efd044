#define _DEFAULT_SOURCE /* madvise */
#include "data/tensor_file.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data/file.h"
#include "data/torch_file.h"

struct dt_tensor_file {
    char *path;
    dt_map map;
    dt_safetensors *safetensors; /* one of the two, the other is NULL */
    dt_torch_file *torch;
    size_t count;
    const dt_st_tensor *tensors;
};

static bool begins(const dt_map *map, const char *bytes, size_t size)
{
    return map->size >= size && !memcmp(map->data, bytes, size);
}

/* What people take for a file of weights, and what is not read: named, rather than called a bad header. */
static bool check_kind(const dt_map *map, dt_error *error)
{
    if (begins(map, "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 14)) /* torch.serialization.MAGIC_NUMBER */
        return dt_fail(error, "is in PyTorch's format of before version 1.6, which is not read; "
                              "save it again with torch.save(torch.load(…))");
    if (map->size > 2 && map->data[0] == 0x80 && map->data[1] >= 2 && map->data[1] <= 5 && map->data[map->size - 1] == '.')
        return dt_fail(error, "is a bare pickle, expected safetensors or an archive that torch.save wrote");
    if (begins(map, "version https://git-lfs", 23))
        return dt_fail(error, "is a pointer of Git LFS, not the weights themselves; fetch them with git lfs pull");
    return true;
}

/* A safetensors header could have a length that reads as a zip's first bytes, but a zip has no brace behind it. */
static bool read_file(dt_tensor_file *file, dt_error *error)
{
    const dt_map *map = &file->map;
    bool zip = begins(map, "PK\3\4", 4) || begins(map, "PK\5\6", 4);
    if (map->size > 8 && map->data[8] == '{')
        zip = false;
    else if (!check_kind(map, error))
        return dt_fail_prefix(error, "%s", file->path);
    if (zip) {
        file->torch = dt_torch_parse(map->data, map->size, file->path, error);
        file->tensors = file->torch ? dt_torch_tensors(file->torch, &file->count) : NULL;
        return file->torch != NULL;
    }
    file->safetensors = dt_safetensors_parse(map->data, map->size, file->path, error);
    file->count = file->safetensors ? dt_safetensors_count(file->safetensors) : 0;
    file->tensors = file->count ? dt_safetensors_at(file->safetensors, 0) : NULL;
    return file->safetensors != NULL;
}

dt_tensor_file *dt_tensor_file_open(const char *path, dt_error *error)
{
    dt_tensor_file *file = calloc(1, sizeof *file);
    if (!file || !(file->path = strdup(path)))
        dt_fail(error, "%s: no memory", path);
    else if (dt_map_open(&file->map, path, error) && read_file(file, error))
        return file;
    dt_tensor_file_close(file);
    return NULL;
}

void dt_tensor_file_close(dt_tensor_file *file)
{
    if (!file)
        return;
    dt_safetensors_close(file->safetensors);
    dt_torch_close(file->torch);
    dt_map_close(&file->map);
    free(file->path);
    free(file);
}

size_t dt_tensor_file_count(const dt_tensor_file *file)
{
    return file->count;
}

const dt_st_tensor *dt_tensor_file_at(const dt_tensor_file *file, size_t i)
{
    return i < file->count ? &file->tensors[i] : NULL;
}

const char *dt_tensor_file_meta(const dt_tensor_file *file, const char *key)
{
    return file->safetensors ? dt_safetensors_meta(file->safetensors, key) : NULL;
}

const char *dt_tensor_file_path(const dt_tensor_file *file)
{
    return file->path;
}

/* Whole pages within the tensor; the edges belong to its neighbours too. */
void dt_tensor_file_release(const dt_tensor_file *file, const dt_st_tensor *tensor)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), map = (uintptr_t)file->map.data;
    uintptr_t from = (uintptr_t)tensor->data, to = from + tensor->size;
    if (from < map || to > map + file->map.size)
        return;
    from = (from + page - 1) / page * page;
    to = to / page * page;
    if (from < to)
        madvise((void *)from, to - from, MADV_DONTNEED); /* a map that nobody writes: nothing is lost */
}
