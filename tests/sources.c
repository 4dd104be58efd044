/* What pairs can be packed from: tables, archives, folders, IDX and CIFAR files, sound and broken ones. */
#define _GNU_SOURCE
#include "data/source.h"

#include <sys/stat.h>

#include "data/csv.h"
#include "data/file.h"
#include "data/jpeg.h"
#include "data/pack.h"
#include "data/pairs.h"
#include "data/tar.h"
#include "tests/tap.h"

static const char *folder;
static dt_error error;

static char *in(const char *name)
{
    static char paths[64][700];
    static int next;
    char *path = paths[next++ & 63];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static bool says(const char *text)
{
    bool found = strstr(error.message, text) != NULL;
    if (!found)
        printf("# sought '%s', found '%s'\n", text, error.message);
    return found;
}

static void put(const char *name, const void *bytes, size_t size)
{
    dt_file_write(in(name), bytes, size, NULL);
}

static void put_text(const char *name, const char *text)
{
    put(name, text, strlen(text));
}

/* A picture whose colour tells its number. */
static size_t make_jpeg(int number, int width, int height, uint8_t **bytes)
{
    dt_image image = {0};
    size_t size = 0;
    dt_image_reserve(&image, width, height, 3, NULL);
    for (size_t i = 0; i < image.stride * (size_t)height; i++)
        image.pixels[i] = (uint8_t)(number * 20 + (int)(i % 64));
    dt_jpeg_encode(&image, 90, false, bytes, &size, NULL);
    dt_image_free(&image);
    return size;
}

static void put_jpeg(const char *name, int number)
{
    uint8_t *bytes;
    size_t size = make_jpeg(number, 8 + number, 9, &bytes);
    put(name, bytes, size);
    free(bytes);
}

/* ---- CSV ---- */

/* Rows as text: fields between |, rows between \n, a malformed row as "!". */
static bool csv_is(const char *text, size_t size, const char *want)
{
    char got[1024] = "";
    dt_csv csv;
    int found;
    char *exact = malloc(size + !size); /* so that a read beyond the end shows */
    memcpy(exact, text, size);
    dt_csv_start(&csv, exact, size);
    while ((found = dt_csv_next(&csv, &error))) {
        for (size_t i = 0; found > 0 && i < csv.field_count; i++)
            snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", i ? "|" : "", csv.fields[i]);
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s@%zu;", found < 0 ? "!" : "", csv.line);
    }
    dt_csv_end(&csv);
    free(exact);
    if (strcmp(got, want))
        printf("# got %s\n# want %s\n", got, want);
    return !strcmp(got, want);
}

static void csv(void)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"", ""},
        {"\n\r\n\n", ""},
        {"a", "a@1;"},
        {"a,b\nc,d\n", "a|b@1;c|d@2;"},
        {"a,b\r\nc,d\r\n", "a|b@1;c|d@2;"},
        {"\xef\xbb\xbf"
         "a,b\n1,2",
         "a|b@1;1|2@2;"},
        {"a,b\n\n,\n", "a|b@1;|@3;"},
        {"a,b\n\"x, \"\"y\"\"\",z\n", "a|b@1;x, \"y\"|z@2;"},
        {"a,b\n\"two\nlines\",z\n1,2\n", "a|b@1;two\nlines|z@2;1|2@4;"},
        {"a,b\nx,\"never closed\n1,2\n3,4", "a|b@1;!@2;1|2@3;3|4@4;"},
        {"a,b\nx,\"closed\"early\n1,\"2\"\n", "a|b@1;!@2;1|2@3;"},
        {"a,b\nx,\"open\ny,\"whole\"\nz,3\n", "a|b@1;!@2;y|whole@3;z|3@4;"},
        {"a,b\n5\" disk,x\"y\"\n", "a|b@1;5\" disk|x\"y\"@2;"},
        {"a,b\n\"\",\"\"\n", "a|b@1;|@2;"},
        {"a,b\n\"\"\"\",\"", "a|b@1;!@2;"},
        {"a\tb\n\"open\tx, y\n\"q\tr\"\tz\n", "a|b@1;\"open|x, y@2;q\tr|z@3;"},
        {"a;b\n1,5;2\n", "a|b@1;1,5|2@2;"},
        {"a,b\nx\ry,z\n", "a|b@1;x\ry|z@2;"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ok(csv_is(cases[i].text, strlen(cases[i].text), cases[i].want), "CSV %zu", i);
    ok(csv_is("a,b\nx\0y,z\n1,2", 13, "a|b@1;!@2;1|2@3;"), "a NUL in a row");
    char noise[64];
    uint32_t state = 7;
    size_t rows = 0;
    for (int round = 0; round < 20000; round++) {
        size_t size = (state >> 9) % sizeof noise;
        for (size_t i = 0; i < size; i++) {
            state = state * 1664525 + 1013904223;
            noise[i] = "a,\"\n\r\t;\0b\"\",\"\n"[(state >> 20) % 15];
        }
        char *exact = malloc(size + !size);
        memcpy(exact, noise, size);
        dt_csv parser;
        dt_csv_start(&parser, exact, size);
        while (dt_csv_next(&parser, NULL))
            rows++;
        dt_csv_end(&parser);
        free(exact);
        state++;
    }
    ok(rows > 20000, "noise is read to its end (%zu rows)", rows);
}

