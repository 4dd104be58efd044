/* Packing folders and tables of pictures, and what holds for every source: refusals, lies, threads. */
#include "data/source.h"

#include <sys/stat.h>

#include "data/file.h"
#include "tests/packing.h"

static void folders(void)
{
    struct outcome o;
    const char *path = in("classes"), *empty = in("nothing");
    uint8_t *jpeg;
    mkdir(empty, 0755);
    ok(!pack(&o, "auto", &empty, 1, NULL, plain) && says(error.message, "no images"), "an empty folder");
    mkdir(path, 0755), mkdir(in("classes/ice_cream"), 0755), mkdir(in("classes/.git"), 0755);
    mkdir(in("classes/apple"), 0755), mkdir(in("classes/apple/deep"), 0755);
    put_jpeg("classes/apple/2.JPG", 2), put_jpeg("classes/apple/10.jpeg", 1);
    put_jpeg("classes/apple/deep/3.jpg", 3), put_jpeg("classes/ice_cream/4.jpg", 4);
    put_jpeg("classes/ice_cream/5.jpg", 5), put_jpeg("classes/root.jpg", 6);
    put_jpeg("classes/.git/hidden.jpg", 7);
    put_text("classes/ice_cream/5.txt", " first one \r\n\nsecond");
    put_text("classes/apple/notes.txt", "not an image");
    size_t size = make_jpeg(1, 32, 32, &jpeg);
    put("classes/apple/torn.jpg", jpeg, size / 2);
    put("classes/apple/soup.jpg", "\xff\xd8\xff\xe0nonsense", 12);
    put("classes/apple/void.jpg", "", 0);
    put("classes/apple/x.webp", "RIFF\0\0\0\0WEBPVP8 ", 16);
    mkdir(in("classes/apple/folder.png"), 0755);
    free(jpeg);
    ok(pack(&o, "auto", &path, 1, NULL, plain), "a folder of class folders is packed");
    ok(counts(&o, 5, 6), "5 packed, 6 left out");
    ok(skipped(&o, "root.jpg: there is neither a caption nor a class") && skipped(&o, "torn.jpg: ") &&
           skipped(&o, "soup.jpg: ") && skipped(&o, "found an empty file") && skipped(&o, "found a WebP") &&
           skipped(&o, "folder.png: "),
       "each with its reason");
    ok(pair_is(&o, 0, "9x9 0 1 a photo of a apple.") && pair_is(&o, 1, "10x9 0 1 a photo of a apple.") &&
           pair_is(&o, 2, "11x9 0 1 a photo of a apple.") && pair_is(&o, 3, "12x9 1 1 a photo of a ice cream.") &&
           pair_is(&o, 4, "13x9 1 1 first one|second"),
       "sorted, with captions from the class or a text file");
    dt_pairs_close(o.pairs);
    static const char *const templates[] = {"a {}", "{}, {}"}, *const names[] = {"Apfel", "Eis"};
    ok(pack(&o, "folder", &path, 1, NULL,
            (dt_pack_options){.templates = templates,
                              .template_count = 2,
                              .class_names = names,
                              .class_count = 2,
                              .bare = true,
                              .limit = 2}) &&
           o.summary.packed == 2 && pair_is(&o, 0, "14x9 -1 1 ") && pair_is(&o, 1, "9x9 0 1 a Apfel|Apfel, {}"),
       "templates, other class names, bare images, a limit");
    dt_pairs_close(o.pairs);
    ok(!pack(&o, "folder", &path, 1, NULL, (dt_pack_options){.strict = true}) && says(error.message, "root.jpg: there is nei"),
       "strict: the first bad one is an error");
    ok(!pack(&o, "folder", &path, 1, NULL, (dt_pack_options){.class_names = names, .class_count = 1}) &&
           says(error.message, "label 1"),
       "too few class names");
}

