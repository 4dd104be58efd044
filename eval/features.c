#include "eval/features.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/file.h"
#include "data/json.h"
#include "data/safetensors.h"
#include "eval/fingerprint.h"
#include "eval/name_list.h"

/* The metadata of a cache file. The first KEYED decide whether it is the right one. */
enum {
    FORMAT,
    CHECKPOINT,
    DATA,
    LAYER,
    PREPROCESSING,
    KEYED,
    CHECKSUM = KEYED,
    CLASSES,
    WEIGHTS,
    SOURCE,
    ENTRIES
};
static const char *const entries[ENTRIES] = {"duet.features", "checkpoint",    "data",
                                             "layer",         "preprocessing", "checksum",
                                             "classes",       "weights",       "source"};

typedef struct key {
    char checkpoint[DT_FINGERPRINT], data[DT_FINGERPRINT], preprocessing[DT_PREPROCESSING];
    const char *texts[KEYED];
} key;

static bool read_cache(dt_features *f, const key *k, dt_error *error);
static bool write_cache(const dt_features *f, const key *k, const dt_features_options *options,
                        dt_error *error);
static void remove_superseded(const dt_features *f, const key *k, const dt_features_options *options);

void dt_features_free(dt_features *f)
{
    for (size_t c = 0; f->classes && c < f->class_count; c++)
        free(f->classes[c]);
    free(f->classes);
    free(f->source);
    free(f->path);
    free(f->rows);
    free(f->labels);
    free(f->images);
    *f = (dt_features){0};
}

/* Memory for count x width rows; labels stay for the caller to fill. */
static bool reserve(dt_features *f, size_t count, size_t width, dt_error *error)
{
    size_t numbers = 0, bytes = 0;
    bool fits = !__builtin_mul_overflow(count, width, &numbers) &&
                !__builtin_mul_overflow(numbers, sizeof(float), &bytes);
    free(f->rows);
    free(f->labels);
    free(f->images);
    f->count = count;
    f->width = width;
    f->rows = fits ? malloc(bytes + 1) : NULL;
    f->labels = calloc(count + 1, sizeof *f->labels);
    f->images = calloc(count + 1, sizeof *f->images);
    if (!f->rows || !f->labels || !f->images)
        return dt_fail(error, "no memory for %zu rows of %zu features", count, width);
    for (size_t i = 0; i < count; i++)
        f->images[i] = i;
    return true;
}

static bool check_finite(const dt_features *f, dt_error *error)
{
    for (size_t i = 0; i < f->count * f->width; i++)
        if (!isfinite(f->rows[i]))
            return dt_fail(error, "%s: feature %zu of row %zu is %g, expected a finite number", f->source,
                           i % f->width, i / f->width, (double)f->rows[i]);
    return true;
}

/* ---- computing ---- */

/* Of lower precision they are others; those of CPU and GPU in float32 are close enough to stand for each other. */
static const char *layer_text(const dt_features_options *o)
{
    static const char *const texts[][3] = {{"features", "features-tf32", "features-bf16"},
                                           {"embedding", "embedding-tf32", "embedding-bf16"},
                                           {"logits", "logits-tf32", "logits-bf16"}};
    int layer = o->layer == DT_LAYER_FEATURES ? 0 : o->layer == DT_LAYER_EMBEDDING ? 1 : 2;
    return texts[layer][o->backend ? o->backend->precision : DT_FP32];
}

static bool make_key(key *k, dt_model *model, const dt_dataset *data, const dt_features_options *options, dt_error *error)
{
    dt_preprocessing_text(&model->preprocess, k->preprocessing);
    const char *const texts[KEYED] = {"1", k->checkpoint, k->data, layer_text(options), k->preprocessing};
    memcpy(k->texts, texts, sizeof texts);
    return dt_model_fingerprint(model, k->checkpoint, error) && dt_dataset_fingerprint(data, k->data, error);
}

static char *cache_path(const key *k, const char *folder, const char *source)
{
    uint64_t hash = 0;
    for (int i = 0; i < KEYED; i++)
        hash = dt_hash_bytes(hash, k->texts[i], strlen(k->texts[i]));
    char stem[128], digits[DT_FINGERPRINT], name[256];
    dt_dataset_stem(source, stem, sizeof stem);
    for (char *c = stem; *c; c++) /* the source may be a pattern, or ".." */
        if (strchr("/*?[]", *c))
            *c = '_';
    dt_hash_text16(hash, digits);
    snprintf(name, sizeof name, "%s-%s-%s.safetensors", stem, k->texts[LAYER], digits);
    return dt_join(folder, name);
}

