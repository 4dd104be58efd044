/* The demo's data from other files than the system's: a made-up list of emoji, and lists and fonts that are bad. */
#include "data/emoji.h"
#include "data/emoji_captions.h"
#include "data/emoji_font.h"
#include "data/file.h"
#include "tests/tap.h"

/* ---- a made-up list: turned pictures, two people, genders of their own; the order of lines ---- */

static void put_line(char lines[][256], int *count, const char *group, const char *subgroup, const char *codes,
                     const char *name)
{
    snprintf(lines[(*count)++], 256, "# group: %s\n# subgroup: %s\n%s ; fully-qualified # X E1.0 %s\n", group, subgroup, codes,
             name);
}

/* All 18 cells of a base with the sign spelling; `turned` adds the arrow. */
static void put_role(char lines[][256], int *count, unsigned base, const char *name, bool turned)
{
    for (int gender = 0; gender < 3; gender++)
        for (int tone = 0; tone < 6; tone++) {
            char codes[80], text[80], skin[16] = "";
            if (tone)
                snprintf(skin, sizeof skin, " %X", 0x1F3FA + (unsigned)tone);
            snprintf(codes, sizeof codes, "%X%s%s%s", base, skin,
                     gender == 0   ? ""
                     : gender == 1 ? " 200D 2642 FE0F"
                                   : " 200D 2640 FE0F",
                     turned ? " 200D 27A1 FE0F" : "");
            snprintf(text, sizeof text, "%s %s %d%s", dt_emoji_gender_names[gender], name, tone, turned ? " facing right" : "");
            put_line(lines, count, "People & Body", "person-activity", codes, text);
        }
}

static dt_emoji_table *open_lines(char lines[][256], int count, bool backwards)
{
    char *text = calloc((size_t)count, 256);
    for (int i = 0, at = 0; i < count; i++)
        at += snprintf(text + at, 256, "%s", lines[backwards ? count - 1 - i : i]);
    const char *path = put_text("made-up.txt", text);
    free(text);
    dt_error error = {""};
    dt_emoji_table *table = dt_emoji_table_open(path, &error);
    ok(table, "reads a made-up file %s", error.message);
    return table;
}

static int made_up(char lines[][256])
{
    int count = 0;
    for (unsigned i = 0; i < 30; i++) {
        char name[16];
        snprintf(name, sizeof name, "role%u", i);
        put_role(lines, &count, 0x1F900 + i, name, false);
        put_role(lines, &count, 0x1F900 + i, name, true);
    }
    put_role(lines, &count, 0x1F46F, "two", false); /* as Unicode 17 has it */
    static const char *const claus[] = {"1F9D1", "1F385", "1F936"};
    for (int gender = 0; gender < 3; gender++)
        for (unsigned tone = 0; tone < 6; tone++) {
            char codes[64], skin[16] = "";
            if (tone)
                snprintf(skin, sizeof skin, " %X", 0x1F3FA + tone);
            snprintf(codes, sizeof codes, "%s%s%s", claus[gender], skin, gender ? "" : " 200D 1F384");
            put_line(lines, &count, "People & Body", "person-fantasy", codes, "Claus");
        }
    for (unsigned i = 0; i < 100; i++) {
        char codes[16];
        snprintf(codes, sizeof codes, "%X", 0x1F300 + i);
        put_line(lines, &count, "Objects", "tool", codes, "thing");
    }
    put_line(lines, &count, "Flags", "flag", "1F3C1", "chequered flag");
    return count;
}

static void check_made_up(void)
{
    char(*lines)[256] = calloc(1300, sizeof *lines);
    int count = made_up(lines), turned = 0, wrong = 0, differ = 0, withheld = 0;
    dt_emoji_table *table = open_lines(lines, count, false);
    dt_emoji_table *back = open_lines(lines, count, true);
    if (table && back) {
        ok(table->role_count == 30, "two people and genders of their own make no roles (%d)", table->role_count);
        ok(table->count == count && back->count == count, "all %d lines", count);
        int claus[2] = {table->emoji[30 * 36 + 18].family, table->emoji[30 * 36 + 35].family};
        ok(claus[0] == claus[1] && table->families[claus[0]].members == 18, "but they are one family");
        for (int i = 0; i < table->count; i++) {
            const dt_emoji *emoji = &table->emoji[i];
            turned += emoji->turned;
            withheld += emoji->turned && emoji->split == DT_EMOJI_LEFT_OUT;
            if (emoji->turned)
                wrong += emoji->split != (table->cell_split[emoji->cell] ? DT_EMOJI_LEFT_OUT : DT_EMOJI_TRAIN);
            differ += emoji->split != back->emoji[count - 1 - i].split;
        }
        ok(turned == 540 && withheld > 60 && wrong == 0, "turned pictures of withheld cells are left out (%d)", withheld);
        ok(differ == 0, "the split does not depend on the order of the lines");
        ok(table->emoji[table->count - 1].split == DT_EMOJI_LEFT_OUT, "flags are left out");
    }
    dt_emoji_table_close(table);
    dt_emoji_table_close(back);
    free(lines);
}

