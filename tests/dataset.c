/* Data sets for evaluation: a store and a folder of the same pictures are the same, and what is none is refused. */
#include "tests/small_set.h"

static void dataset_parts(void)
{
    dt_dataset *store = dt_dataset_open(in("full.lmdb"), &error), *folder = dt_dataset_open(in("folder"), &error);
    if (!ok(store && folder, "a store and a folder open"))
        return;
    ok(dt_dataset_count(store) == IMAGES && dt_dataset_count(folder) == IMAGES && dt_dataset_class_count(folder) == CLASSES &&
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
                ok(dt_dataset_labels(folder)[at] == c && dt_dataset_labels(store)[i] == c, "label of image %d", i);
                at++;
            }
    near("a folder as the store", b, want, IMAGES * DIM, 1e-6);
    double norm = 0;
    for (int d = 0; d < DIM; d++)
        norm += (double)a[d] * a[d];
    ok(fabs(norm - 1) < 1e-5, "rows of unit length");
    dt_captions all, first;
    ok(dt_dataset_captions(store, 0, &all, &error) && dt_dataset_captions(store, 1, &first, &error), "captions");
    ok(all.count == 12 && first.count == 8 && all.images[0] == 1 && all.images[1] == 2 && all.images[2] == 2 &&
           first.images[7] == 11 && !strcmp(all.texts[0], "Number By"),
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
    dt_dataset *torn = dt_dataset_open(in("torn"), &error);
    float rows[IMAGES * DIM];
    failed_with(torn && embed(torn, 4, 3, rows), "06.jpg", "a torn image is named");
    dt_dataset_close(torn);
    failed_with(dt_dataset_open(in("nothing"), &error), "nothing", "no such data");
    failed_with(dt_dataset_open(in("empty"), &error), "there are no images in", "a folder without images");
    failed_with(dt_dataset_open(in("names.txt"), &error), "names.txt", "a file that is no store");
}

int main(void)
{
    put_text("names.txt", "emmet\n bee-fly \r\n\nox\n");
    if (ok(make_small_set() && make_folder(in("folder"), -1) && make_folder(in("torn"), 6) &&
               dt_make_directories(in("empty"), &error),
           "a model, a store and folders")) {
        dataset_parts();
        dataset_refused();
    } else {
        printf("# %s\n", error.message);
    }
    dt_model_free(model);
    return done();
}
