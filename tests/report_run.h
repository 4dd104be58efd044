/* A run with everything that a report can show, and what looks into reports: for the tests of reports. */
#ifndef DUET_TESTS_REPORT_RUN_H
#define DUET_TESTS_REPORT_RUN_H

#include <math.h>

#include "data/file.h"
#include "data/jpeg.h"
#include "data/json.h"
#include "data/pairs.h"
#include "tests/tap.h"

enum { RUN_CLASSES = 10, RUN_PAIRS = 40, RUN_BYTES_MOST = 64 << 20 };

static const char run_hostile[] = "</p><script>alert('1')</script>\" onload=\"x&y";

static const char *const run_classes[RUN_CLASSES] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                                     "dog",      "frog",       "horse", "ship", "truck"};

/* 0 .. 1, the same in every run of the test. */
static inline double run_random(void)
{
    static uint32_t state = 12345;
    state = state * 1664525 + 1013904223;
    return (state >> 8) / 16777216.0;
}

static inline double run_normal(void)
{
    double u = run_random() + 1e-9, v = run_random();
    return sqrt(-2 * log(u)) * cos(6.283185307 * v);
}

/* ---- a store ---- */

static inline bool run_add_picture(dt_pairs_writer *writer, int i, int side, dt_error *error)
{
    uint8_t *pixels = malloc((size_t)side * (size_t)side * 3), *jpeg = NULL;
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++)
            for (int c = 0; c < 3; c++)
                pixels[(y * side + x) * 3 + c] =
                    (uint8_t)(128 + 100 * sin((i % 10 + 1) * 0.7 * (x + c * 5) / side * 3 + y * 0.01 * i));
    dt_image image = dt_image_borrow(pixels, side, side, 3);
    size_t size = 0;
    const char *caption = i == 1 ? run_hostile : run_classes[i % RUN_CLASSES];
    bool good = dt_jpeg_encode(&image, 85, true, &jpeg, &size, error) &&
                dt_pairs_add(writer,
                             &(dt_pair_input){.jpeg = jpeg,
                                              .jpeg_size = size,
                                              .width = side,
                                              .height = side,
                                              .label = i % RUN_CLASSES,
                                              .weight = 1,
                                              .captions = &caption,
                                              .caption_count = 1},
                             error);
    free(pixels);
    free(jpeg);
    return good;
}

/* Every seventh picture is larger than a thumbnail. */
static inline bool run_store(const char *path, dt_error *error)
{
    dt_pairs_writer *writer = dt_pairs_create(path, true, error);
    bool good = writer;
    for (int i = 0; good && i < RUN_PAIRS; i++)
        good = run_add_picture(writer, i, i % 7 ? 32 : 150, error);
    return good && dt_pairs_finish(writer, run_classes, RUN_CLASSES, NULL, 0, NULL, error);
}

/* ---- findings ---- */

static inline json_t *run_names(size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, count <= RUN_CLASSES ? json_string(run_classes[i])
                                                         : json_sprintf("class number %zu", i));
    return list;
}

static inline json_t *run_confusion(const char *name, size_t classes, const char *store)
{
    json_t *counts = json_array(), *worst = json_array();
    for (size_t i = 0; i < classes; i++) {
        json_t *row = json_array();
        for (size_t j = 0; j < classes; j++) {
            double near = exp(-fabs((double)i - (double)j));
            json_array_append_new(row, json_integer(i == j ? 800 + (int)(150 * run_random())
                                                           : (int)(90 * near * run_random() * run_random())));
        }
        json_array_append_new(counts, row);
    }
    for (int i = 0; i < 6; i++)
        json_array_append_new(worst, json_pack("{s:i,s:i,s:i,s:i,s:[iiiii]}", "true", i, "predicted", i + 1,
                                               "count", 71 - 9 * i, "of", 1000, "examples", i, i + 7, i + 10,
                                               i + 20, i + 30));
    return json_pack("{s:s,s:s,s:i,s:o,s:o,s:o}", "name", name, "store", store, "n", 10000, "classes",
                     run_names(classes), "counts", counts, "worst", worst);
}

