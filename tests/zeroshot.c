#include "eval/findings.h"
#include "eval/named_lists.h"
#include "eval/zeroshot.h"

#include "data/file.h"
#include "data/jpeg.h"
#include "data/json.h"
#include "data/pairs.h"
#include "eval/texts.h"
#include "tests/tap.h"

enum { IMAGES = 13, CLASSES = 3, DIM = 8, SIZE = 16 };

static dt_error error;
static dt_model *model;
static char dir[512];
static const char *const class_names[CLASSES] = {"ant", "bee fly", "cow"};

static const char description[] =
    "{\"embed_dim\": 8, \"vision_cfg\": {\"image_size\": 16, \"patch_size\": 8, \"width\": 16, \"layers\": "
    "1, \"heads\": 2},"
    " \"text_cfg\": {\"context_length\": 24, \"width\": 16, \"layers\": 1, \"heads\": 2}}";

static const char *in_dir(const char *name)
{
    static char paths[4][700];
    static int next;
    char *path = paths[next++ & 3];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

static bool failed_with(bool good, const char *part, const char *name)
{
    bool right = !good && strstr(error.message, part);
    if (!right)
        printf("# said: %s\n", good ? "(nothing)" : error.message);
    return ok(right, "%s", name);
}

static void write_text(const char *path, const char *text)
{
    if (!dt_file_write(path, text, strlen(text), &error))
        printf("Bail out! %s\n", error.message), exit(1);
}

/* A tokenizer.json of single bytes: in this alphabet each byte is a printable character (openai/CLIP,
 * bytes_to_unicode), alone and at the end of a word. */
static dt_tokenizer *byte_tokenizer(void)
{
    static char text[32768];
    int at = sprintf(
        text,
        "{\"model\": {\"type\": \"BPE\", \"end_of_word_suffix\": \"</w>\", \"merges\": [], \"vocab\": {");
    for (int ends = 0, id = 0; ends < 2; ends++)
        for (int byte = 0, extra = 0; byte < 256; byte++) {
            bool printable = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
            at += sprintf(text + at, "\"\\u%04x%s\": %d, ", printable ? byte : 256 + extra++,
                          ends ? "</w>" : "", id++);
        }
    at += sprintf(text + at, "\"<|startoftext|>\": 512, \"<|endoftext|>\": 513}}}");
    return dt_tokenizer_parse(text, (size_t)at, "bytes", &error);
}

static dt_model *small_model(uint64_t seed)
{
    json_t *json = dt_json_parse(description, strlen(description), "description", &error);
    dt_model *made = dt_model_new(json, byte_tokenizer(), seed, &error);
    json_decref(json);
    return made;
}

/* Noise: a multiplicative hash of three numbers. */
static uint32_t noise(int a, int b, int c)
{
    uint64_t x = (uint64_t)(a * 73856093 ^ b * 19349663 ^ c * 83492791) * 0x9E3779B97F4A7C15u;
    return (uint32_t)((x ^ x >> 29) * 0xBF58476D1CE4E5B9u >> 33);
}

/* Label of image i in the store; the folder has the same, class by class. Every fourth has none in the mixed
 * store. */
static int32_t label_of(int i)
{
    return (int32_t)(noise(9, i, 0) % CLASSES);
}

static uint8_t *picture(int i, int *width, int *height, size_t *size)
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
static bool make_store(const char *path, plan p)
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
        const dt_pair_input pair = {jpeg,
                                    size,
                                    width,
                                    height,
                                    labelled ? label_of(i) : -1,
                                    1,
                                    captions,
                                    p.captions ? (size_t)i % 3 : 0,
                                    NULL};
        good = jpeg && dt_pairs_add(writer, &pair, &error);
        free(jpeg);
    }
    const char *source = "synthetic";
    if (good)
        return dt_pairs_finish(writer, p.labels ? class_names : NULL, p.labels ? CLASSES : 0, &source, 1,
                               NULL, &error);
    dt_pairs_abort(writer);
    return false;
}