/* ---- archives ---- */

struct archive {
    uint8_t bytes[1 << 18];
    size_t size;
};

static void seal(uint8_t *block)
{
    unsigned sum = 0;
    memset(block + 148, ' ', 8);
    for (int i = 0; i < 512; i++)
        sum += block[i];
    snprintf((char *)block + 148, 8, "%06o", sum);
}

static uint8_t *tar_add(struct archive *tar, const char *name, char type, const void *bytes, size_t size)
{
    uint8_t *block = tar->bytes + tar->size;
    memset(block, 0, 512 + (size + 511) / 512 * 512);
    strncpy((char *)block, name, 100);
    snprintf((char *)block + 124, 12, "%011zo", size);
    block[156] = (uint8_t)type;
    memcpy(block + 257,
           "ustar\0"
           "00",
           8);
    seal(block);
    memcpy(block + 512, bytes, size);
    tar->size += 512 + (size + 511) / 512 * 512;
    return block;
}

static void tar_end(struct archive *tar)
{
    memset(tar->bytes + tar->size, 0, 1024);
    tar->size += 1024;
}

/* Names and sizes of all entries, and "!" for damage. */
static bool tar_is(const struct archive *archive, const char *want)
{
    char got[4096] = "";
    dt_tar_entry entry;
    int found;
    put("t.tar", archive->bytes, archive->size);
    dt_tar *tar = dt_tar_open(in("t.tar"), &error);
    while (tar && (found = dt_tar_next(tar, &entry, &error)) != 0) {
        size_t n = strlen(got);
        if (found > 0)
            snprintf(got + n, sizeof got - n, "%.20s:%zu ", entry.name, entry.size);
        else
            snprintf(got + n, sizeof got - n, "!");
    }
    bool ended = tar && dt_tar_ended(tar, &error);
    dt_tar_close(tar);
    snprintf(got + strlen(got), sizeof got - strlen(got), "%s", ended ? "." : "?");
    if (strcmp(got, want))
        printf("# got %s\n# want %s (%s)\n", got, want, error.message);
    return !strcmp(got, want);
}

static struct archive tar;