static void csv_table(void)
{
    struct outcome o;
    const char *path = in("t.csv");
    mkdir(in("img"), 0755);
    for (int i = 1; i < 6; i++) {
        char name[32];
        snprintf(name, sizeof name, "img/%d.jpg", i);
        put_jpeg(name, i);
    }
    static const char text[] = "Filepath,title,weight,label,tone\n"
                               "img/2.jpg,\" two, \"\"quoted\"\"\",0.5,b,dark\n"
                               "img/1.jpg,one,,a,light\n"
                               "img/2.jpg,zwei,0.5,b,dark\n"
                               "img/2.jpg,drei,1,b,dark\n"
                               "img/3.jpg,,1,b,\n"
                               "img/4.jpg,,1,,\n"
                               "img/5.jpg,\"open,1,a,\n"
                               "img/5.jpg,too,many,1,a,\n"
                               "img/6.jpg,missing,1,a,\n"
                               ",nothing,1,a,\n"
                               "img/5.jpg,bad \xff,1,a,\n"
                               "img/5.jpg,x,heavy,a,\n"
                               "http://x.y/z.jpg,x,1,a,\n"
                               "img/5.jpg,last,1,a,dim";
    put_text("t.csv", text);
    static const char *const tone[] = {"tone"};
    dt_source_options options = {.extra_columns = tone, .extra_column_count = 1};
    ok(pack(&o, "auto", &path, 1, &options, plain), "a CSV table");
    ok(pair_is(&o, 0, "10x9 1 0.5 two, \"quoted\"|zwei {\"tone\": \"dark\"}") &&
           pair_is(&o, 1, "9x9 0 1 one {\"tone\": \"light\"}") && pair_is(&o, 2, "11x9 1 1 a photo of a b. {\"tone\": \"\"}") &&
           pair_is(&o, 3, "13x9 0 1 last {\"tone\": \"dim\"}"),
       "its rows, merged by image");
    ok(counts(&o, 4, 9), "4 packed, 9 left out");
    ok(skipped(&o, "t.csv line 5: class, weight or attributes differ") && skipped(&o, "line 7: the caption is em") &&
           skipped(&o, "line 8: the quote that opens field 2") && skipped(&o, "line 9: 6 fields, the header has 5") &&
           skipped(&o, "img/6.jpg: ") && skipped(&o, "line 11: the row names no image") &&
           skipped(&o, "line 12: the caption is not UTF-8") && skipped(&o, "line 13: the weight") &&
           skipped(&o, "is an address"),
       "each with its line and reason");
    dt_pairs_close(o.pairs);
}

static void other_tables(void)
{
    struct outcome o;
    const char *path = in("t.tsv");
    put_text("t.tsv", "caption\timg\nsay \"a\timg/1.jpg\n\"b\timg/2.jpg\nc\timg/1.jpg\n");
    ok(pack(&o, "auto", &path, 1, &(dt_source_options){.keep_rows = true}, plain) && pair_is(&o, 0, "9x9 -1 1 say \"a") &&
           pair_is(&o, 1, "10x9 -1 1 \"b") && pair_is(&o, 2, "9x9 -1 1 c"),
       "a TSV table with single quotes, its rows kept apart");
    dt_pairs_close(o.pairs);
    static const char lines[] = "{\"image\": \"img/1.jpg\", \"captions\": [\"eins\", \"one\"], \"label\": 7}\n\n"
                                "{\"path\": \"img/2.jpg\", \"text\": \"zwei\", \"extra\": {\"role\": \"farmer\"}, "
                                "\"weight\": 2, \"class\": \"3\"}\n"
                                "{\"image\": \"img/3.jpg\", \"caption\": 5}\n"
                                "{\"image\": 3, \"caption\": \"x\"}\n"
                                "[1]\n{\"image\": \"img/4.jpg\", \n";
    put_text("t.jsonl", lines);
    path = in("t.jsonl");
    ok(pack(&o, "auto", &path, 1, NULL, plain) && pair_is(&o, 0, "9x9 7 1 eins|one") &&
           pair_is(&o, 1, "10x9 3 2 zwei {\"role\": \"farmer\"}") && o.summary.skipped == 4 &&
           dt_pairs_class_count(o.pairs) == 8,
       "a JSONL table");
    ok(skipped(&o, "line 4: the caption is an integer") && skipped(&o, "line 5: the image is not a string") &&
           skipped(&o, "line 6: the line is an array") && skipped(&o, "line 7: "),
       "and its bad lines");
    dt_pairs_close(o.pairs);
}

