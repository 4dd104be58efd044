/* Pictures in memory against a data set: the same distances as of the files that hold them, the choice of images,
 * findings; and the consistency of labels. */
#include "eval/consistency.h"
#include "eval/generated.h"

#include "data/jpeg.h"
#include "data/shuffle.h"
#include "tests/tap.h"

enum { IMAGES = 24, SIDE = 16, WIDTH = 32, BYTES = SIDE * SIDE * 3 };

static dt_error error;
static const char description[] =
    "{\"vision_cfg\": {\"image_size\": 16, \"patch_size\": 8, \"width\": 32, \"layers\": 1, \"heads\": 2}, "
    "\"head\": {\"tower\": \"image\", \"input\": \"features\", \"classes\": [\"ant\", \"bee\", \"cat\"]}}";

/* A classifier whose head is not zero. */
static dt_model *new_model(void)
{
    json_t *json = dt_json_parse(description, strlen(description), "description", &error);
    dt_model *model = dt_model_new(json, NULL, 3, &error);
    json_decref(json);
    float *weights = model ? dt_params_value(model->params, dt_params_find(model->params, "head.weight")) : NULL;
    for (int k = 0; weights && k < 3 * WIDTH; k++)
        weights[k] = (float)dt_uniform(4, (uint64_t)k, 0) - 0.5F;
    return model;
}

/* Smooth colours by number, packed as JPEG; *pixels gets what comes out of the files. */
static bool make_store(const char *path, uint64_t seed, uint8_t *pixels)
{
    const char *source = "synthetic";
    dt_pairs_writer *writer = dt_pairs_create(path, true, &error);
    bool good = writer != NULL;
    for (uint64_t i = 0; good && i < IMAGES; i++) {
        dt_image image = {0}, back = {0};
        uint8_t *jpeg = NULL;
        size_t size = 0;
        good = dt_image_reserve(&image, SIDE, SIDE, 3, &error);
        for (size_t k = 0; good && k < BYTES; k++)
            image.pixels[k / (SIDE * 3) * image.stride + k % (SIDE * 3)] =
                (uint8_t)(200 * dt_uniform(seed, i, k % 3) + (double)(k / 3 % SIDE) * 3 * dt_uniform(seed, i, 9));
        good = good && dt_jpeg_encode(&image, 90, false, &jpeg, &size, &error) && dt_image_decode(jpeg, size, &back, &error);
        for (size_t y = 0; good && y < SIDE; y++)
            memcpy(pixels + i * BYTES + y * SIDE * 3, back.pixels + y * back.stride, SIDE * 3);
        const dt_pair_input pair = {.jpeg = jpeg, .jpeg_size = size, .width = SIDE, .height = SIDE, .label = -1, .weight = 1};
        good = good && dt_pairs_add(writer, &pair, &error);
        dt_image_free(&image);
        dt_image_free(&back);
        free(jpeg);
    }
    if (good)
        return dt_pairs_finish(writer, NULL, 0, &source, 1, NULL, &error);
    dt_pairs_abort(writer);
    return false;
}

static bool agree(const dt_distances *a, const dt_distances *b)
{
    return a->real == b->real && a->generated == b->generated && fabs(a->frechet - b->frechet) < 1e-6 * (1 + b->frechet) &&
           fabs(a->kid.value - b->kid.value) < 1e-6 * (1 + fabs(b->kid.value)) && fabs(a->cmmd - b->cmmd) < 1e-4 &&
           a->precision == b->precision && a->recall == b->recall;
}

static dt_distances measure(dt_reference *real, const dt_picture_set *pictures)
{
    dt_distances d = {0};
    if (!dt_distances_of_pictures(real, pictures, &d, &error)) {
        printf("# %s\n", error.message);
        d.frechet = NAN;
    }
    return d;
}

