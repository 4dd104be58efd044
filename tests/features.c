/* Features of a small model over a small store: computed once, recalled, and computed again whenever anything
 * that they depend on has changed. */
#include "eval/features.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "data/file.h"
#include "data/jpeg.h"
#include "data/json.h"
#include "data/safetensors.h"
#include "data/shuffle.h"
#include "tests/tap.h"

enum { IMAGES = 11, WIDTH = 16, DIM = 8 };

static dt_error error;
static const char *const class_names[2] = {"ant", "bee"};
static const char description[] =
    "{\"embed_dim\": 8, \"vision_cfg\": {\"image_size\": 16, \"patch_size\": 8, "
    "\"width\": 16, \"layers\": 1, \"heads\": 2}}";

static dt_model *new_model(uint64_t seed)
{
    json_t *json = dt_json_parse(description, strlen(description), "description", &error);
    dt_model *model = dt_model_new(json, NULL, seed, &error);
    json_decref(json);
    return model;
}

/* A grey picture of one of 200 levels by number; all files have one size. */
static uint8_t *picture(int level, size_t *size)
{
    dt_image image = {0};
    uint8_t *jpeg = NULL;
    if (dt_image_reserve(&image, 16, 16, 1, &error)) {
        for (int i = 0; i < 16; i++)
            memset(image.pixels + (size_t)i * image.stride, 40 + level, 16);
        if (!dt_jpeg_encode(&image, 90, false, &jpeg, size, &error))
            jpeg = NULL;
    }
    dt_image_free(&image);
    return jpeg;
}

/* Every fourth image has no class. `middle` is the level of the sixth. */
static bool make_store(const char *path, int middle)
{
    dt_pairs_writer *writer = dt_pairs_create(path, true, &error);
    bool good = writer;
    for (int i = 0; good && i < IMAGES; i++) {
        size_t size;
        uint8_t *jpeg = picture(i == 5 ? middle : 10 * i, &size);
        const dt_pair_input pair = {.jpeg = jpeg,
                                    .jpeg_size = size,
                                    .width = 16,
                                    .height = 16,
                                    .label = i % 4 == 0 ? -1 : i % 2,
                                    .weight = 1};
        good = jpeg && dt_pairs_add(writer, &pair, &error);
        free(jpeg);
    }
    const char *source = "synthetic";
    if (good)
        return dt_pairs_finish(writer, class_names, 2, &source, 1, NULL, &error);
    dt_pairs_abort(writer);
    return false;
}

static bool get_from(const char *weights, dt_features *f, dt_model *model, const char *data, const char *cache, dt_layer layer)
{
    const dt_features_options options = {.layer = layer, .cache = cache, .weights = weights, .batch = 4};
    dt_dataset *set = dt_dataset_open(data, &error);
    bool good = set && dt_features_of(f, model, set, &options, &error);
    if (!good)
        printf("# %s\n", error.message);
    dt_dataset_close(set);
    return good;
}

static bool get(dt_features *f, dt_model *model, const char *data, const char *cache, dt_layer layer)
{
    return get_from(NULL, f, model, data, cache, layer);
}

/* Computes and recalls; the path of the cache file stays in `path`. */
static void twice(dt_model *model, const char *data, const char *cache, char *path, const char *name)
{
    dt_features a, b;
    bool first = get(&a, model, data, cache, DT_LAYER_FEATURES),
         second = get(&b, model, data, cache, DT_LAYER_FEATURES);
    ok(first && second && !a.cached && b.cached && !*a.note && !*b.note && !strcmp(a.path, b.path) &&
           a.times.seconds > 0 && b.times.seconds == 0,
       "%s: computed, then recalled", name);
    ok(first && second && a.count == b.count && !memcmp(a.rows, b.rows, a.count * a.width * sizeof *a.rows) &&
           !memcmp(a.labels, b.labels, a.count * sizeof *a.labels),
       "%s: the same rows", name);
    snprintf(path, 700, "%s", first ? a.path : "");
    dt_features_free(&a);
    dt_features_free(&b);
}