static bool describe(dt_features *f, const dt_dataset *data, dt_error *error)
{
    f->class_count = dt_dataset_class_count(data);
    f->classes = calloc(f->class_count + 1, sizeof *f->classes);
    bool good = (f->source = strdup(dt_dataset_path(data))) && f->classes;
    for (size_t c = 0; good && c < f->class_count; c++)
        good = (f->classes[c] = strdup(dt_dataset_class_name(data, c))) != NULL;
    return good || dt_fail(error, "no memory for %zu classes", f->class_count);
}

static bool compute(dt_features *f, dt_model *model, const dt_dataset *data, const dt_features_options *o,
                    dt_error *error)
{
    size_t count = dt_dataset_count(data), batch = o->batch > 0 ? (size_t)o->batch : 128;
    dt_encoder *encoder = dt_encoder_new(model, o->backend ? o->backend : dt_cpu(), DT_TOWER_IMAGE, o->layer,
                                         (int)(batch < count ? batch : count), error);
    bool good = encoder && reserve(f, count, dt_encoder_width(encoder), error);
    if (good)
        memcpy(f->labels, dt_dataset_labels(data), count * sizeof *f->labels);
    good = good &&
           dt_dataset_embed_timed(data, model, encoder, o->threads, f->rows, o->progress, &f->times, error) &&
           check_finite(f, error);
    dt_encoder_free(encoder);
    return good;
}

/* Features of the cache, where it has the right ones; else the reason why not, if it is more than an absent
 * file. */
static bool recall(dt_features *f, const key *k, const dt_dataset *data)
{
    dt_error why;
    if (!dt_file_exists(f->path))
        return false;
    bool good = read_cache(f, k, &why);
    if (good && (f->count != dt_dataset_count(data) ||
                 memcmp(f->labels, dt_dataset_labels(data), f->count * sizeof *f->labels)))
        good = dt_fail(&why, "%s: its %zu labels are not those of %s (%zu)", f->path, f->count, f->source,
                       dt_dataset_count(data));
    if (!good)
        snprintf(f->note, sizeof f->note, "%.900s; the features are computed anew", why.message);
    return f->cached = good;
}

static void keep(dt_features *f, const key *k, const dt_features_options *options)
{
    dt_error why;
    if (dt_make_directories(options->cache, &why) && write_cache(f, k, options, &why))
        remove_superseded(f, k, options);
    else
        snprintf(f->note, sizeof f->note, "%.900s; the features are not kept", why.message);
}

bool dt_features_of(dt_features *f, dt_model *model, const dt_dataset *data,
                    const dt_features_options *options, dt_error *error)
{
    *f = (dt_features){0};
    key k = {0};
    bool good = describe(f, data, error);
    if (good && options->cache) {
        good = make_key(&k, model, data, options, error) &&
               ((f->path = cache_path(&k, options->cache, f->source)) || dt_fail(error, "no memory"));
    }
    if (good && !(options->cache && recall(f, &k, data))) {
        good = compute(f, model, data, options, error);
        if (good && options->cache)
            keep(f, &k, options);
    }
    if (!good)
        dt_features_free(f);
    return good;
}

bool dt_features_labelled(dt_features *f, dt_error *error)
{
    size_t kept = 0;
    for (size_t i = 0; i < f->count; i++) {
        if (f->labels[i] < 0)
            continue;
        memmove(f->rows + kept * f->width, f->rows + i * f->width, f->width * sizeof *f->rows);
        f->labels[kept] = f->labels[i];
        f->images[kept++] = f->images[i];
    }
    f->unlabelled += f->count - kept;
    f->count = kept;
    return kept || dt_fail(error, "%s: none of its %zu images has a class", f->source, f->unlabelled);
}

char *dt_features_folder(const char *weights)
{
    if (dt_is_directory(weights))
        return dt_join(weights, "features");
    const char *slash = strrchr(weights, '/');
    char *folder = slash ? strndup(weights, (size_t)(slash - weights) + 1) : strdup("");
    char *path = folder ? dt_join(folder, "features") : NULL;
    free(folder);
    return path;
}