static void sound_tars(void)
{
    char name[300];
    memset(name, 'n', sizeof name);
    name[299] = 0;
    tar.size = 0;
    ok(tar_is(&tar, "?"), "an empty file is no archive");
    tar_end(&tar);
    ok(tar_is(&tar, "."), "an archive of nothing");
    tar.size = 0;
    tar_add(&tar, "a/", '5', "", 0);
    tar_add(&tar, "a/b.jpg", '0', "12345", 5);
    tar_add(&tar, "a/link", '2', "", 0);
    tar_add(&tar, "././@LongLink", 'L', name, sizeof name);
    tar_add(&tar, "nnn", '0', "123", 3);
    tar_add(&tar, "pax", 'x', "18 path=long/name\n20 size=4\n", 18);
    tar_add(&tar, "short", '0', "1234", 4);
    uint8_t *block = tar_add(&tar, "base", '0', "1", 1);
    memcpy(block + 345, "pre/fix", 7);
    seal(block);
    block = tar_add(&tar, "binary", '0', "12", 2);
    memset(block + 124, 0, 12);
    block[124] = 0x80, block[135] = 2;
    seal(block);
    size_t before_end = tar.size;
    tar_end(&tar);
    const char *all = "a/b.jpg:5 nnnnnnnnnnnnnnnnnnnn:3 long/name:4 pre/fix/base:1 binary:2 ";
    char want[512];
    snprintf(want, sizeof want, "%s.", all);
    ok(tar_is(&tar, want), "ustar, GNU and pax names");
    snprintf(want, sizeof want, "%s?", all);
    size_t whole = tar.size;
    tar.size = before_end;
    ok(tar_is(&tar, want), "a missing end is noticed");
    tar.size = whole;
    tar_add(&tar, "more", '0', "1", 1);
    tar_end(&tar);
    snprintf(want, sizeof want, "%smore:1 .", all);
    ok(tar_is(&tar, want), "archives behind one another");
}

static void lying_tars(void)
{
    tar.size = 0;
    tar_add(&tar, "a/", '5', "", 0);
    tar_add(&tar, "a/b.jpg", '0', "12345", 5);
    for (size_t cut = 1; cut < 1200; cut += 100) { /* the file's data ends at byte 1029 */
        tar.size = cut;
        ok(tar_is(&tar, cut < 1029 ? "!." : "a/b.jpg:5 ?"), "an archive cut to %zu bytes", cut);
    }
    static const char *const sizes[] = {"77777777777", "9", "", "-1", "00000000x"};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        tar.size = 0;
        uint8_t *block = tar_add(&tar, "lie.jpg", '0', "1", 1);
        memset(block + 124, 0, 12);
        memcpy(block + 124, sizes[i], strlen(sizes[i]));
        seal(block);
        tar_end(&tar);
        ok(tar_is(&tar, "!."), "a size of '%s'", sizes[i]);
    }
    tar.size = 0;
    uint8_t *block = tar_add(&tar, "lie.jpg", '0', "1", 1);
    memset(block + 124, 0xff, 12);
    seal(block);
    ok(tar_is(&tar, "!."), "a negative binary size");
    block[124] = 0x80;
    seal(block);
    ok(tar_is(&tar, "!."), "a binary size of 2^88");
}

static void lying_pax(void)
{
    static const char *const paxes[] = {"x",
                                        "5",
                                        "99 path=a\n",
                                        "0 path=a\n",
                                        "3 \n",
                                        "12 path:abcd\n",
                                        "28 size=99999999999999999999\n",
                                        "14 size=12345\n",
                                        "8 path=\n"};
    for (size_t i = 0; i < sizeof paxes / sizeof paxes[0]; i++) {
        tar.size = 0;
        tar_add(&tar, "pax", 'x', paxes[i], strlen(paxes[i]));
        tar_add(&tar, "a", '0', "1", 1);
        tar_end(&tar);
        ok(tar_is(&tar, "!."), "pax record %zu", i);
    }
    tar.size = 0;
    tar_add(&tar, "a", '0', "1", 1);
    tar_end(&tar);
    memset(tar.bytes, 'x', 3);
    ok(tar_is(&tar, "!."), "a wrong checksum");
}

static void noisy_tars(void)
{
    char name[300];
    memset(name, 'n', sizeof name);
    name[299] = 0;
    uint32_t state = 3;
    size_t survived = 0;
    for (int round = 0; round < 300; round++) {
        tar.size = 0;
        tar_add(&tar, "pax", 'x', "18 path=long/name\n", 18);
        tar_add(&tar, "a/b.jpg", '0', name, 299);
        tar_add(&tar, "././@LongLink", 'L', name, sizeof name);
        tar_add(&tar, "c.jpg", '0', name, 299);
        tar_end(&tar);
        for (int i = 0; i < 4; i++) {
            state = state * 1664525 + 1013904223;
            size_t at = (state >> 8) % tar.size;
            tar.bytes[at] = (uint8_t)(state >> 24);
            if ((state & 0x70000) == 0)
                for (size_t header = 0; header + 512 <= tar.size; header += 512)
                    if (!memcmp(tar.bytes + header + 257, "ustar", 5))
                        seal(tar.bytes + header);
        }
        put("t.tar", tar.bytes, tar.size);
        dt_tar *reader = dt_tar_open(in("t.tar"), NULL);
        dt_tar_entry entry;
        while (reader && dt_tar_next(reader, &entry, NULL) > 0)
            survived += entry.size == 0 || entry.bytes[entry.size - 1] < 255;
        dt_tar_close(reader);
    }
    ok(survived > 100, "archives with random damage are read within their bounds");
}