/* The same images as files; `bad`: one of them torn. */
static bool make_folder(const char *root, int bad)
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
            write_text(path, text);
    }
    return good;
}

static bool embed(const dt_dataset *data, int batch, int threads, float *rows)
{
    dt_encoder *encoder = dt_image_encoder_new(model, dt_cpu(), batch, &error);
    bool good = encoder && dt_dataset_embed(data, model, encoder, threads, rows, (dt_progress){0}, &error);
    dt_encoder_free(encoder);
    return good;
}

static void dataset_parts(void)
{
    dt_dataset *store = dt_dataset_open(in_dir("full.lmdb"), &error),
               *folder = dt_dataset_open(in_dir("folder"), &error);
    if (!ok(store && folder, "a store and a folder open"))
        return;
    ok(dt_dataset_count(store) == IMAGES && dt_dataset_count(folder) == IMAGES &&
           dt_dataset_class_count(folder) == CLASSES &&
           !strcmp(dt_dataset_class_name(folder, 1), "bee fly") && !dt_dataset_class_name(folder, CLASSES),
       "counts and class names; underscores read as spaces");
    float a[IMAGES * DIM], b[IMAGES * DIM], want[IMAGES * DIM];
    ok(embed(store, 4, 1, a) && embed(store, 5, 3, b), "the store embeds, in batches with a rest");
    near("threads and batches do not matter", a, b, IMAGES * DIM, 1e-6);
    ok(embed(folder, 4, 2, b), "the folder embeds");
    size_t at = 0;
    for (int32_t c = 0; c < CLASSES; c++) /* class by class there */
        for (int i = 0; i < IMAGES; i++)
            if (label_of(i) == c) {
                memcpy(want + at * DIM, a + i * DIM, DIM * sizeof *want);
                ok(dt_dataset_labels(folder)[at] == c && dt_dataset_labels(store)[i] == c,
                   "label of image %d", i);
                at++;
            }
    near("a folder as the store", b, want, IMAGES * DIM, 1e-6);
    double norm = 0;
    for (int d = 0; d < DIM; d++)
        norm += (double)a[d] * a[d];
    ok(fabs(norm - 1) < 1e-5, "rows of unit length");
    dt_captions all, first;
    ok(dt_dataset_captions(store, 0, &all, &error) && dt_dataset_captions(store, 1, &first, &error),
       "captions");
    ok(all.count == 12 && first.count == 8 && all.images[0] == 1 && all.images[1] == 2 &&
           all.images[2] == 2 && first.images[7] == 11 && !strcmp(all.texts[0], "Number By"),
       "captions in the order of their images");
    dt_captions_free(&all);
    dt_captions_free(&first);
    ok(dt_dataset_captions(folder, 0, &all, &error) && all.count == 1 && !strcmp(all.texts[0], "Number Ev"),
       "captions of a folder");
    dt_captions_free(&all);
    char text[64], cut[5];
    ok(dt_dataset_describe(store, 0, text, sizeof text, &error) && !strcmp(text, class_names[label_of(0)]) &&
           dt_dataset_describe(store, 1, text, sizeof text, &error) && !strcmp(text, "Number By") &&
           dt_dataset_describe(store, 1, cut, sizeof cut, &error) && !strcmp(cut, "Numb"),
       "descriptions");
    dt_dataset_close(store);
    dt_dataset_close(folder);
}

static void dataset_refused(void)
{
    dt_dataset *torn = dt_dataset_open(in_dir("torn"), &error);
    float rows[IMAGES * DIM];
    failed_with(torn && embed(torn, 4, 3, rows), "06.jpg", "a torn image is named");
    dt_dataset_close(torn);
    failed_with(dt_dataset_open(in_dir("nothing"), &error), "nothing", "no such data");
    failed_with(dt_dataset_open(in_dir("empty"), &error), "there are no images in",
                "a folder without images");
    failed_with(dt_dataset_open(in_dir("names.txt"), &error), "names.txt", "a file that is no store");
}

