#include "eval/fingerprint.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/file.h"
#include "data/json.h"
#include "data/shuffle.h"

enum { PICTURES = 64 }; /* of a store whose bytes are hashed */

uint64_t dt_hash_bytes(uint64_t hash, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    uint64_t words[2];
    hash = dt_hash64(hash, size, 0);
    for (; size >= sizeof words; size -= sizeof words, bytes += sizeof words) {
        memcpy(words, bytes, sizeof words);
        hash = dt_hash64(hash, words[0], words[1]);
    }
    if (size) {
        memset(words, 0, sizeof words);
        memcpy(words, bytes, size);
        hash = dt_hash64(hash, words[0], words[1]);
    }
    return hash;
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
    return dt_hash_bytes(hash, text, strlen(text));
}

void dt_hash_text16(uint64_t hash, char text[DT_FINGERPRINT])
{
    snprintf(text, DT_FINGERPRINT, "%016" PRIx64, hash);
}

bool dt_model_fingerprint(dt_model *model, char text[DT_FINGERPRINT], dt_error *error)
{
    char *description = dt_json_text(model->json, 0, error);
    if (!description)
        return false;
    uint64_t hash = hash_text(0, description);
    free(description);
    for (int i = 0; i < dt_params_count(model->params); i++) {
        const dt_param_info *info = dt_params_info(model->params, i);
        hash = hash_text(hash, info->name);
        hash = dt_hash_bytes(hash, dt_params_look(model->params, i), info->count * sizeof(float));
    }
    dt_hash_text16(hash, text);
    return true;
}

/* Size and time of the last change. */
static bool hash_file(uint64_t *hash, const char *path, dt_error *error)
{
    struct stat about;
    if (stat(path, &about))
        return dt_fail(error, "cannot examine %s: %s", path, strerror(errno));
    *hash = dt_hash64(*hash, (uint64_t)about.st_size,
                      (uint64_t)about.st_mtim.tv_sec * 1000000000u + (uint64_t)about.st_mtim.tv_nsec);
    return true;
}

static bool hash_shards(uint64_t *hash, const json_t *shards, dt_error *error)
{
    bool good = true;
    for (size_t i = 0; good && i < json_array_size(shards); i++) {
        const char *shard = json_string_value(json_array_get(shards, i));
        char *inside = dt_join(shard, "data.mdb");
        good = inside ? hash_file(hash, dt_is_directory(shard) ? inside : shard, error)
                      : dt_fail(error, "no memory");
        free(inside);
    }
    return good;
}

/* The meta record without the paths of the shards. */
static bool hash_meta(uint64_t *hash, const json_t *meta, dt_error *error)
{
    json_t *copy = json_copy((json_t *)(uintptr_t)meta);
    json_object_del(copy, "shards");
    char *text = copy ? dt_json_text(copy, 0, error) : NULL;
    if (text)
        *hash = hash_text(*hash, text);
    else if (!copy)
        dt_fail(error, "no memory");
    json_decref(copy);
    free(text);
    return text;
}

static bool hash_store(uint64_t *hash, const dt_dataset *dataset, dt_error *error)
{
    const dt_pairs *pairs = dt_dataset_pairs(dataset);
    const json_t *meta = dt_pairs_meta(pairs);
    bool good = hash_meta(hash, meta, error) && hash_shards(hash, json_object_get(meta, "shards"), error);
    size_t count = dt_dataset_count(dataset), step = count / PICTURES + 1;
    for (size_t i = 0; good && i < count; i++) {
        dt_pair pair;
        if (!(good = dt_pairs_get(pairs, i, &pair, error)))
            break;
        *hash = dt_hash64(*hash, pair.jpeg_size, 0);
        if (i % step == 0 || i == count - 1)
            *hash = dt_hash_bytes(*hash, pair.jpeg, pair.jpeg_size);
    }
    return good;
}

static bool hash_folder(uint64_t *hash, const dt_dataset *dataset, dt_error *error)
{
    size_t root = strlen(dt_dataset_path(dataset));
    bool good = true;
    for (size_t i = 0; good && i < dt_dataset_count(dataset); i++) {
        const char *path = dt_dataset_file(dataset, i);
        *hash = hash_text(*hash, strlen(path) > root ? path + root + (path[root] == '/') : path);
        good = hash_file(hash, path, error);
    }
    return good;
}

bool dt_dataset_fingerprint(const dt_dataset *dataset, char text[DT_FINGERPRINT], dt_error *error)
{
    uint64_t hash = dt_hash_bytes(0, dt_dataset_labels(dataset), dt_dataset_count(dataset) * sizeof(int32_t));
    for (size_t c = 0; c < dt_dataset_class_count(dataset); c++)
        hash = hash_text(hash, dt_dataset_class_name(dataset, c));
    bool good = (dt_dataset_pairs(dataset) ? hash_store : hash_folder)(&hash, dataset, error);
    dt_hash_text16(hash, text);
    return good;
}

void dt_preprocessing_text(const dt_transform *t, char text[DT_PREPROCESSING])
{
    char resize[64] = "";
    if (t->squash || t->resize)
        snprintf(resize, sizeof resize, "%s to %d, ", t->squash ? "squashed" : "resized", t->resize ? t->resize : t->size);
    snprintf(text, DT_PREPROCESSING, "%s%s%d px, %s, mean %.9g %.9g %.9g, std %.9g %.9g %.9g", resize, t->floor_crop ? "floor, " : "", t->size,
             t->interpolation == DT_BILINEAR ? "bilinear" : "bicubic", (double)t->mean[0], (double)t->mean[1],
             (double)t->mean[2], (double)t->std[0], (double)t->std[1], (double)t->std[2]);
}