/* ---- whole sources ---- */

struct outcome {
    char skipped[8192];
    dt_pack_summary summary;
    dt_pairs *pairs;
};

static void note(void *context, const char *name, const char *reason)
{
    struct outcome *outcome = context;
    size_t n = strlen(outcome->skipped);
    snprintf(outcome->skipped + n, sizeof outcome->skipped - n, "%s: %s\n", name, reason);
}

/* Packs into out.lmdb and opens that. */
static bool pack(struct outcome *outcome, const char *from, const char *const *paths, size_t count,
                 const dt_source_options *source_options, dt_pack_options options)
{
    memset(outcome, 0, sizeof *outcome);
    error.message[0] = 0;
    options.skipped = note;
    options.context = outcome;
    options.replace = true;
    dt_source *source = dt_source_open(from, paths, count, source_options, &error);
    bool good = source && dt_pack(source, in("out.lmdb"), paths, count, &options, &outcome->summary, &error);
    if (source)
        source->close(source);
    if (good)
        outcome->pairs = dt_pairs_open(in("out.lmdb"), &error);
    return outcome->pairs != NULL;
}

/* "WIDTHxHEIGHT LABEL WEIGHT caption|caption extra" */
static bool pair_is(const struct outcome *outcome, uint64_t index, const char *want)
{
    dt_pair pair;
    char got[2048];
    if (!outcome->pairs || !dt_pairs_get(outcome->pairs, index, &pair, &error)) {
        printf("# %s\n", error.message);
        return false;
    }
    int n =
        snprintf(got, sizeof got, "%dx%d %d %g ", pair.width, pair.height, pair.label, (double)pair.weight);
    for (size_t i = 0; i < pair.caption_count; i++)
        n += snprintf(got + n, sizeof got - (size_t)n, "%s%s", i ? "|" : "", dt_pair_caption(&pair, i, NULL));
    snprintf(got + n, sizeof got - (size_t)n, "%s%s", pair.extra ? " " : "", pair.extra ? pair.extra : "");
    if (strcmp(got, want))
        printf("# got '%s', want '%s'\n", got, want);
    return !strcmp(got, want);
}

static bool skipped(const struct outcome *outcome, const char *text)
{
    bool found = strstr(outcome->skipped, text) != NULL;
    if (!found)
        printf("# sought '%s' in '%s'\n", text, outcome->skipped);
    return found;
}

static bool counts(const struct outcome *outcome, uint64_t packed, uint64_t left_out)
{
    const dt_pack_summary *s = &outcome->summary;
    bool good = outcome->pairs && s->packed == packed && s->skipped == left_out;
    if (!good)
        printf("# %llu packed, %llu left out: %s\n", (unsigned long long)s->packed,
               (unsigned long long)s->skipped, outcome->pairs ? outcome->skipped : error.message);
    return good;
}

static const dt_pack_options plain;