static inline json_t *run_reliability(const char *name, double lean)
{
    json_t *bins = json_array();
    for (int i = 0; i < 15; i++) {
        double low = i / 15.0, high = (i + 1) / 15.0, sure = (low + high) / 2;
        int count = i < 2 ? 0 : (int)(40 * exp(0.35 * i));
        json_t *bin = json_pack("{s:f,s:f,s:i}", "low", low, "high", high, "count", count);
        if (count) {
            json_object_set_new(bin, "confidence", json_real(sure));
            json_object_set_new(bin, "accuracy", json_real(fmin(1, fmax(0, sure + lean * sin(3.14 * sure)))));
        }
        json_array_append_new(bins, bin);
    }
    return json_pack("{s:s,s:i,s:f,s:o}", "name", name, "n", 10000, "ece", fabs(lean) * 0.6, "bins", bins);
}

static inline json_t *run_table(const char *name, size_t classes)
{
    json_t *rows = json_array(), *names = run_names(classes);
    for (size_t i = 0; i < classes; i++)
        json_array_append_new(rows, json_pack("[s,f,f,f,i]", json_string_value(json_array_get(names, i)),
                                              0.8 + 0.15 * run_random(), 0.75 + 0.2 * run_random(),
                                              0.8 + 0.1 * run_random(), 1000 + (int)i));
    json_array_append_new(rows, json_pack("[s,f,f,f,i]", "macro mean", 0.871, 0.869, 0.87, 10000));
    json_array_append_new(rows, json_pack("[s,f,f,f,n]", "weighted mean", 0.872, 0.87, 0.871));
    json_decref(names);
    return json_pack("{s:s,s:i,s:[sssss],s:o}", "name", name, "n", 10000, "columns", "class", "precision",
                     "recall", "F1", "n", "rows", rows);
}

static inline json_t *run_curve(const char *name, const char *x, bool wide, double from, double factor,
                                int points, bool intervals)
{
    static const char *const sets[] = {"CIFAR-10 test", "CIFAR-10.1",
                                       "zero-shot on the other data set, whose name is long"};
    json_t *series = json_array();
    for (int s = 0; s < 3; s++) {
        json_t *list = json_array();
        for (int i = 0; i < points; i++) {
            double at = wide ? from * pow(factor, i) : from + factor * i, t = (double)i / (points - 1);
            double y = s == 2 ? 0.8 - 0.3 * t * t : 0.62 + 0.2 * s + (0.25 - 0.15 * s) * sqrt(t);
            json_array_append_new(
                list, intervals ? json_pack("[f,f,f,f]", at, y, y - 0.04 * (1.1 - t), y + 0.03 * (1.1 - t))
                                : json_pack("[f,f]", at, y));
        }
        json_array_append_new(series,
                              json_pack("{s:s,s:i,s:o}", "name", sets[s], "n", 10000 >> s, "points", list));
    }
    return json_pack("{s:s,s:s,s:s,s:b,s:o}", "name", name, "x", x, "y", "accuracy", "wide", wide, "series",
                     series);
}

static inline json_t *run_map(const char *name, const char *store, size_t classes, int images)
{
    json_t *points = json_array(), *names = run_names(classes);
    for (int i = 0; i < 2 * images; i++) {
        int label = i % (int)classes, text = i >= images;
        double angle = 6.28 * label / (double)classes;
        double x = (text ? 0.3 : -0.3) + 0.16 * cos(angle) + 0.035 * run_normal();
        double y = 0.2 * sin(angle) + (text ? 0.02 : 0.045) * run_normal();
        json_t *point =
            json_pack("{s:f,s:f,s:s,s:i}", "x", x, "y", y, "kind", text ? "text" : "image", "label", label);
        if (text)
            json_object_set_new(point, "text",
                                json_sprintf("a photo of a %s.%s",
                                             json_string_value(json_array_get(names, (size_t)label)),
                                             i % 50 ? "" : run_hostile));
        else
            json_object_set_new(point, "index", json_integer(i % RUN_PAIRS));
        json_array_append_new(points, point);
    }
    return json_pack("{s:s,s:s,s:i,s:f,s:f,s:[ff],s:o,s:o}", "name", name, "store", store, "n", images, "gap",
                     0.612, "cosine", 0.271, "explained", 0.22, 0.11, "classes", names, "points", points);
}