/* ---- bad input ---- */

static void refused(const char *font, const char *file, const char *split, int size, const char *expected)
{
    dt_error error = {""};
    dt_source *source = dt_emoji_source_open(font, file, split, size, &error);
    ok(!source && strstr(error.message, expected) && !strchr(error.message, '\n'), "refused: %s", error.message);
    if (source)
        source->close(source);
}

static void refused_text(const char *text, size_t size, const char *expected)
{
    refused(NULL, put("bad.txt", text, size), "train", 0, expected);
}

#define TEXT(text) text, sizeof(text) - 1

static void check_bad_text(void)
{
    refused(NULL, "/nowhere/emoji-test.txt", "train", 0, "unicode-data");
    refused_text(TEXT(""), "no fully-qualified emoji");
    refused_text(TEXT("# group: X\n\n"), "no fully-qualified emoji");
    refused_text(TEXT("1F600 ; component # X E1.0 a\n"), "no fully-qualified emoji");
    refused_text(TEXT("# a\n<html>; <!-- # X a -->\n"), "bad.txt:2: expected CODE POINTS");
    refused_text(TEXT("1F600 fully-qualified\n"), "bad.txt:1: expected");
    refused_text(TEXT("1F600 ; fully-qualified\n"), "bad.txt:1: expected");
    refused_text(TEXT("; fully-qualified # X E1.0 a\n"), "bad.txt:1: expected");
    refused_text(TEXT("110000 ; fully-qualified # X E1.0 a\n"), "bad.txt:1: expected");
    refused_text(TEXT("0 ; fully-qualified # X E1.0 a\n"), "bad.txt:1: expected");
    refused_text(TEXT("-1 ; fully-qualified # X E1.0 a\n"), "bad.txt:1: expected");
    refused_text(TEXT("1F600 ; fully-qualified # X E1.0\n"), "bad.txt:1: expected");
    refused_text(TEXT("1 2 3 4 5 6 7 8 9 A B C D E F 10 11 ; fully-qualified # X E1.0 a\n"), "bad.txt:1");
    refused_text(TEXT("1F600 ; fully-qualified # X E1.0 \xff\n"), "byte 33 is not UTF-8");
    refused_text(TEXT("1F600 ; fully-qualified # X E1.0 a\0b\n"), "byte 34 is not UTF-8");
    char line[400];
    int length = snprintf(line, sizeof line, "1F600 ; fully-qualified # X E1.0 %0200d\n", 1);
    refused_text(line, (size_t)length, "bad.txt:1: expected");
}

static void check_bad_font(void)
{
    refused("/nowhere/font.ttf", NULL, "train", 0, "fonts-noto-color-emoji");
    refused(put_text("bad.ttf", ""), NULL, "train", 0, "bad.ttf: no font with PNG pictures");
    refused(put_text("bad.ttf", "not a font"), NULL, "train", 0, "bad.ttf: no font with PNG pictures");
    size_t size = 0;
    char *whole = dt_file_read(DT_EMOJI_FONT_FILE, 64 << 20, &size, NULL);
    refused(put("bad.ttf", whole, size / 2), NULL, "train", 0, "bad.ttf");
    free(whole);
}

static void check_bad_settings(void)
{
    refused(NULL, NULL, "trains", 0, "expected train, validation, test");
    refused(NULL, NULL, "left out", 0, "expected train, validation, test");
    refused(NULL, NULL, "test-", 0, "expected train, validation, test");
    refused(NULL, NULL, "test", -1, "expected 1 to 512");
    refused(NULL, NULL, "test", 513, "expected 1 to 512");
}

int main(void)
{
    check_made_up();
    refused(NULL, "/nowhere/emoji-test.txt", "train", 0, "unicode-data");
    refused("/nowhere/font.ttf", NULL, "train", 0, "/nowhere/");
    dt_error error = {""};
    dt_emoji_table *table = dt_emoji_table_open(NULL, &error);
    if (access(DT_EMOJI_FONT_FILE, R_OK) || !table) {
        skip("bad lists and fonts", "fonts-noto-color-emoji or unicode-data is not installed");
    } else {
        check_bad_text();
        check_bad_font();
        check_bad_settings();
    }
    dt_emoji_table_close(table);
    return done();
}