static void rows_are_the_encoders(dt_model *model)
{
    dt_features f, e;
    float want[IMAGES * WIDTH];
    dt_dataset *set = dt_dataset_open(in("a.lmdb"), &error);
    dt_encoder *encoder = dt_encoder_new(model, dt_cpu(), DT_TOWER_IMAGE, DT_LAYER_FEATURES, 3, &error);
    ok(dt_dataset_embed(set, model, encoder, 1, want, (dt_progress){0}, &error), "the encoder's own rows");
    ok(get(&f, model, in("a.lmdb"), NULL, DT_LAYER_FEATURES) && f.count == IMAGES && f.width == WIDTH &&
           !f.path,
       "without a cache");
    near("rows", f.rows, want, IMAGES * WIDTH, 1e-5);
    ok(f.class_count == 2 && !strcmp(f.classes[1], "bee") && f.labels[3] == 1 && f.labels[4] == -1,
       "labels and class names");
    ok(get(&e, model, in("a.lmdb"), NULL, DT_LAYER_EMBEDDING) && e.width == DIM, "after the projection");
    double norm = 0;
    for (int d = 0; d < DIM; d++)
        norm += (double)e.rows[d] * (double)e.rows[d];
    ok(fabs(norm - 1) < 1e-5, "of unit length");
    ok(dt_features_labelled(&f, &error) && f.count == 8 && f.unlabelled == 3 && f.images[0] == 1 &&
           f.images[3] == 5 && f.labels[3] == 1,
       "labelled rows and their images");
    near("a row after those without a label", f.rows + 3 * WIDTH, want + 5 * WIDTH, WIDTH, 1e-5);
    dt_features_free(&f);
    dt_features_free(&e);
    dt_encoder_free(encoder);
    dt_dataset_close(set);
}

/* Bytes of a file with one change; `at` from the end. */
static void spoil(const char *path, bool cut, size_t at)
{
    size_t size;
    char *bytes = dt_file_read(path, 1 << 20, &size, &error);
    bytes[size - at] ^= 0x10;
    ok(bytes && dt_file_write(path, bytes, cut ? size - at : size, &error), "%s a cache file",
       cut ? "cut" : "spoilt");
    free(bytes);
}

static void not_used(dt_model *model, const char *cache, const char *part, const char *name)
{
    dt_features f, again;
    bool good = get(&f, model, in("a.lmdb"), cache, DT_LAYER_FEATURES);
    ok(good && !f.cached, "%s: computed anew", name);
    ok(says(good ? f.note : error.message, part), "%s", name);
    ok(get(&again, model, in("a.lmdb"), cache, DT_LAYER_FEATURES) && again.cached && !*again.note &&
           !memcmp(f.rows, again.rows, sizeof(float) * f.count * f.width),
       "%s: and kept", name);
    dt_features_free(&f);
    dt_features_free(&again);
}

static void damage(dt_model *model, const char *cache, const char *path, const char *other)
{
    spoil(path, true, 9);
    not_used(model, cache, path, "a torn file");
    spoil(path, false, IMAGES * WIDTH * 4 / 2);
    not_used(model, cache, "is damaged: its numbers have checksum", "a bit that fell over");
    size_t size;
    char *bytes = dt_file_read(other, 1 << 20, &size, &error);
    ok(bytes && dt_file_write(path, bytes, size, &error), "a file of another checkpoint under this name");
    free(bytes);
    not_used(model, cache, "holds features of checkpoint ", "another checkpoint's");
    ok(dt_file_write(path, "no tensors", 10, &error), "something else under this name");
    not_used(model, cache, path, "a foreign file");
}

static void other_keys(dt_model *model, const char *cache, const char *path)
{
    char other[700];
    float *value = dt_params_value(model->params, 0), before = *value;
    *value += 1e-3f;
    twice(model, in("a.lmdb"), cache, other, "one weight changed");
    ok(strcmp(path, other), "under another name");
    *value = before;
    model->preprocess.mean[1] += 0.01f;
    twice(model, in("a.lmdb"), cache, other, "another preprocessing");
    model->preprocess.mean[1] -= 0.01f;
    dt_features f;
    ok(get(&f, model, in("a.lmdb"), cache, DT_LAYER_EMBEDDING) && !f.cached &&
           strstr(f.path, "a-embedding-"),
       "another layer");
    dt_features_free(&f);
    ok(get(&f, model, in("a.lmdb"), cache, DT_LAYER_FEATURES) && f.cached && !strcmp(f.path, path),
       "as it was: recalled");
    dt_features_free(&f);
}