/* How many others lie nearer than `than` by more than `margin`, in double precision; a negative margin counts equals too. */
static size_t greater(const float *row, const float *others, size_t n, double than, double margin)
{
    size_t count = 0;
    for (size_t j = 0; j < n; j++) {
        double s = 0;
        for (int d = 0; d < DIM; d++)
            s += (double)row[d] * (double)others[j * DIM + (size_t)d];
        count += s > than + margin;
    }
    return count;
}

static double dot(const float *a, const float *b)
{
    double s = 0;
    for (int d = 0; d < DIM; d++)
        s += (double)a[d] * (double)b[d];
    return s;
}

static const dt_score *score_of(const dt_zeroshot_result *result, const char *key)
{
    static const dt_score none = {.value = -1};
    for (size_t i = 0; i < result->score_count; i++)
        if (!strcmp(result->scores[i].key, key))
            return &result->scores[i];
    return &none;
}

typedef struct counted {
    size_t n, top1, legs_right; /* images with a label; named right; with the right number of legs */
    size_t t2i, asked;          /* captions that find their image among five; images with captions */
    size_t i2t_least, i2t_most; /* images that find a caption among five: equal captions all before it, or none */
} counted;

/* What attributes.json says of the classes stands here once more. */
static counted count_plainly(int unlabelled, const float *images, const float *weights, const float *texts,
                             const dt_captions *captions)
{
    static const int class_of[CLASSES] = {1, 2, 0}, legs[4] = {4, 6, 6, 4};
    counted k = {0};
    for (int i = 0; i < IMAGES; i++) {
        double best = -2;
        for (size_t c = 0; c < captions->count; c++)
            if (captions->images[c] == i)
                best = fmax(best, dot(images + i * DIM, texts + c * DIM));
        k.asked += best > -2;
        k.i2t_most += best > -2 && greater(images + i * DIM, texts, captions->count, best, 1e-7) < 5;
        k.i2t_least += best > -2 && greater(images + i * DIM, texts, captions->count, best, -1e-7) <= 5; /* itself too */
        if (unlabelled && i % unlabelled == 0)
            continue;
        int truth = class_of[label_of(i)], predicted = 0;
        for (int c = 1; c < 4; c++)
            if (dot(images + i * DIM, weights + c * DIM) > dot(images + i * DIM, weights + predicted * DIM))
                predicted = c;
        k.n++;
        k.top1 += predicted == truth;
        k.legs_right += legs[predicted] == legs[truth];
    }
    for (size_t c = 0; c < captions->count; c++)
        k.t2i += greater(texts + c * DIM, images, IMAGES,
                         dot(texts + c * DIM, images + captions->images[c] * DIM), 1e-7) < 5;
    return k;
}