static inline json_t *run_galleries(const char *store)
{
    json_t *list = json_array();
    for (int g = 0; g < 3; g++) {
        json_t *hits = json_array();
        for (int i = 0; i < 6; i++)
            json_array_append_new(hits, json_pack("{s:i,s:f,s:b}", "index", (g + i * 10) % RUN_PAIRS, "score",
                                                  0.9 - 0.05 * i, "correct", i < 3));
        json_t *gallery = json_pack("{s:s,s:s,s:o}", "query",
                                    g == 0   ? "an airplane"
                                    : g == 1 ? "picture 12 of the test set"
                                             : "query.jpg",
                                    "store", store, "hits", hits);
        if (g == 1)
            json_object_set_new(gallery, "image", json_pack("{s:s,s:i}", "store", store, "index", 12));
        if (g == 2)
            json_object_set_new(gallery, "image_file", json_string("query.jpg"));
        json_array_append_new(list, gallery);
    }
    return list;
}

static inline json_t *run_figures(double plus)
{
    return json_pack("[{s:s,s:f,s:i,s:f,s:f,s:f,s:s},{s:s,s:f,s:i,s:f,s:f,s:f},{s:s,s:f,s:i,s:f},{s:s,s:s,s:"
                     "f,s:i,s:f,s:f},"
                     "{s:s,s:f,s:i,s:b}]",
                     "name", "CIFAR-10 test: accuracy of the linear probe", "value", 0.86 + plus, "n", 10000,
                     "chance", 0.1, "low", 0.853 + plus, "high", 0.867 + plus, "note", "among 10 classes",
                     "name", "CIFAR-10 test: zero-shot accuracy", "value", 0.714 - plus, "n", 10000, "chance",
                     0.1, "low", 0.705 - plus, "high", 0.723 - plus, "name", "text finds its picture, R@1",
                     "value", 0.31 + plus, "n", 1000, "chance", 0.001, "name",
                     "CIFAR-10 test: calibration error", "key", "ece", "value", 0.021 + plus, "n", 10000,
                     "low", 0.018 + plus, "high", 0.026 + plus, "name", "median rank", "value", 4.0, "n",
                     1000, "rank", 1);
}

static inline json_t *run_findings(double plus)
{
    const char *store = "pairs.lmdb";
    json_t *curves = json_array(), *all = json_object();
    json_array_append_new(curves, run_curve("Weight interpolation", "share of the fine-tuned weights", false,
                                            0, 0.1, 11, false));
    json_array_append_new(curves, run_curve("Few-shot probe", "images a class", true, 1, 2, 5, true));
    json_array_append_new(curves, run_curve("Regulariser", "C of the probe", true, 1e-4, 3.1623, 13, false));
    json_object_set_new(all, "figures", run_figures(plus));
    json_object_set_new(all, "galleries", run_galleries(store));
    json_object_set_new(all, "confusions",
                        json_pack("[o,o,o]", run_confusion("CIFAR-10 test, probe", RUN_CLASSES, store),
                                  run_confusion("thirty classes", 30, "photos/"),
                                  run_confusion("the most classes", 128, store)));
    json_object_set_new(all, "reliability",
                        json_pack("[o,o]", run_reliability("CIFAR-10 test, probe", 0.04),
                                  run_reliability("CIFAR-10 test, zero-shot", -0.14)));
    json_object_set_new(all, "tables",
                        json_pack("[o,o]", run_table("CIFAR-10 test, probe, by class", RUN_CLASSES),
                                  run_table("the most classes", 128)));
    json_object_set_new(all, "curves", curves);
    json_object_set_new(all, "maps",
                        json_pack("[o,o,o]", run_map("CIFAR-10 test", store, RUN_CLASSES, 300),
                                  run_map("many classes", store, 40, 2500),
                                  run_map("few texts", store, RUN_CLASSES, 20)));
    return all;
}