/* Another level whose picture file is as large as that of `level`. */
static int alike(int level)
{
    size_t size = 0, found = 1;
    free(picture(level, &size));
    for (int other = level + 1; other < 200; other++) {
        free(picture(other, &found));
        if (found == size)
            return other;
    }
    return level;
}

static void other_data(dt_model *model, const char *cache, const char *path)
{
    char other[700];
    struct stat before, after;
    stat(in("a.lmdb"), &before);
    int level = alike(50);
    ok(level != 50 && make_store(in("a.lmdb"), level), "the store is replaced: one picture differs");
    stat(in("a.lmdb"), &after);
    ok(before.st_size == after.st_size, "in the same size");
    twice(model, in("a.lmdb"), cache, other, "replaced data");
    ok(strcmp(path, other), "replaced data: under another name");
    const struct timespec old[2] = {before.st_atim, before.st_mtim};
    ok(utimensat(AT_FDCWD, in("a.lmdb"), old, 0) == 0, "and takes the old one's time");
    dt_features f;
    ok(get(&f, model, in("a.lmdb"), cache, DT_LAYER_FEATURES) && !f.cached && strcmp(f.path, path),
       "still other data");
    dt_features_free(&f);
    ok(dt_make_directories(in("moved"), &error) &&
           rename(in("a.lmdb"), in("moved/a.lmdb")) == 0 &&
           get(&f, model, in("moved/a.lmdb"), cache, DT_LAYER_FEATURES) && f.cached,
       "moved data is the same");
    dt_features_free(&f);
}

static void folders(dt_model *model, const char *cache)
{
    size_t size;
    char first[700], second[700];
    uint8_t *jpeg = picture(7, &size);
    ok(dt_make_directories(in("folder/ant"), &error) &&
           dt_file_write(in("folder/ant/1.jpg"), jpeg, size, &error),
       "a folder");
    twice(model, in("folder/"), cache, first, "a folder");
    ok(strstr(first, "/folder-features-"), "named after the folder");
    ok(dt_file_write(in("folder/ant/2.jpg"), jpeg, size, &error), "one more image");
    twice(model, in("folder"), cache, second, "a grown folder");
    ok(strcmp(first, second), "a grown folder: under another name");
    free(jpeg);
}

/* The path of the features' file, "" where they are not there. */
static const char *file_of(const char *weights, dt_model *model, const char *data, dt_layer layer)
{
    static char paths[16][700];
    static int next;
    char *path = paths[next++ & 15];
    dt_features f;
    bool good = get_from(weights, &f, model, data, in("tidy"), layer);
    snprintf(path, sizeof paths[0], "%s", good && f.path ? f.path : "");
    dt_features_free(&f);
    return path;
}