/* ---- files ---- */

static void checksum(const dt_features *f, char text[DT_FINGERPRINT])
{
    uint64_t hash = dt_hash_bytes(f->width, f->rows, f->count * f->width * sizeof *f->rows);
    dt_hash_text16(dt_hash_bytes(hash, f->labels, f->count * sizeof *f->labels), text);
}

static bool write_cache(const dt_features *f, const key *k, const dt_features_options *options,
                        dt_error *error)
{
    char sum[DT_FINGERPRINT], *classes = dt_names_text((const char *const *)f->classes, f->class_count, error);
    if (!classes)
        return dt_fail_prefix(error, "%s", f->source);
    checksum(f, sum);
    dt_st_meta meta[ENTRIES];
    for (int i = 0; i < ENTRIES; i++)
        meta[i] = (dt_st_meta){entries[i], i < KEYED ? k->texts[i] : ""};
    meta[CHECKSUM].value = sum;
    meta[CLASSES].value = classes;
    meta[WEIGHTS].value = options->weights ? options->weights : "";
    meta[SOURCE].value = f->source;
    const dt_st_tensor tensors[] = {
        {.name = "features",
         .type = DT_ST_F32,
         .rank = 2,
         .shape = {(int64_t)f->count, (int64_t)f->width},
         .data = f->rows},
        {.name = "labels", .type = DT_ST_I32, .rank = 1, .shape = {(int64_t)f->count}, .data = f->labels},
    };
    bool good = dt_safetensors_write(f->path, tensors, 2, meta, ENTRIES, error);
    free(classes);
    return good;
}

static bool says(const dt_safetensors *file, int entry, const char *text)
{
    const char *found = dt_safetensors_meta(file, entries[entry]);
    return found && !strcmp(found, text);
}

/* Whether the weights at this path gave the file when they, or the data at that path, were others than now. */
static bool is_superseded(const char *path, const dt_features *f, const key *k, const char *weights)
{
    dt_safetensors *file = dt_safetensors_open(path, NULL);
    bool old = file && says(file, FORMAT, k->texts[FORMAT]) && says(file, WEIGHTS, weights) &&
               (!says(file, CHECKPOINT, k->checkpoint) || says(file, SOURCE, f->source));
    dt_safetensors_close(file);
    return old;
}

/* Whether a name differs from that of the features' own file in the key alone. */
static bool is_sibling(const char *name, const char *own)
{
    size_t end = strlen(own) - strlen(".safetensors"), start = end - (DT_FINGERPRINT - 1);
    return strlen(name) == strlen(own) && strcmp(name, own) && !strncmp(name, own, start) && !strcmp(name + end, own + end) &&
           strspn(name + start, "0123456789abcdef") == end - start;
}

static void remove_superseded(const dt_features *f, const key *k, const dt_features_options *options)
{
    const char *own = strrchr(f->path, '/');
    DIR *directory = options->weights && *options->weights ? opendir(options->cache) : NULL;
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        char *path = is_sibling(entry->d_name, own ? own + 1 : f->path) ? dt_join(options->cache, entry->d_name) : NULL;
        if (path && is_superseded(path, f, k, options->weights))
            unlink(path);
        free(path);
    }
    if (directory)
        closedir(directory);
}

static bool find_tensors(const dt_safetensors *file, const dt_st_tensor **rows, const dt_st_tensor **labels,
                         dt_error *error)
{
    static const char *const names[] = {"features", "images", "image_embeddings"}; /* the last is duet embed's */
    *rows = NULL;
    for (size_t i = 0; !*rows && i < sizeof names / sizeof *names; i++)
        *rows = dt_safetensors_find(file, names[i]);
    if (!*rows && !(*rows = dt_safetensors_need(file, names[0], error)))
        return false;
    if (!(*labels = dt_safetensors_need(file, "labels", error)))
        return false;
    if ((*rows)->rank != 2 || (*rows)->shape[1] < 1)
        return dt_fail(error, "%s: %s has %d dimensions%s, expected [images, features]",
                       dt_safetensors_path(file), (*rows)->name, (*rows)->rank,
                       (*rows)->rank == 2 ? " and no features" : "");
    if ((*rows)->shape[0] < 1 || (*rows)->shape[0] > INT32_MAX)
        return dt_fail(error, "%s: %s has %lld rows, expected 1 to %d", dt_safetensors_path(file),
                       (*rows)->name, (long long)(*rows)->shape[0], INT32_MAX);
    return dt_st_has_shape(*labels, 1, (*rows)->shape, error) ||
           dt_fail_prefix(error, "%s", dt_safetensors_path(file));
}