/* Top-k, attributes and retrieval against embeddings taken one by one. */
static void figures(const char *store, int unlabelled)
{
    dt_dataset *data = dt_dataset_open(store, &error);
    dt_classes *classes = dt_classes_load(in_dir("attributes.json"), &error);
    const dt_zeroshot_options options = {
        .data = data, .classes = classes, .retrieval = true, .name = "set", .batch = 3, .threads = 2};
    dt_zeroshot_result r = {0};
    if (!ok(data && classes && dt_zeroshot_run(model, &options, &r, &error), "%s evaluates", store)) {
        printf("# %s\n", error.message);
        return;
    }
    float images[IMAGES * DIM], weights[4 * DIM], texts[12 * DIM];
    static const char *const prompts[] = {"one cow", "an ant", "some bee", "a dog"};
    dt_encoder *encoder = dt_text_encoder_new(model, dt_cpu(), 1, &error);
    dt_captions captions = {0};
    ok(embed(data, 1, 1, images) && dt_encode_texts(model, encoder, prompts, 4, weights, &error) &&
           dt_dataset_captions(data, 0, &captions, &error) &&
           dt_encode_texts(model, encoder, captions.texts, captions.count, texts, &error),
       "%s one by one", store);
    const counted k = count_plainly(unlabelled, images, weights, texts, &captions);
    const size_t n = k.n;
    const dt_score *s = score_of(&r, "top1");
    ok(s->n == n && fabs(s->value - (double)k.top1 / (double)n) < 1e-12 && fabs(s->chance - 0.25) < 1e-12,
       "%s top-1 %g", store, s->value);
    ok(score_of(&r, "top5")->value < 0, "%s no top-5 of four classes", store);
    s = score_of(&r, "accuracy_legs");
    ok(s->n == n && fabs(s->value - (double)k.legs_right / (double)n) < 1e-12 && s->chance == 0.5,
       "%s legs %g", store, s->value);
    s = score_of(&r, "accuracy_milk"); /* known of two classes only */
    ok(s->n < n && s->chance == 0.5, "%s an attribute that not every class has", store);
    s = score_of(&r, "text_to_image_r5");
    ok(s->n == captions.count && fabs(s->value - (double)k.t2i / (double)s->n) < 1e-12 &&
           fabs(s->chance - 5.0 / IMAGES) < 1e-12,
       "%s text to image %g", store, s->value);
    s = score_of(&r, "image_to_text_r5");
    double found = s->value * (double)k.asked + 1e-9;
    ok(s->n == k.asked && found >= (double)k.i2t_least && found < (double)k.i2t_most + 1e-6, "%s image to text %g", store,
       s->value);
    ok(isnan(s->low) && isnan(score_of(&r, "top1")->low), "%s no intervals that nobody asked for", store);
    ok(score_of(&r, "text_to_image_median_rank")->value >= 1 && r.captions == captions.count &&
           r.labelled == n,
       "%s ranks and counts", store);
    dt_encoder_free(encoder);
    dt_captions_free(&captions);
    dt_zeroshot_free(&r);
    dt_classes_free(classes);
    dt_dataset_close(data);
}

/* Templates: the mean over them, and the default one. */
static void templates(void)
{
    static const char *const two[] = {"a photo of a {}.", "{} {}!"};
    dt_dataset *data = dt_dataset_open(in_dir("full.lmdb"), &error);
    dt_classes *classes = dt_classes_of(data, &error);
    float weights[CLASSES * DIM], each[2 * DIM], mean[CLASSES * DIM];
    dt_encoder *encoder = dt_text_encoder_new(model, dt_cpu(), 2, &error);
    ok(dt_classes_embed(classes, two, 2, model, encoder, weights, (dt_progress){0}, &error), "two templates");
    for (int c = 0; c < CLASSES; c++) {
        char first[64], second[64];
        snprintf(first, sizeof first, "a photo of a %s.", class_names[c]);
        snprintf(second, sizeof second, "%s %s!", class_names[c], class_names[c]);
        const char *prompts[] = {first, second};
        dt_encode_texts(model, encoder, prompts, 2, each, &error);
        double square = 0;
        for (int d = 0; d < DIM; d++)
            square += (each[d] + each[DIM + d]) * (each[d] + each[DIM + d]);
        for (int d = 0; d < DIM; d++)
            mean[c * DIM + d] = (each[d] + each[DIM + d]) / (float)sqrt(square);
    }
    near("the mean of two templates", weights, mean, CLASSES * DIM, 1e-5);
    dt_encoder_free(encoder);
    dt_classes_free(classes);
    char *text = dt_template_fill("{}{} and {", "x");
    ok(text && !strcmp(text, "xx and {"), "a template filled");
    free(text);
    ok(dt_template_check("a {}", &error), "a template");
    failed_with(dt_template_check("a photo", &error), "template 'a photo' has no {}",
                "a template without a place");
    const char *bad[] = {"a photo"};
    dt_zeroshot_options options = {.data = data, .templates = bad, .template_count = 1};
    dt_zeroshot_result r;
    failed_with(dt_zeroshot_run(model, &options, &r, &error), "has no {}", "a run with that template");
    options.templates = two;
    options.classes = dt_classes_load(in_dir("attributes.json"), &error);
    failed_with(dt_zeroshot_run(model, &options, &r, &error), "whole prompts",
                "a template for whole prompts");
    dt_classes_free((dt_classes *)options.classes);
    dt_dataset_close(data);
}