/* What new files of weights "run" take the place of. */
static void superseded(dt_model *model, dt_model *second)
{
    const dt_layer layer = DT_LAYER_FEATURES;
    ok(dt_make_directories(in("x"), &error) && dt_make_directories(in("y"), &error) &&
           make_store(in("x/s.lmdb"), 50) && make_store(in("y/s.lmdb"), 60) &&
           make_store(in("x/s-features-b.lmdb"), 50),
       "stores, two of one name");
    const char *old = file_of("run", model, in("x/s.lmdb"), layer),
               *old_too = file_of("run", model, in("y/s.lmdb"), layer),
               *unnamed = file_of(NULL, second, in("y/s.lmdb"), layer),
               *embedding = file_of("run", model, in("x/s.lmdb"), DT_LAYER_EMBEDDING),
               *longer = file_of("run", model, in("x/s-features-b.lmdb"), layer);
    char foreign[700];
    snprintf(foreign, sizeof foreign, "%s", old);
    char *digit = foreign + strlen(foreign) - strlen("0.safetensors");
    *digit = *digit == '0' ? '1' : '0';
    ok(dt_file_write(foreign, "no tensors", 10, &error), "a foreign file of such a name");
    ok(dt_file_exists(old) && dt_file_exists(old_too), "other data of the same name stays");
    const char *others = file_of("other", second, in("x/s.lmdb"), layer);
    ok(dt_file_exists(old) && dt_file_exists(others), "other weights' stay");
    float *value = dt_params_value(model->params, 0);
    *value += 1e-3f;
    const char *new = file_of("run", model, in("x/s.lmdb"), layer);
    *value -= 1e-3f;
    ok(dt_file_exists(new) && !dt_file_exists(old) && !dt_file_exists(old_too), "those of the weights before go");
    ok(dt_file_exists(embedding) && dt_file_exists(longer) && dt_file_exists(unnamed) && dt_file_exists(others) &&
           dt_file_exists(foreign),
       "another layer's, another name's, those of no weights or others and foreign ones stay");
    ok(make_store(in("y/s.lmdb"), 70), "new data");
    const char *again = file_of(NULL, second, in("y/s.lmdb"), layer);
    ok(dt_file_exists(unnamed) && dt_file_exists(again), "without a path of weights nothing goes");
    const char *first = file_of("other", second, in("y/s.lmdb"), layer);
    ok(!strcmp(first, again), "the same file");
    ok(make_store(in("x/s.lmdb"), 90), "and again");
    const char *last = file_of("other", second, in("x/s.lmdb"), layer);
    ok(dt_file_exists(last) && !dt_file_exists(others), "what was at the data's path before goes");
}

static void no_room(dt_model *model)
{
    dt_features f;
    ok(dt_file_write(in("file"), "x", 1, &error), "a file where the cache should be");
    bool good = get(&f, model, in("moved/a.lmdb"), in("file"), DT_LAYER_FEATURES);
    ok(good && !f.cached && f.count == IMAGES, "features without a place to keep them");
    ok(says(good ? f.note : "", "the features are not kept"), "which is told");
    dt_features_free(&f);
    float *value = dt_params_value(model->params, 0);
    *value = NAN;
    ok(!get(&f, model, in("moved/a.lmdb"), NULL, DT_LAYER_FEATURES) && !f.rows, "a broken model");
    ok(says(error.message, "what the model gives is not finite"), "a broken model is told");
    char *run = dt_features_folder(scratch()), *weights = dt_features_folder("runs/a/model.safetensors"),
         *plain = dt_features_folder("model.safetensors");
    ok(!strcmp(run, in("features")) && !strcmp(weights, "runs/a/features") && !strcmp(plain, "features"),
       "where features go");
    free(run);
    free(weights);
    free(plain);
}

/* ---- files of others ---- */

typedef struct foreign {
    const char *name; /* of the rows */
    int64_t rows, width, labels;
    float odd; /* the value of the last number */
    int64_t last_label;
    const char *classes;
} foreign;