static void folders(void)
{
    struct outcome o;
    const char *path = in("classes"), *empty = in("nothing");
    uint8_t *jpeg;
    mkdir(empty, 0755);
    ok(!pack(&o, "auto", &empty, 1, NULL, plain) && says("no images"), "an empty folder");
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
           pair_is(&o, 2, "11x9 0 1 a photo of a apple.") &&
           pair_is(&o, 3, "12x9 1 1 a photo of a ice cream.") && pair_is(&o, 4, "13x9 1 1 first one|second"),
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
           o.summary.packed == 2 && pair_is(&o, 0, "14x9 -1 1 ") &&
           pair_is(&o, 1, "9x9 0 1 a Apfel|Apfel, {}"),
       "templates, other class names, bare images, a limit");
    dt_pairs_close(o.pairs);
    ok(!pack(&o, "folder", &path, 1, NULL, (dt_pack_options){.strict = true}) &&
           says("root.jpg: there is nei"),
       "strict: the first bad one is an error");
    ok(!pack(&o, "folder", &path, 1, NULL, (dt_pack_options){.class_names = names, .class_count = 1}) &&
           says("label 1"),
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
           pair_is(&o, 1, "9x9 0 1 one {\"tone\": \"light\"}") &&
           pair_is(&o, 2, "11x9 1 1 a photo of a b. {\"tone\": \"\"}") &&
           pair_is(&o, 3, "13x9 0 1 last {\"tone\": \"dim\"}"),
       "its rows, merged by image");
    ok(counts(&o, 4, 9), "4 packed, 9 left out");
    ok(skipped(&o, "t.csv line 5: class, weight or attributes differ") &&
           skipped(&o, "line 7: the caption is em") && skipped(&o, "line 8: the quote that opens field 2") &&
           skipped(&o, "line 9: 6 fields, the header has 5") && skipped(&o, "img/6.jpg: ") &&
           skipped(&o, "line 11: the row names no image") &&
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
    ok(pack(&o, "auto", &path, 1, &(dt_source_options){.keep_rows = true}, plain) &&
           pair_is(&o, 0, "9x9 -1 1 say \"a") && pair_is(&o, 1, "10x9 -1 1 \"b") &&
           pair_is(&o, 2, "9x9 -1 1 c"),
       "a TSV table with single quotes, its rows kept apart");
    dt_pairs_close(o.pairs);
    static const char lines[] =
        "{\"image\": \"img/1.jpg\", \"captions\": [\"eins\", \"one\"], \"label\": 7}\n\n"
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
        ok(!pack(&o, "table", &path, 1, NULL, plain) && says(bad[i].says), "table: %s", bad[i].says);
    }
    put_text("t.csv", "path,caption\n1,2\n");
    ok(!pack(&o, "table", &path, 1, &(dt_source_options){.caption_column = "titel"}, plain) &&
           says("no column titel among its columns (path, caption)"),
       "a column that is not there");
    ok(!pack(&o, "table", &path, 1, NULL, plain) && says("nothing was packed, 1 items"), "nothing usable");
}

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
    ok(skipped(&o, "2.jpg: ") && skipped(&o, "1.jpg: the archive has this name twice") &&
           skipped(&o, "cut.tar: ") && skipped(&o, "truncated"),
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
    static const char json[] =
        "{\"caption\": \"in JSON\", \"label\": 1, \"weight\": 0.5, \"extra\": {\"k\": [1]}}";
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
    ok(pack(&o, "auto", (const char *[]){in("w.tar")}, 1, NULL, plain) && counts(&o, 3, 7),
       "a WebDataset shard");
    ok(pair_is(&o, 0, "8x9 2 1 a caption") && pair_is(&o, 1, "9x9 1 0.5 in JSON {\"k\": [1]}") &&
           pair_is(&o, 2, "11x9 -1 1 last") && dt_pairs_class_count(o.pairs) == 3,
       "its pairs");
    ok(skipped(&o, "e: the text holds a NUL") && skipped(&o, "f: there is no image") &&
           skipped(&o, "g: it has two images") && skipped(&o, "h: class 'dog'") && skipped(&o, "i: ") &&
           skipped(&o, "b: the archive has this key twice") && skipped(&o, "j: class '99999999999'"),
       "what was left out");
    dt_pairs_close(o.pairs);
    put("w.tar", tar.bytes, tar.size - 1024 - 512 - 10);
    ok(pack(&o, "webdataset", (const char *[]){in("w.tar")}, 1, NULL, plain) && o.summary.packed == 2 &&
           skipped(&o, "w.tar: "),
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
    } lies[] = {
        {7, 4, "says it has 4 images"}, {4, 0xff, "says it has"}, {11, 0, "0 pixels"}, {8, 0xff, "pixels"},
        {15, 200, "says it has 3"},     {3, 4, "starts with"}};
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        uint8_t lie[sizeof images];
        memcpy(lie, images, sizeof lie);
        lie[lies[i].at] = lies[i].value;
        put("x-images-idx3-ubyte", lie, sizeof lie);
        ok(!pack(&o, "idx", path, 1, NULL, plain) && says(lies[i].says), "IDX with a lie at byte %zu",
           lies[i].at);
    }
    put("x-images-idx3-ubyte", images, sizeof images - 1);
    ok(!pack(&o, "idx", path, 1, NULL, plain) && says("says it has 3"), "IDX cut");
    put("x-images-idx3-ubyte", images, sizeof images);
    labels[7] = 2;
    put("x-labels-idx1-ubyte", labels, sizeof labels);
    ok(!pack(&o, "idx", path, 1, NULL, plain) && says("2 labels, but 3"), "labels with a lying count");
    put("x-labels-idx1-ubyte", labels, sizeof labels - 1);
    ok(!pack(&o, "idx", path, 1, NULL, plain) && says("2 labels, but"), "fewer labels than images");
    unlink(both[0]);
    ok(!pack(&o, "idx", path, 1, NULL, plain) && says("name both"), "no labels");
    put("bad.gz", "\x1f\x8b\x08\0\0\0\0\0\0\3garbage!", 18);
    ok(!pack(&o, "idx", (const char *[]){in("bad.gz")}, 1, NULL, plain) && says("cannot inflate"),
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
    ok(o.pairs && dt_pairs_get(o.pairs, 0, &pair, NULL) &&
           dt_image_decode(pair.jpeg, pair.jpeg_size, &image, &error) && image.pixels[0] > 250 &&
           image.pixels[1] < 5 && image.pixels[2] < 5,
       "its planes are red, green, blue");
    dt_image_free(&image);
    dt_pairs_close(o.pairs);
    path = both[1];
    ok(pack(&o, "cifar", &path, 1, NULL, plain) && pair_is(&o, 0, "32x32 99 1 a photo of a 99.") &&
           dt_pairs_class_count(o.pairs) == 100,
       "CIFAR-100");
    dt_pairs_close(o.pairs);
    ok(!pack(&o, "cifar", both, 2, NULL, plain) && says("CIFAR-100, but the files before"),
       "not both at once");
    put("ten.bin", ten, sizeof ten - 1);
    path = both[0];
    ok(!pack(&o, "cifar", &path, 1, NULL, plain) && says("not a CIFAR file"), "a file that is cut");
    ten[0] = 10;
    put("ten.bin", ten, sizeof ten);
    ok(!pack(&o, "cifar", &path, 1, NULL, plain) && says("not a CIFAR file"), "a label beyond the last");
}

