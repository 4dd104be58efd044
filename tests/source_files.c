/* Packing files that hold many pictures each: tars of class folders, WebDataset shards, IDX and CIFAR files. */
#include "tests/make_tar.h"
#include "tests/packing.h"

static struct archive tar;
static uint8_t *jpegs[4];
static size_t jpeg_sizes[4];

static void add_image(const char *name, int number)
{
    tar_add(&tar, name, '0', jpegs[number], jpeg_sizes[number]);
}

static void add_text(const char *name, const char *text)
{
    tar_add(&tar, name, '0', text, strlen(text));
}

static void class_tars(void)
{
    struct outcome o;
    tar.size = 0;
    add_image("train/sea_lion/0.jpg", 0);
    add_image("train/ape/1.jpg", 1);
    add_text("train/ape/README", "x");
    tar_add(&tar, "train/ape/2.jpg", '0', jpegs[2], jpeg_sizes[2] - 9);
    add_image("train/ape/1.jpg", 3);
    add_image("train/sea_lion/3.jpg", 3);
    tar_end(&tar);
    put("c.tar", tar.bytes, tar.size);
    put("cut.tar", tar.bytes, 2100);
    const char *paths[] = {in("c.tar"), in("cut.tar")};
    ok(pack(&o, "auto", paths, 2, NULL, plain) && counts(&o, 5, 3), "tars of class folders, one of them cut");
    ok(pair_is(&o, 0, "8x9 1 1 a photo of a sea lion.") && pair_is(&o, 1, "9x9 0 1 a photo of a ape.") &&
           pair_is(&o, 2, "11x9 1 1 a photo of a sea lion."),
       "their pairs");
    ok(skipped(&o, "2.jpg: ") && skipped(&o, "1.jpg: the archive has this name twice") && skipped(&o, "cut.tar: ") &&
           skipped(&o, "truncated"),
       "what was left out");
    dt_pairs_close(o.pairs);
}

static void webdataset(void)
{
    struct outcome o;
    tar.size = 0;
    add_text("./b.cls", "2\n");
    add_image("./b.jpg", 0);
    add_text("./b.txt", " a caption\n");
    add_text("./c.d.png", "x");
    add_image("./a.jpg", 1);
    static const char json[] = "{\"caption\": \"in JSON\", \"label\": 1, \"weight\": 0.5, \"extra\": {\"k\": [1]}}";
    add_text("./a.json", json);
    add_image("./e.jpg", 2);
    tar_add(&tar, "./e.txt", '0', "nul\0nul", 7);
    add_text("./f.txt", "no image");
    add_image("./g.jpg", 2);
    add_image("./g.jpeg", 2);
    add_image("./h.jpg", 2);
    add_text("./h.cls", "dog");
    add_image("./i.jpg", 2);
    add_text("./i.json", "{");
    add_image("./b.jpg", 3);
    add_image("./j.jpg", 3);
    add_text("./j.cls", "99999999999");
    add_image("./k.jpg", 3);
    add_text("./k.txt", "last");
    tar_end(&tar);
    put("w.tar", tar.bytes, tar.size);
    ok(pack(&o, "auto", (const char *[]){in("w.tar")}, 1, NULL, plain) && counts(&o, 3, 7), "a WebDataset shard");
    ok(pair_is(&o, 0, "8x9 2 1 a caption") && pair_is(&o, 1, "9x9 1 0.5 in JSON {\"k\": [1]}") &&
           pair_is(&o, 2, "11x9 -1 1 last") && dt_pairs_class_count(o.pairs) == 3,
       "its pairs");
    ok(skipped(&o, "e: the text holds a NUL") && skipped(&o, "f: there is no image") && skipped(&o, "g: it has two images") &&
           skipped(&o, "h: class 'dog'") && skipped(&o, "i: ") && skipped(&o, "b: the archive has this key twice") &&
           skipped(&o, "j: class '99999999999'"),
       "what was left out");
    dt_pairs_close(o.pairs);
    put("w.tar", tar.bytes, tar.size - 1024 - 512 - 10);
    ok(pack(&o, "webdataset", (const char *[]){in("w.tar")}, 1, NULL, plain) && o.summary.packed == 2 && skipped(&o, "w.tar: "),
       "a pair that the end of the file cuts into is given up");
    dt_pairs_close(o.pairs);
}