/* ---- the rest of the run ---- */

static inline bool run_log(const char *path, double speed, dt_error *error)
{
    dt_writer *w = dt_writer_open(path, error);
    for (int step = 1; w && step <= 900; step++) {
        double t = step / 900.0, loss = 0.3 + 2 * exp(-speed * t) + 0.08 * sin(7.0 * step);
        dt_writer_printf(
            w,
            "{\"step\": %d, \"loss\": %.6g, \"accuracy\": %.6g, \"lr\": %.6g, \"images_per_second\": %d}\n",
            step, loss, fmin(1, 0.95 - 0.8 * exp(-speed * t) + 0.02 * sin(5.0 * step)),
            1e-3 * fmin(1, step / 50.0) * (1 - t), 900 + step % 17);
        if (step % 100 == 0)
            dt_writer_printf(
                w, "{\"step\": %d, \"event\": \"validation\", \"accuracy\": %.6g, \"loss\": %.6g}\n", step,
                0.9 - 0.5 * exp(-speed * t), 0.4 + exp(-speed * t));
    }
    return w && dt_writer_commit(w, error);
}

static inline bool run_write_json(const char *folder, const char *name, json_t *value)
{
    char *path = dt_join(folder, name);
    dt_error error = {""};
    bool good = value && dt_json_write(path, value, &error);
    if (!good)
        printf("# %s: %s\n", path, error.message);
    free(path);
    json_decref(value);
    return good;
}

static inline bool run_query_file(const char *folder, dt_error *error)
{
    char *store = dt_join(folder, "pairs.lmdb"), *path = dt_join(folder, "query.jpg");
    dt_pairs *pairs = dt_pairs_open(store, error);
    dt_pair pair;
    bool good = pairs && dt_pairs_get(pairs, 7, &pair, error) &&
                dt_file_write(path, pair.jpeg, pair.jpeg_size, error);
    dt_pairs_close(pairs);
    free(store);
    free(path);
    return good;
}

/* `plus` is added to some figures, and `speed` is how fast the loss falls: so that two runs differ. */
static inline bool run_make(const char *folder, const char *name, double plus, double speed, dt_error *error)
{
    char *log = dt_join(folder, "log.jsonl"), *store = dt_join(folder, "pairs.lmdb");
    bool good = dt_make_directories(folder, error) && run_log(log, speed, error) && run_store(store, error) &&
                run_query_file(folder, error);
    free(log);
    free(store);
    json_t *config = json_pack("{s:s,s:[sss],s:{s:s,s:i},s:{s:f},s:i,s:i}", "name", name, "command", "duet",
                               "finetune", "a.json", "model", "preset", "ViT-mini-64px", "width", 192,
                               "optimizer", "lr", speed / 1e4, "batch_size", 128, "seed", (int)(speed * 10));
    return good && run_write_json(folder, "config.json", config) &&
           run_write_json(folder, "evaluation.json", run_findings(plus));
}

/* ---- looking ---- */

static inline char *run_page(const char *folder, const char *name, size_t *size)
{
    char *path = dt_join(folder, name), *text = dt_file_read(path, RUN_BYTES_MOST, size, NULL);
    free(path);
    return text ? text : strdup("");
}

static inline int times(const char *text, const char *part)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
        count++;
    return count;
}

static inline bool holds(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

/* Two runs in a folder, as first and as "second & <b>". */
static inline bool run_pair(const char *base, dt_error *error)
{
    char *first = dt_join(base, "first"), *second = dt_join(base, "second & <b>");
    bool good =
        run_make(first, "First run", 0, 6, error) && run_make(second, "Second run", 0.013, 3, error);
    free(first);
    free(second);
    return good;
}

/* The findings whose only list is `list` with the one item. */
static inline void run_write_item(const char *folder, const char *list, const char *item)
{
    char *path = dt_join(folder, "evaluation.json");
    dt_writer *w = dt_writer_open(path, NULL);
    dt_writer_printf(w, "{\"%s\": [%s]}", list, item);
    dt_writer_commit(w, NULL);
    free(path);
}

#endif
