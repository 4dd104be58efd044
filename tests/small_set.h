/* A model of 8 dimensions and 13 pictures of 3 classes, as a store and as a folder, of which all is known. */
#ifndef DUET_TESTS_SMALL_SET_H
#define DUET_TESTS_SMALL_SET_H

#include "data/file.h"
#include "data/jpeg.h"
#include "data/json.h"
#include "data/pairs.h"
#include "eval/zeroshot.h"
#include "tests/byte_tokenizer.h"
#include "tests/tap.h"

enum { IMAGES = 13, CLASSES = 3, DIM = 8, SIZE = 16 };

static dt_error error;
static dt_model *model;
static const char *const class_names[CLASSES] = {"ant", "bee fly", "cow"};

static const char description[] =
    "{\"embed_dim\": 8, \"vision_cfg\": {\"image_size\": 16, \"patch_size\": 8, \"width\": 16, \"layers\": "
    "1, \"heads\": 2},"
    " \"text_cfg\": {\"context_length\": 24, \"width\": 16, \"layers\": 1, \"heads\": 2}}";

/* That a call failed, in a line that has this part. */
static inline bool failed_with(bool good, const char *part, const char *name)
{
    return ok(!good && says(error.message, part), "%s", name);
}

static inline dt_model *small_model(uint64_t seed)
{
    json_t *json = dt_json_parse(description, strlen(description), "description", &error);
    dt_model *made = dt_model_new(json, byte_tokenizer(&error), seed, &error);
    json_decref(json);
    return made;
}

/* Noise: a multiplicative hash of three numbers. */
static inline uint32_t noise(int a, int b, int c)
{
    uint64_t x = (uint64_t)(a * 73856093 ^ b * 19349663 ^ c * 83492791) * 0x9E3779B97F4A7C15u;
    return (uint32_t)((x ^ x >> 29) * 0xBF58476D1CE4E5B9u >> 33);
}

/* Label of image i in the store; the folder has the same, class by class. Every fourth has none in the mixed
 * store. */
static inline int32_t label_of(int i)
{
    return (int32_t)(noise(9, i, 0) % CLASSES);
}

static inline uint8_t *picture(int i, int *width, int *height, size_t *size)
{
    dt_image image = {0};
    uint8_t *jpeg = NULL;
    *width = 17 + 2 * i;
    *height = 40 - i;
    if (dt_image_reserve(&image, *width, *height, i % 5 == 2 ? 1 : 3, &error)) {
        for (int y = 0; y < image.height; y++)
            for (int x = 0; x < image.width * image.channels; x++)
                image.pixels[(size_t)y * image.stride + (size_t)x] =
                    (uint8_t)(x * i + y * 3 + (int)(noise(i, x / 9, y / 3) % 150));
        if (!dt_jpeg_encode(&image, 90, false, &jpeg, size, &error))
            jpeg = NULL;
    }
    dt_image_free(&image);
    return jpeg;
}

typedef struct plan {
    bool labels, captions;
    int unlabelled; /* every so manieth image; 0: none */
} plan;

/* Image i has i % 3 captions: its number in words first, then its class. */
static inline bool make_store(const char *path, plan p)
{
    dt_pairs_writer *writer = dt_pairs_create(path, true, &error);
    bool good = writer;
    for (int i = 0; good && i < IMAGES; i++) {
        char number[32];
        const char *captions[2] = {number, class_names[label_of(i)]};
        snprintf(number, sizeof number, "Number %c%c", 'A' + i, 'z' - i);
        int width, height;
        size_t size;
        uint8_t *jpeg = picture(i, &width, &height, &size);
        bool labelled = p.labels && !(p.unlabelled && i % p.unlabelled == 0);
        const dt_pair_input pair = {
            jpeg, size, width, height, labelled ? label_of(i) : -1, 1, captions, p.captions ? (size_t)i % 3 : 0, NULL};
        good = jpeg && dt_pairs_add(writer, &pair, &error);
        free(jpeg);
    }
    const char *source = "synthetic";
    if (good)
        return dt_pairs_finish(writer, p.labels ? class_names : NULL, p.labels ? CLASSES : 0, &source, 1, NULL, &error);
    dt_pairs_abort(writer);
    return false;
}

/* The same images as files; `bad`: one of them torn. */
static inline bool make_folder(const char *root, int bad)
{
    bool good = true;
    for (int i = 0; good && i < IMAGES; i++) {
        char path[700];
        snprintf(path, sizeof path, "%s/%s", root, class_names[label_of(i)]);
        for (char *c = path + strlen(root); *c; c++)
            *c = *c == ' ' ? '_' : *c;
        good = dt_make_directories(path, &error);
        snprintf(path + strlen(path), sizeof path - strlen(path), "/%02d.jpg", i);
        int width, height;
        size_t size;
        uint8_t *jpeg = picture(i, &width, &height, &size);
        good = good && jpeg && dt_file_write(path, jpeg, i == bad ? size / 3 : size, &error);
        free(jpeg);
        snprintf(path + strlen(path) - 4, 5, ".txt");
        char text[32];
        snprintf(text, sizeof text, "Number %c%c\n", 'A' + i, 'z' - i);
        if (i == 4)
            good = good && dt_file_write(path, text, strlen(text), &error);
    }
    return good;
}

static inline bool embed(const dt_dataset *data, int batch, int threads, float *rows)
{
    dt_encoder *encoder = dt_image_encoder_new(model, dt_cpu(), batch, &error);
    bool good = encoder && dt_dataset_embed(data, model, encoder, threads, rows, (dt_progress){0}, &error);
    dt_encoder_free(encoder);
    return good;
}

/* Prompts for four classes in another order, and what is known of three of them. */
static inline void put_attributes(void)
{
    put_text("attributes.json",
             "{\"classes\": [{\"name\": \"cow\", \"prompt\": \"one cow\", \"attributes\": {\"legs\": \"4\", "
             "\"milk\": \"yes\"}},"
             "{\"name\": \"ant\", \"prompt\": \"an ant\", \"attributes\": {\"legs\": \"6\", \"milk\": null}},"
             "{\"name\": \"bee fly\", \"prompt\": \"some bee\", \"attributes\": {\"legs\": \"6\"}},"
             "{\"name\": \"dog\", \"prompt\": \"a dog\", \"attributes\": {\"legs\": \"4\", \"milk\": "
             "\"rarely\"}}]}");
}

/* The model, and full.lmdb, which has labels and captions. */
static inline bool make_small_set(void)
{
    model = small_model(1);
    return model && make_store(in("full.lmdb"), (plan){true, true, 0});
}

#endif