static void idx(void)
{
    struct outcome o;
    uint8_t images[16 + 3 * 6] = {0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 3},
                            labels[11] = {0, 0, 8, 1, 0, 0, 0, 3, 1, 0, 4};
    for (int i = 16; i < 34; i++)
        images[i] = (uint8_t)(i * 7);
    put("x-images-idx3-ubyte", images, sizeof images);
    put("x-labels-idx1-ubyte", labels, sizeof labels);
    const char *both[] = {in("x-labels-idx1-ubyte"), in("x-images-idx3-ubyte")}, **path = &both[1];
    ok(pack(&o, "auto", path, 1, NULL, plain) && pair_is(&o, 0, "3x2 1 1 a photo of a 1.") &&
           pair_is(&o, 2, "3x2 4 1 a photo of a 4.") && dt_pairs_class_count(o.pairs) == 5,
       "IDX, its labels found beside it");
    dt_pairs_close(o.pairs);
    ok(pack(&o, "auto", both, 2, NULL, plain) && o.summary.packed == 3, "IDX, both files named");
    dt_pairs_close(o.pairs);
    static const struct {
        size_t at;
        uint8_t value;
        const char *says;
    } lies[] = {{7, 4, "says it has 4 images"}, {4, 0xff, "says it has"}, {11, 0, "0 pixels"}, {8, 0xff, "pixels"},
                {15, 200, "says it has 3"},     {3, 4, "starts with"}};
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        uint8_t lie[sizeof images];
        memcpy(lie, images, sizeof lie);
        lie[lies[i].at] = lies[i].value;
        put("x-images-idx3-ubyte", lie, sizeof lie);
        ok(!pack(&o, "idx", path, 1, NULL, plain) && says(error.message, lies[i].says), "IDX with a lie at byte %zu",
           lies[i].at);
    }
    put("x-images-idx3-ubyte", images, sizeof images - 1);
    ok(!pack(&o, "idx", path, 1, NULL, plain) && says(error.message, "says it has 3"), "IDX cut");
    put("x-images-idx3-ubyte", images, sizeof images);
    labels[7] = 2;
    put("x-labels-idx1-ubyte", labels, sizeof labels);
    ok(!pack(&o, "idx", path, 1, NULL, plain) && says(error.message, "2 labels, but 3"), "labels with a lying count");
    put("x-labels-idx1-ubyte", labels, sizeof labels - 1);
    ok(!pack(&o, "idx", path, 1, NULL, plain) && says(error.message, "2 labels, but"), "fewer labels than images");
    unlink(both[0]);
    ok(!pack(&o, "idx", path, 1, NULL, plain) && says(error.message, "name both"), "no labels");
    put("bad.gz", "\x1f\x8b\x08\0\0\0\0\0\0\3garbage!", 18);
    ok(!pack(&o, "idx", (const char *[]){in("bad.gz")}, 1, NULL, plain) && says(error.message, "cannot inflate"),
       "a bad gzip file");
}

static void cifar(void)
{
    struct outcome o;
    static uint8_t ten[2 * 3073], hundred[2 * 3074];
    ten[0] = 9, ten[3073] = 1, hundred[0] = 19, hundred[1] = 99, hundred[3074] = 3;
    for (int i = 0; i < 1024; i++)
        ten[1 + i] = 255; /* red */
    put("ten.bin", ten, sizeof ten);
    put("hundred.bin", hundred, sizeof hundred);
    const char *path = in("ten.bin"), *both[] = {in("ten.bin"), in("hundred.bin")};
    ok(pack(&o, "auto", &path, 1, NULL, plain) && pair_is(&o, 0, "32x32 9 1 a photo of a truck."), "CIFAR-10");
    dt_pair pair;
    dt_image image = {0};
    ok(o.pairs && dt_pairs_get(o.pairs, 0, &pair, NULL) && dt_image_decode(pair.jpeg, pair.jpeg_size, &image, &error) &&
           image.pixels[0] > 250 && image.pixels[1] < 5 && image.pixels[2] < 5,
       "its planes are red, green, blue");
    dt_image_free(&image);
    dt_pairs_close(o.pairs);
    path = both[1];
    ok(pack(&o, "cifar", &path, 1, NULL, plain) && pair_is(&o, 0, "32x32 99 1 a photo of a 99.") &&
           dt_pairs_class_count(o.pairs) == 100,
       "CIFAR-100");
    dt_pairs_close(o.pairs);
    ok(!pack(&o, "cifar", both, 2, NULL, plain) && says(error.message, "CIFAR-100, but the files before"), "not both at once");
    put("ten.bin", ten, sizeof ten - 1);
    path = both[0];
    ok(!pack(&o, "cifar", &path, 1, NULL, plain) && says(error.message, "not a CIFAR file"), "a file that is cut");
    ten[0] = 10;
    put("ten.bin", ten, sizeof ten);
    ok(!pack(&o, "cifar", &path, 1, NULL, plain) && says(error.message, "not a CIFAR file"), "a label beyond the last");
}

int main(void)
{
    for (int i = 0; i < 4; i++)
        jpeg_sizes[i] = make_jpeg(i, 8 + i, 9, &jpegs[i]);
    class_tars();
    webdataset();
    idx();
    cifar();
    for (int i = 0; i < 4; i++)
        free(jpegs[i]);
    return done();
}