static void unknown(void)
{
    struct outcome o;
    put_text("what.xyz", "what is this?");
    ok(!pack(&o, "auto", (const char *[]){in("what.xyz")}, 1, NULL, plain) && says("cannot tell"),
       "an unknown file");
    ok(!pack(&o, "auto", (const char *[]){in("none.jpg")}, 1, NULL, plain) && says("cannot open"),
       "a missing file");
    ok(!pack(&o, "zip", (const char *[]){in("x")}, 1, NULL, plain) && says("zip is not a format"),
       "a format");
    ok(!pack(&o, "auto", NULL, 0, NULL, plain) && says("no source"), "no source at all");
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
    ok(!dt_pack(&liar.base, in("liar.lmdb"), NULL, 0, &options, &o.summary, &error) &&
           says("the well is dry") && access(in("liar.lmdb"), F_OK) && access(in("liar.lmdb.tmp"), F_OK),
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
        ok(pack(&o, "cifar", &path, 1, NULL, (dt_pack_options){.threads = i ? 3 : 1}) &&
               o.summary.packed == 1500,
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
    folder = strdup(scratch());
    csv();
    sound_tars();
    lying_tars();
    lying_pax();
    noisy_tars();
    folders();
    csv_table();
    other_tables();
    broken_tables();
    for (int i = 0; i < 4; i++)
        jpeg_sizes[i] = make_jpeg(i, 8 + i, 9, &jpegs[i]);
    class_tars();
    webdataset();
    for (int i = 0; i < 4; i++)
        free(jpegs[i]);
    idx();
    cifar();
    unknown();
    lying_source();
    same_for_threads();
    char command[800];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ok(system(command) == 0, "cleans up");
    free((void *)(uintptr_t)folder);
    return done();
}