static void broken_tables(void)
{
    struct outcome o;
    const char *path = in("t.csv");
    static const struct {
        const char *text, *says;
    } bad[] = {{"", "no header"},
               {"a,b\n1,2\n", "no column of image paths"},
               {"path,b\n1,2\n", "no column of captions"},
               {"path,caption\n", "no rows"},
               {"\"path,caption\n", "no header"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put_text("t.csv", bad[i].text);
        ok(!pack(&o, "table", &path, 1, NULL, plain) && says(error.message, bad[i].says), "table: %s", bad[i].says);
    }
    put_text("t.csv", "path,caption\n1,2\n");
    ok(!pack(&o, "table", &path, 1, &(dt_source_options){.caption_column = "titel"}, plain) &&
           says(error.message, "no column titel among its columns (path, caption)"),
       "a column that is not there");
    ok(!pack(&o, "table", &path, 1, NULL, plain) && says(error.message, "nothing was packed, 1 items"), "nothing usable");
}

static void unknown(void)
{
    struct outcome o;
    put_text("what.xyz", "what is this?");
    ok(!pack(&o, "auto", (const char *[]){in("what.xyz")}, 1, NULL, plain) && says(error.message, "cannot tell"),
       "an unknown file");
    ok(!pack(&o, "auto", (const char *[]){in("none.jpg")}, 1, NULL, plain) && says(error.message, "cannot open"),
       "a missing file");
    ok(!pack(&o, "zip", (const char *[]){in("x")}, 1, NULL, plain) && says(error.message, "zip is not a format"), "a format");
    ok(!pack(&o, "auto", NULL, 0, NULL, plain) && says(error.message, "no source"), "no source at all");
}

/* A source in memory whose items lie about their pixels, and which may break off. */
struct liar {
    dt_source base;
    int at;
    bool breaks;
};

static dt_source_result lie(dt_source *source, dt_item *item, dt_error *reason)
{
    static const uint8_t pixels[12];
    static const int lies[][3] = {{100000, 2, 3}, {2, 2, 4}, {2, -2, 3}, {3, 2, 3}, {0, 0, 0}, {2, 2, 3}};
    struct liar *liar = (struct liar *)source;
    if (liar->at == 6 && liar->breaks) {
        dt_fail(reason, "the well is dry");
        return DT_SOURCE_FAILED;
    }
    if (liar->at == 6)
        return DT_SOURCE_END;
    item->bytes = pixels;
    item->size = sizeof pixels;
    item->width = lies[liar->at][0];
    item->height = lies[liar->at][1];
    item->channels = lies[liar->at][2];
    item->label = 0;
    liar->at++;
    return DT_SOURCE_ITEM;
}

static void lying_source(void)
{
    static const char *const names[] = {"a"};
    struct outcome o = {.skipped = ""};
    struct liar liar = {{.kind = "test", .class_names = names, .class_count = 1, .next = lie}, 0, true};
    dt_pack_options options = {.skipped = note, .context = &o};
    ok(!dt_pack(&liar.base, in("liar.lmdb"), NULL, 0, &options, &o.summary, &error) && says(error.message, "the well is dry") &&
           access(in("liar.lmdb"), F_OK) && access(in("liar.lmdb.tmp"), F_OK),
       "a source that breaks off leaves nothing");
    liar.breaks = false;
    liar.at = 0;
    ok(dt_pack(&liar.base, in("liar.lmdb"), NULL, 0, &options, &o.summary, &error) && o.summary.packed == 1 &&
           o.summary.skipped == 5 && skipped(&o, "12 bytes of pixels are not 100000 x 2 x 3"),
       "wrong pixels are left out");
}

/* Many small items over several batches: the same store with one thread and with three. */
static void same_for_threads(void)
{
    struct outcome o;
    static uint8_t bytes[3073 * 1500];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = i % 3073 ? (uint8_t)(i * 2654435761u >> 20) : (uint8_t)(i / 3073 % 10);
    put("many.bin", bytes, sizeof bytes);
    const char *path = in("many.bin");
    char *text[2] = {NULL, NULL};
    size_t size[2] = {0, 1};
    for (int i = 0; i < 2; i++) {
        ok(pack(&o, "cifar", &path, 1, NULL, (dt_pack_options){.threads = i ? 3 : 1}) && o.summary.packed == 1500,
           "1500 images, %d threads", i ? 3 : 1);
        dt_pairs_close(o.pairs);
        text[i] = dt_file_read(in("out.lmdb"), SIZE_MAX / 2, &size[i], NULL);
    }
    ok(size[0] == size[1] && text[0] && text[1] && !memcmp(text[0], text[1], size[0]), "the same bytes");
    free(text[0]);
    free(text[1]);
}

int main(void)
{
    folders();
    csv_table();
    other_tables();
    broken_tables();
    unknown();
    lying_source();
    same_for_threads();
    return done();
}