static void check_pictures(dt_model *model, const dt_dataset *real, const dt_dataset *other, const uint8_t *own,
                           const uint8_t *others)
{
    const dt_distance_options options = {.features = {.layer = DT_LAYER_FEATURES, .batch = 7}};
    dt_reference *reference = dt_reference_new(model, real, &options, &error);
    const dt_picture_set same = {own, IMAGES, SIDE, SIDE, 3}, different = {others, IMAGES, SIDE, SIDE, 3};
    dt_distances of_files = {0};
    ok(reference && dt_distances_of_dataset(reference, other, &of_files, &error), "two stores");
    dt_distances in_memory = measure(reference, &different), zero = measure(reference, &same);
    ok(agree(&in_memory, &of_files) && of_files.frechet > 0, "pictures in memory are as far as their files (%g and %g)",
       in_memory.frechet, of_files.frechet);
    ok(zero.frechet < 1e-6 * of_files.frechet && zero.precision == 1 && zero.recall == 1, "the real ones are at 0 (%g)",
       zero.frechet);
    ok(strstr(in_memory.note, "24 real and 24 generated") && in_memory.width == WIDTH && in_memory.k == 3, "few are told: %s",
       in_memory.note);
    json_t *found = dt_distances_json(&in_memory, "set", "model", &error);
    const json_t *figures = json_object_get(found, "figures"), *frechet = json_array_get(figures, 0),
                 *recall = json_array_get(figures, 4);
    ok(json_array_size(figures) == 5 && json_real_value(json_object_get(frechet, "value")) == in_memory.frechet &&
           json_is_true(json_object_get(frechet, "rank")) && !json_object_get(recall, "rank") &&
           strstr(json_string_value(json_object_get(recall, "note")), "features of model; k = 3"),
       "five figures");
    json_decref(found);
    const dt_picture_set none = {own, 1, SIDE, SIDE, 3}, odd = {own, 2, SIDE, SIDE, 2};
    dt_distances d;
    ok(!dt_distances_of_pictures(reference, &none, &d, &error) && strstr(error.message, "1 image; a distance needs"),
       "a single picture is refused");
    ok(!dt_distances_of_pictures(reference, &odd, &d, &error) && strstr(error.message, "2 channels"),
       "two channels are refused");
    dt_reference_free(reference);
}

/* Grey pictures are their RGB copies. */
static void check_grey(dt_model *model, const dt_dataset *real, const uint8_t *pixels)
{
    static uint8_t grey[IMAGES * SIDE * SIDE], rgb[IMAGES * BYTES];
    for (size_t i = 0; i < sizeof grey; i++) {
        grey[i] = pixels[3 * i];
        memset(rgb + 3 * i, grey[i], 3);
    }
    const dt_distance_options options = {.features = {.layer = DT_LAYER_FEATURES, .threads = 3}};
    dt_reference *reference = dt_reference_new(model, real, &options, &error);
    const dt_picture_set one = {grey, IMAGES, SIDE, SIDE, 1}, three = {rgb, IMAGES, SIDE, SIDE, 3};
    dt_distances a = measure(reference, &one), b = measure(reference, &three);
    ok(agree(&a, &b), "grey pictures (%g and %g)", a.frechet, b.frechet);
    dt_reference_free(reference);
}

/* By the seed, with the cache or without: the same images. */
static void check_choice(dt_model *model, const dt_dataset *real, const uint8_t *own)
{
    const char *cache = in("cache");
    double got[4];
    for (int i = 0; i < 4; i++) {
        const dt_distance_options options = {
            .features = {.layer = DT_LAYER_FEATURES, .cache = i % 2 ? cache : NULL}, .count = 10, .first = i < 2, .seed = 5};
        dt_reference *reference = dt_reference_new(model, real, &options, &error);
        const dt_picture_set first = {own, 10, SIDE, SIDE, 3};
        dt_distances d = measure(reference, &first);
        got[i] = d.frechet;
        ok(d.real == 10 && !*dt_reference_note(reference), "ten %s images%s", i / 2 ? "drawn" : "first",
           i % 2 ? ", cached" : "");
        dt_reference_free(reference);
    }
    ok(got[0] < 1e-3 && got[1] < 1e-3, "the first ten are at 0 from themselves (%g, %g)", got[0], got[1]);
    ok(got[2] > 1 && fabs(got[3] - got[2]) < 1e-5 * got[2], "the drawn ones are others (%g, %g)", got[2], got[3]);
}