static void bad_class_files(void)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"{\"classes\": []}", "no class"},
        {"{\"names\": 3}", "expected a list"},
        {"{\"a\": [], \"b\": []}", "found several: a, b; write"},
        {"{\"classes\": [3]}", "classes[0]: expected an object"},
        {"{\"classes\": [{\"prompt\": 3}]}", "classes[0].prompt: expected a string"},
        {"{\"classes\": [{\"attributes\": {}}]}", "classes[0]: expected a name or a prompt"},
        {"{\"classes\": [{\"promt\": \"x\"}]}", "did you mean"},
        {"{\"classes\": [\"x\", {\"prompt\": \"y\"}]}", "classes[1]: expected no prompt"},
        {"{\"classes\": [{\"name\": \"x\", \"attributes\": {\"a\": 1}}]}",
         "attributes.a: expected a string or null"},
        {"{\"classes\": [\" \"]}", "classes[0]"},
        {"[\"x\"", "bad.json:1"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_text(in_dir("bad.json"), bad[i].text);
        failed_with(dt_classes_load(in_dir("bad.json"), &error), bad[i].message, bad[i].text);
    }
    failed_with(dt_classes_load("cat,dog,cat", &error), "'cat' stands there twice", "a name twice");
    write_text(in_dir("many.json"), "{\"pets\": [\"cat\", \"dog\", \"cow\"], \"cars\": [\"van\"]}");
    char named[512];
    snprintf(named, sizeof named, "%s#pets", in_dir("many.json"));
    dt_classes *pets = dt_classes_load(named, &error);
    ok(pets && pets->count == 3 && !strcmp(pets->names[2], "cow"), "one of several lists");
    dt_classes_free(pets);
    snprintf(named, sizeof named, "%s#boats", in_dir("many.json"));
    failed_with(dt_classes_load(named, &error), "has no list 'boats'; there are pets, cars", "a list that is not there");
    dt_texts templates;
    write_text(in_dir("templates.json"), "{\"pets\": [\"a photo of a {c}.\", \"{c}, {c}\"], \"cars\": []}");
    snprintf(named, sizeof named, "%s#pets", in_dir("templates.json"));
    ok(dt_templates_load(&templates, named, &error) && templates.count == 2 && !strcmp(templates.items[1], "{}, {}"),
       "templates with {c}");
    dt_texts_free(&templates);
    snprintf(named, sizeof named, "%s#cars", in_dir("templates.json"));
    failed_with(dt_templates_load(&templates, named, &error), "there is no template in it", "no templates");
    dt_texts_free(&templates);
    failed_with(dt_classes_load(in_dir("none.json"), &error), "No such file", "no such file of classes");
    failed_with(dt_classes_load("cat", &error), "no file 'cat'", "one word is taken for a file");
    write_text(in_dir("bad.txt"), "cat\n\n\xff\n");
    failed_with(dt_classes_load(in_dir("bad.txt"), &error), "bad.txt:3", "a name that is not UTF-8");
}

