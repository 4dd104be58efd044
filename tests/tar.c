/* Tar archives: names of every dialect, ends that are missing, and entries that lie. */
#include "data/tar.h"

#include "tests/make_tar.h"
#include "tests/tap.h"

static dt_error error;

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

int main(void)
{
    sound_tars();
    lying_tars();
    lying_pax();
    noisy_tars();
    return done();
}