static bool load_foreign(dt_features *f, foreign x)
{
    float rows[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    int64_t labels[4] = {0, 1, -1, x.last_label};
    rows[x.rows * x.width - (x.rows * x.width > 0)] = x.odd;
    const dt_st_tensor tensors[] = {
        {.name = x.name, .type = DT_ST_F32, .rank = 2, .shape = {x.rows, x.width}, .data = rows},
        {.name = "labels", .type = DT_ST_I64, .rank = 1, .shape = {x.labels}, .data = labels},
    };
    const dt_st_meta meta = {"classes", x.classes ? x.classes : ""};
    return dt_safetensors_write(in("foreign.safetensors"), tensors, 2, &meta, x.classes != NULL,
                                &error) &&
           dt_features_load(f, in("foreign.safetensors"), &error);
}

static void refused(foreign x, const char *part, const char *name)
{
    dt_features f;
    ok(!load_foreign(&f, x) && !f.rows && !f.source, "%s is refused", name);
    ok(says(error.message, part), "%s", name);
}

static void both_names(void)
{
    float features[4] = {1, 2, 3, 4}, images[6] = {9, 9, 9, 9, 9, 9};
    int32_t labels[2] = {0, 1};
    const dt_st_tensor tensors[] = {
        {.name = "images", .type = DT_ST_F32, .rank = 2, .shape = {2, 3}, .data = images},
        {.name = "features", .type = DT_ST_F32, .rank = 2, .shape = {2, 2}, .data = features},
        {.name = "labels", .type = DT_ST_I32, .rank = 1, .shape = {2}, .data = labels},
    };
    dt_features f;
    ok(dt_safetensors_write(in("both.safetensors"), tensors, 3, NULL, 0, &error) &&
           dt_features_load(&f, in("both.safetensors"), &error) && f.width == 2 && f.rows[3] == 4,
       "features rather than images");
    dt_features_free(&f);
}

static void foreign_files(void)
{
    dt_features f;
    ok(load_foreign(&f, (foreign){"images", 4, 3, 4, 11, 5, NULL}) && f.count == 4 && f.width == 3 &&
           f.rows[11] == 11 && f.labels[3] == 5 && !f.classes && f.class_count == 6,
       "rows under the name images, labels alone");
    ok(dt_features_labelled(&f, &error) && f.count == 3 && f.images[2] == 3 && f.rows[6] == 9,
       "one row without a label");
    dt_features_free(&f);
    ok(load_foreign(&f, (foreign){"features", 4, 2, 4, 1, 1, "[\"a\", \"b\"]"}) && f.class_count == 2 &&
           !strcmp(f.classes[1], "b"),
       "with class names");
    dt_features_free(&f);
    both_names();
    refused((foreign){"feature", 4, 3, 4, 0, 0, NULL}, "has no tensor \"features\"", "a wrong name");
    refused((foreign){"features", 4, 3, 3, 0, 0, NULL}, "labels", "labels that are too few");
    refused((foreign){"features", 0, 3, 0, 0, 0, NULL}, "has 0 rows", "an empty split");
    refused((foreign){"features", 4, 0, 4, 0, 0, NULL}, "no features", "rows of nothing");
    refused((foreign){"features", 4, 3, 4, NAN, 0, NULL}, "feature 2 of row 3 is nan", "a NaN");
    refused((foreign){"features", 4, 3, 4, 0, 2, "[\"a\", \"b\"]"}, "label 2 of row 3",
            "a label beyond the names");
    refused((foreign){"features", 4, 3, 4, 0, 1 << 30, NULL}, "label 1073741824", "a label without end");
    refused((foreign){"features", 4, 3, 4, 0, 0, "[\"a\", 2]"}, "is no text", "a name that is none");
    refused((foreign){"features", 4, 3, 4, 0, 0, "{}"}, "expected a list", "names that are no list");
    ok(!dt_features_load(&f, in("nothing.safetensors"), &error), "no file");
    ok(says(error.message, "nothing.safetensors"), "no file is named");
    ok(load_foreign(&f, (foreign){"features", 1, 3, 1, 0, 0, NULL}), "one row");
    f.labels[0] = -1;
    ok(!dt_features_labelled(&f, &error), "no labelled row");
    ok(says(error.message, "none of its 1 images has a class"), "no labelled row is told");
    dt_features_free(&f);
}

int main(void)
{
    const char *cache = in("cache/deeper");
    char kept[700], path[700], other[700];
    snprintf(kept, sizeof kept, "%s", cache);
    dt_model *model = new_model(1), *second = new_model(2);
    if (!ok(model && second && make_store(in("a.lmdb"), 50), "a model and a store"))
        return printf("# %s\n", error.message), done();
    rows_are_the_encoders(model);
    twice(model, in("a.lmdb"), kept, path, "a store");
    ok(strstr(path, "/a-features-"), "named after data and layer");
    twice(second, in("a.lmdb"), kept, other, "another checkpoint");
    ok(strcmp(path, other), "another checkpoint: under another name");
    damage(model, kept, path, other);
    other_keys(model, kept, path);
    other_data(model, kept, path);
    folders(model, kept);
    superseded(model, second);
    no_room(model);
    foreign_files();
    dt_model_free(model);
    dt_model_free(second);
    return done();
}