static void class_files(void)
{
    dt_classes *classes = dt_classes_load("cow, bee fly ,ant", &error);
    dt_dataset *data = dt_dataset_open(in_dir("full.lmdb"), &error);
    int32_t of[CLASSES];
    ok(classes && classes->count == 3 && !strcmp(classes->names[1], "bee fly") &&
           dt_classes_match(classes, data, of, &error) && of[0] == 2 && of[1] == 1 && of[2] == 0,
       "names with commas, matched by name");
    dt_classes_free(classes);
    classes = dt_classes_load(in_dir("names.txt"), &error);
    ok(classes && classes->count == 3 && dt_classes_match(classes, data, of, &error) && of[0] == 0 &&
           of[2] == 2,
       "other names, matched by position");
    dt_classes_free(classes);
    classes = dt_classes_load("cow,ant,bees", &error);
    failed_with(dt_classes_match(classes, data, of, &error), "'bee fly' is missing",
                "names in another order, one amiss");
    dt_classes_free(classes);
    classes = dt_classes_load("cow,ant", &error);
    failed_with(dt_classes_match(classes, data, of, &error), "2 classes", "too few classes");
    dt_classes_free(classes);
    dt_dataset_close(data);
    dt_texts texts;
    failed_with(dt_texts_split(&texts, "a\n\nb", "\n", false, "list", &error), "list:2",
                "a blank line where none may be");
    dt_texts_free(&texts);
    ok(dt_texts_split(&texts, "a b\r\n\n c", "\n", true, "list", &error) && texts.count == 2 &&
           !strcmp(texts.items[0], "a b") && !strcmp(texts.items[1], "c"),
       "lines");
    dt_texts_free(&texts);
}

/* Into an evaluation file that holds other figures already. */
static void merging(const json_t *json, double top1)
{
    write_text(in_dir("evaluation.json"),
               "{\"kept\": 1, \"figures\": [{\"name\": \"headline\", \"value\": 0.5}, "
               "{\"name\": \"set: top-1 accuracy\", \"value\": 9}]}");
    ok(dt_findings_merge(in_dir("evaluation.json"), json, &error) &&
           dt_findings_merge(in_dir("evaluation.json"), json, &error),
       "merged twice");
    json_t *merged = dt_json_load(in_dir("evaluation.json"), &error);
    const json_t *list = json_object_get(merged, "figures");
    ok(json_array_size(list) == 1 + json_array_size(json_object_get(json, "figures")) && json_array_size(json_object_get(merged, "galleries")) == 3 &&
           json_object_get(merged, "kept"),
       "nothing doubled, nothing lost");
    ok(json_number_value(json_object_get(json_array_get(list, 1), "value")) == top1,
       "a figure of the same name replaced in its place");
    json_decref(merged);
    write_text(in_dir("odd.json"), "{\"figures\": 3}");
    failed_with(dt_findings_merge(in_dir("odd.json"), json, &error), "figures: expected a list",
                "a file of another form");
    char *before = dt_file_read(in_dir("odd.json"), 100, NULL, &error);
    ok(before && !strcmp(before, "{\"figures\": 3}"), "which stays as it was");
    free(before);
    ok(dt_findings_merge(in_dir("fresh.json"), json, &error) && dt_file_exists(in_dir("fresh.json")),
       "a file made");
}

static void queries(void)
{
    dt_dataset *data = dt_dataset_open(in_dir("full.lmdb"), &error);
    static const char *const asked[] = {"number by", "COW", "something else"};
    dt_zeroshot_options options = {
        .data = data, .queries = asked, .query_count = 3, .top = 99, .name = "set"};
    dt_zeroshot_result r;
    if (!ok(dt_zeroshot_run(model, &options, &r, &error), "queries run"))
        return;
    ok(r.query_count == 3 && r.queries[0].count == IMAGES, "no more hits than there are images");
    bool sorted = true, marked = true;
    for (size_t q = 0; q < 3; q++)
        for (size_t i = 0; i < IMAGES; i++) {
            const dt_hit_found *h = &r.queries[q].hits[i];
            sorted &= !i || h->score <= h[-1].score;
            marked &= h->correct == (q == 0 ? h->index == 1 : q == 1 ? label_of((int)h->index) == 2 : -1);
        }
    ok(sorted, "best first");
    ok(marked, "what is right, and what cannot be known");
    json_t *json = dt_zeroshot_json(&r);
    const json_t *hit =
        json_array_get(json_object_get(json_array_get(json_object_get(json, "galleries"), 2), "hits"), 0);
    ok(json_is_null(json_object_get(hit, "correct")) && json_is_real(json_object_get(hit, "score")),
       "hits as JSON");
    merging(json, score_of(&r, "top1")->value);
    json_decref(json);
    dt_zeroshot_free(&r);
    static const char *const wrong[] = {"fine", "\xc3("};
    options.queries = wrong;
    options.query_count = 2;
    failed_with(dt_zeroshot_run(model, &options, &r, &error), "query 2: ", "a query that is not UTF-8");
    dt_dataset_close(data);
}