static bool read_tensors(dt_features *f, const dt_safetensors *file, dt_error *error)
{
    const dt_st_tensor *rows, *labels;
    if (!find_tensors(file, &rows, &labels, error) ||
        !reserve(f, (size_t)rows->shape[0], (size_t)rows->shape[1], error))
        return false;
    return (dt_st_to_float(rows, f->rows, error) && dt_st_to_int32(labels, f->labels, error)) ||
           dt_fail_prefix(error, "%s", dt_safetensors_path(file));
}

/* That the metadata are those of the key, and the numbers those that were written. */
static bool read_cache(dt_features *f, const key *k, dt_error *error)
{
    dt_safetensors *file = dt_safetensors_open(f->path, error);
    char sum[DT_FINGERPRINT];
    bool good = file;
    for (int i = 0; good && i < KEYED; i++) {
        const char *found = dt_safetensors_meta(file, entries[i]);
        if (!found || strcmp(found, k->texts[i]))
            good = dt_fail(error, "%s holds features of %s %s%.200s, expected %s", f->path, entries[i],
                           found ? "" : "unknown", found ? found : "", k->texts[i]);
    }
    good = good && read_tensors(f, file, error);
    const char *expected = good ? dt_safetensors_meta(file, entries[CHECKSUM]) : NULL;
    if (good)
        checksum(f, sum);
    if (good && (!expected || strcmp(sum, expected)))
        good = dt_fail(error, "%s is damaged: its numbers have checksum %s, expected %.32s", f->path, sum,
                       expected ? expected : "one in the metadata");
    dt_safetensors_close(file);
    return good;
}

static bool read_classes(dt_features *f, const char *text, dt_error *error)
{
    json_t *list = dt_json_parse(text, strlen(text), f->path, error);
    bool good =
        list && (json_is_array(list) || dt_fail(error, "%s: classes: expected a list of names, found %s",
                                                f->path, dt_json_kind_name(list)));
    if (good && !(f->classes = calloc(json_array_size(list) + 1, sizeof *f->classes)))
        good = dt_fail(error, "no memory for the classes of %s", f->path);
    for (size_t c = 0; good && c < json_array_size(list); c++) {
        const char *name = json_string_value(json_array_get(list, c));
        if (!name)
            good = dt_fail(error, "%s: classes: name %zu is no text", f->path, c);
        else if ((f->classes[c] = strdup(name)))
            f->class_count++;
        else
            good = dt_fail(error, "no memory for the classes of %s", f->path);
    }
    json_decref(list);
    return good;
}

/* Within the names; without names they say how many classes there are. */
static bool check_labels(dt_features *f, dt_error *error)
{
    size_t most = f->classes ? f->class_count : DT_PAIR_CLASSES_MAX;
    for (size_t i = 0; i < f->count; i++) {
        if (f->labels[i] >= 0 && (size_t)f->labels[i] >= most)
            return dt_fail(error, "%s: label %d of row %zu; expected less than %zu, the number of classes %s",
                           f->path, f->labels[i], i, most,
                           f->classes ? "in its metadata" : "that are possible");
        if (!f->classes && f->labels[i] >= (int64_t)f->class_count)
            f->class_count = (size_t)f->labels[i] + 1;
    }
    return true;
}

bool dt_features_load(dt_features *f, const char *path, dt_error *error)
{
    *f = (dt_features){.source = strdup(path), .path = strdup(path), .cached = true};
    dt_safetensors *file = NULL;
    bool good = (f->source && f->path) || dt_fail(error, "no memory for %s", path);
    good = good && (file = dt_safetensors_open(path, error)) && read_tensors(f, file, error) && check_finite(f, error);
    const char *classes = good ? dt_safetensors_meta(file, entries[CLASSES]) : NULL;
    good = good && (!classes || read_classes(f, classes, error)) && check_labels(f, error);
    dt_safetensors_close(file);
    if (!good)
        dt_features_free(f);
    return good;
}