static void check_consistency(dt_model *model, const uint8_t *pixels)
{
    const dt_picture_set set = {pixels, IMAGES, SIDE, SIDE, 3};
    dt_encoder *encoder = dt_encoder_new(model, dt_cpu(), DT_TOWER_IMAGE, DT_LAYER_LOGITS, IMAGES, &error);
    float logits[IMAGES * 3];
    int32_t labels[IMAGES], turned[IMAGES], counts[3] = {0};
    ok(encoder && dt_picture_set_encode(&set, model, encoder, 1, logits, (dt_progress){0}, &error), "scores");
    for (int i = 0; i < IMAGES; i++) {
        const float *s = logits + 3 * i;
        labels[i] = s[0] >= s[1] && s[0] >= s[2] ? 0 : s[1] >= s[2] ? 1 : 2;
        turned[i] = 2 - labels[i];
        counts[labels[i]]++;
    }
    ok(counts[0] < IMAGES && counts[1] < IMAGES && counts[2] < IMAGES, "of several classes (%d, %d, %d)", counts[0], counts[1],
       counts[2]);
    static const char *const names[] = {"cat", "bee", "ant"}, *const wrong[] = {"cat", "dog", "eel"};
    const dt_features_options few = {.batch = 5};
    double share = NAN;
    json_t *found = NULL;
    ok(dt_label_consistency(model, &set, labels, NULL, 0, NULL, "set", "judge", &share, &found, &error) && share == 1,
       "what the classifier says is consistent");
    const json_t *figure = json_array_get(json_object_get(found, "figures"), 0);
    ok(figure && !strcmp(json_string_value(json_object_get(figure, "key")), "consistency") &&
           !strcmp(json_string_value(json_object_get(figure, "name")), "set: label consistency") &&
           json_integer_value(json_object_get(figure, "n")) == IMAGES &&
           fabs(json_real_value(json_object_get(figure, "chance")) - 1 / 3.0) < 1e-6,
       "a figure");
    json_decref(found);
    ok(dt_label_consistency(model, &set, turned, NULL, 0, &few, "set", "judge", &share, NULL, &error) &&
           share == counts[1] / (double)IMAGES,
       "other labels are not");
    ok(dt_label_consistency(model, &set, turned, names, 3, &few, "set", "judge", &share, NULL, &error) && share == 1,
       "by their names they are");
    labels[3] = -1;
    labels[4] = (labels[4] + 1) % 3;
    ok(dt_label_consistency(model, &set, labels, NULL, 0, NULL, "set", "judge", &share, NULL, &error) &&
           share == (IMAGES - 2) / (double)(IMAGES - 1),
       "one is passed over, one is wrong");
    ok(!dt_label_consistency(model, &set, turned, wrong, 3, NULL, "set", "judge", &share, NULL, &error) &&
           (strstr(error.message, "'dog'") || strstr(error.message, "'eel'")),
       "a name that it does not know is refused");
    labels[0] = 3;
    ok(!dt_label_consistency(model, &set, labels, NULL, 0, NULL, "set", "judge", &share, NULL, &error) &&
           strstr(error.message, "label 3"),
       "and a label");
    dt_encoder_free(encoder);
}

int main(void)
{
    static uint8_t real_pixels[IMAGES * BYTES], other_pixels[IMAGES * BYTES];
    const char *real_path = in("real.lmdb"), *other_path = in("other.lmdb");
    dt_model *model = new_model();
    bool good = model && make_store(real_path, 1, real_pixels) && make_store(other_path, 2, other_pixels);
    dt_dataset *real = good ? dt_dataset_open(real_path, &error) : NULL,
               *other = real ? dt_dataset_open(other_path, &error) : NULL;
    if (!ok(other, "a model and two stores"))
        printf("# %s\n", error.message);
    if (other) {
        check_pictures(model, real, other, real_pixels, other_pixels);
        check_grey(model, real, other_pixels);
        check_choice(model, real, real_pixels);
        check_consistency(model, other_pixels);
    }
    dt_dataset_close(real);
    dt_dataset_close(other);
    dt_model_free(model);
    return done();
}