static void not_classified(void)
{
    dt_dataset *data = dt_dataset_open(in_dir("plain.lmdb"), &error);
    dt_zeroshot_options options = {.data = data};
    dt_zeroshot_result r;
    failed_with(dt_zeroshot_run(model, &options, &r, &error), "has no classes", "a store without classes");
    options.retrieval = true;
    ok(dt_zeroshot_run(model, &options, &r, &error) && r.classes == 0 && score_of(&r, "top1")->value < 0 &&
           score_of(&r, "text_to_image_r1")->value >= 0,
       "retrieval alone");
    dt_zeroshot_free(&r);
    options.classes = dt_classes_load("ant,bee", &error);
    failed_with(dt_zeroshot_run(model, &options, &r, &error), "has no classes",
                "classes for images without labels");
    dt_classes_free((dt_classes *)options.classes);
    dt_dataset_close(data);
    data = dt_dataset_open(in_dir("bare.lmdb"), &error);
    options.data = data;
    options.classes = NULL;
    failed_with(dt_zeroshot_run(model, &options, &r, &error), "has no captions",
                "retrieval without captions");
    dt_dataset_close(data);
}

/* A diverged model must not come out with good figures. */
static void diverged(void)
{
    dt_model *bad = small_model(2);
    float *values = dt_params_values(bad->params);
    for (size_t i = 0; i < dt_params_size(bad->params); i++)
        values[i] = NAN;
    dt_dataset *data = dt_dataset_open(in_dir("full.lmdb"), &error);
    const dt_zeroshot_options options = {.data = data};
    dt_zeroshot_result r;
    failed_with(dt_zeroshot_run(bad, &options, &r, &error), "diverged", "parameters that are not numbers");
    dt_dataset_close(data);
    dt_model_free(bad);
}

int main(void)
{
    snprintf(dir, sizeof dir, "%s", scratch());
    model = small_model(1);
    write_text(in_dir("names.txt"), "emmet\n bee-fly \r\n\nox\n");
    write_text(
        in_dir("attributes.json"),
        "{\"classes\": [{\"name\": \"cow\", \"prompt\": \"one cow\", \"attributes\": {\"legs\": \"4\", "
        "\"milk\": \"yes\"}},"
        "{\"name\": \"ant\", \"prompt\": \"an ant\", \"attributes\": {\"legs\": \"6\", \"milk\": null}},"
        "{\"name\": \"bee fly\", \"prompt\": \"some bee\", \"attributes\": {\"legs\": \"6\"}},"
        "{\"name\": \"dog\", \"prompt\": \"a dog\", \"attributes\": {\"legs\": \"4\", \"milk\": "
        "\"rarely\"}}]}");
    if (!ok(model && dt_make_directories(in_dir("empty"), &error) &&
                make_store(in_dir("full.lmdb"), (plan){true, true, 0}) &&
                make_store(in_dir("mixed.lmdb"), (plan){true, true, 4}) &&
                make_store(in_dir("plain.lmdb"), (plan){false, true, 0}) &&
                make_store(in_dir("bare.lmdb"), (plan){true, false, 1}) &&
                make_folder(in_dir("folder"), -1) && make_folder(in_dir("torn"), 6),
            "a model, four stores and two folders")) {
        printf("# %s\n", error.message);
        return done();
    }
    dataset_parts();
    dataset_refused();
    figures(in_dir("full.lmdb"), 0);
    figures(in_dir("mixed.lmdb"), 4);
    templates();
    class_files();
    bad_class_files();
    queries();
    not_classified();
    diverged();
    dt_model_free(model);
    char command[700];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command) | done();
}
