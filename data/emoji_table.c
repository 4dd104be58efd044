#include "data/emoji_table.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "data/emoji_split.h"
#include "data/file.h"

enum { FILE_LIMIT = 64 << 20, EMOJI_LIMIT = 1 << 20, PERSON = 0x1F9D1, CHILD = 0x1F9D2, OLDER = 0x1F9D3 };
enum { ZWJ = 0x200D, VARIATION = 0xFE0F, MALE = 0x2642, FEMALE = 0x2640 };

const char *const dt_emoji_gender_names[] = {"person", "man", "woman"};
const char *const dt_emoji_tone_names[] = {"none", "light", "medium-light", "medium", "medium-dark", "dark"};
const char *const dt_emoji_split_names[] = {"train", "validation", "test", "left out"};

/* Code points that hold a gender, and what they are without it. */
static const struct {
    uint32_t code, neutral[2];
    int gender;
} gendered[] = {
    {0x1F468, {PERSON}, 1},          {0x1F469, {PERSON}, 2},  /* man, woman */
    {0x1F466, {CHILD}, 1},           {0x1F467, {CHILD}, 2},   /* boy, girl */
    {0x1F474, {OLDER}, 1},           {0x1F475, {OLDER}, 2},   /* old man, old woman */
    {0x1F934, {0x1FAC5}, 1},         {0x1F478, {0x1FAC5}, 2}, /* prince, princess: person with crown */
    {0x1FAC3, {0x1FAC4}, 1},         {0x1F930, {0x1FAC4}, 2}, /* pregnant man, woman */
    {0x1F57A, {0x1F483}, 1},         {0x1F483, {0x1F483}, 2}, /* man, woman dancing; there is no person */
    {0x1F385, {PERSON, 0x1F384}, 1}, {0x1F936, {PERSON, 0x1F384}, 2}, /* Santa Claus, Mrs. Claus: Mx Claus */
};

/* Single code points for what is also written as a sequence (where the two tones differ). */
static const struct {
    uint32_t code, sequence[4];
} composed[] = {
    {0x1F46B, {PERSON, 0x1F91D, PERSON}},         /* woman and man holding hands */
    {0x1F46C, {PERSON, 0x1F91D, PERSON}},         /* men */
    {0x1F46D, {PERSON, 0x1F91D, PERSON}},         /* women */
    {0x1F48F, {PERSON, 0x2764, 0x1F48B, PERSON}}, /* kiss */
    {0x1F491, {PERSON, 0x2764, PERSON}},          /* couple with heart */
    {0x1F46F, {PERSON, 0x1F430, PERSON}},         /* people with bunny ears */
    {0x1F93C, {PERSON, 0x1FAEF, PERSON}},         /* people wrestling */
    {0x1F91D, {0x1FAF1, 0x1FAF2}},                /* handshake */
};

/* A sequence taken apart. */
typedef struct anatomy {
    uint32_t key[DT_EMOJI_CODES];
    int count;
    int gender, tone;
    bool cell;   /* spelled as the cells of the table are */
    bool turned; /* a trailing ZWJ + arrow turns the picture round */
} anatomy;

static bool is_person(uint32_t code)
{
    return code >= PERSON && code <= OLDER;
}

/* Takes the trailing ZWJ + mark off, where the sequence ends so. */
static bool take_mark(uint32_t *codes, int *count, uint32_t mark)
{
    if (*count < 3 || codes[*count - 1] != mark || codes[*count - 2] != ZWJ)
        return false;
    *count -= 2;
    return true;
}

/* Appends the code point without its gender; returns the gender, 0 where it has none. */
static int append_neutral(anatomy *a, uint32_t code)
{
    for (size_t i = 0; i < sizeof gendered / sizeof *gendered; i++)
        if (gendered[i].code == code) {
            for (int j = 0; j < 2 && gendered[i].neutral[j]; j++)
                if (a->count < DT_EMOJI_CODES)
                    a->key[a->count++] = gendered[i].neutral[j];
            return gendered[i].gender;
        }
    if (a->count < DT_EMOJI_CODES)
        a->key[a->count++] = code;
    return 0;
}

static void expand_composed(anatomy *a)
{
    for (size_t i = 0; a->count == 1 && i < sizeof composed / sizeof *composed; i++)
        if (composed[i].code == a->key[0])
            for (a->count = 0; a->count < 4 && composed[i].sequence[a->count]; a->count++)
                a->key[a->count] = composed[i].sequence[a->count];
}

static anatomy take_apart(const dt_emoji *emoji)
{
    anatomy a = {0};
    uint32_t codes[DT_EMOJI_CODES];
    int count = 0, tones = 0, persons = 0;
    for (int i = 0; i < emoji->code_count; i++) {
        uint32_t code = emoji->codes[i];
        if (code >= 0x1F3FB && code <= 0x1F3FF)
            a.tone = (int)(code - 0x1F3FB) + 1, tones++;
        else if (code != VARIATION)
            codes[count++] = code;
    }
    if (count == 0) { /* a tone alone */
        memcpy(a.key, emoji->codes, sizeof a.key);
        a.count = emoji->code_count;
        return a;
    }
    a.turned = take_mark(codes, &count, 0x27A1) || take_mark(codes, &count, 0x2B05);
    int sign = take_mark(codes, &count, MALE) ? 1 : take_mark(codes, &count, FEMALE) ? 2 : 0;
    int inner = 0;
    for (int i = 0; i < count; i++)
        if (codes[i] != ZWJ) {
            int gender = append_neutral(&a, codes[i]);
            inner = gender ? gender : inner;
        }
    expand_composed(&a);
    for (int i = 0; i < a.count; i++)
        persons += is_person(a.key[i]);
    bool leads = codes[0] == PERSON || codes[0] == 0x1F468 || codes[0] == 0x1F469;
    a.gender = sign ? sign : inner;
    a.cell = tones <= 1 && (leads ? persons == 1 && !sign : persons == 0 && !inner);
    return a;
}

/* ---- reading the file ---- */

static char *next_line(char **cursor)
{
    char *line = *cursor;
    if (!line)
        return NULL;
    char *end = strchr(line, '\n');
    *cursor = end ? end + 1 : NULL;
    if (end)
        *end = 0;
    for (char *last = line + strlen(line); last > line && isspace((unsigned char)last[-1]);)
        *--last = 0;
    return line;
}

/* "1F469 200D 1F33E " -> code points; false when it is anything else. */
static bool read_codes(const char *text, dt_emoji *emoji)
{
    for (;;) {
        text += strspn(text, " \t");
        if (!*text)
            return emoji->code_count > 0;
        char *end;
        unsigned long code = isxdigit((unsigned char)*text) ? strtoul(text, &end, 16) : 0;
        if (!code || code > 0x10FFFF || (*end && *end != ' ' && *end != '\t') ||
            emoji->code_count == DT_EMOJI_CODES)
            return false;
        emoji->codes[emoji->code_count++] = (uint32_t)code;
        text = end;
    }
}

/* The name in "<the emoji itself> E4.0 woman farmer"; files before Unicode 12 have no version in it. */
static const char *read_name(char *comment)
{
    comment += strspn(comment, " \t");
    comment += strcspn(comment, " \t");
    comment += strspn(comment, " \t");
    size_t version = *comment == 'E' ? 1 + strspn(comment + 1, "0123456789.") : 0;
    if (version > 1 && (comment[version] == ' ' || !comment[version]))
        comment += version + strspn(comment + version, " \t");
    return comment;
}

/* "CODES ; STATUS # EMOJI VERSION NAME". 1: a fully-qualified emoji; 0: another status; -1: not understood.
 */
static int read_entry(char *line, dt_emoji *emoji)
{
    char *semicolon = strchr(line, ';'), *hash = semicolon ? strchr(semicolon, '#') : NULL;
    if (!hash)
        return -1;
    *semicolon = *hash = 0;
    char *status = semicolon + 1 + strspn(semicolon + 1, " \t");
    status[strcspn(status, " \t")] = 0;
    emoji->name = read_name(hash + 1);
    if (!read_codes(line, emoji) || !*emoji->name || strlen(emoji->name) >= DT_EMOJI_NAME)
        return -1;
    return !strcmp(status, "fully-qualified");
}

static dt_emoji *grow(dt_emoji_table *table, int *capacity, dt_error *error)
{
    if (table->count == *capacity) {
        int more = *capacity ? 2 * *capacity : 1024;
        dt_emoji *emoji = more <= EMOJI_LIMIT ? realloc(table->emoji, (size_t)more * sizeof *emoji) : NULL;
        if (!emoji) {
            dt_fail(error, "more than %d emoji, or no memory", *capacity);
            return NULL;
        }
        table->emoji = emoji;
        *capacity = more;
    }
    dt_emoji *emoji = &table->emoji[table->count];
    *emoji = (dt_emoji){.gender = -1, .tone = -1, .cell = -1};
    return emoji;
}

/* The value of "# group: Food & Drink", or NULL. */
static const char *heading(const char *line, const char *key)
{
    if (*line != '#')
        return NULL;
    line += 1 + strspn(line + 1, " ");
    size_t length = strlen(key);
    return strncmp(line, key, length) ? NULL : line + length + strspn(line + length, " ");
}

static bool read_lines(dt_emoji_table *table, const char *path, dt_error *error)
{
    const char *group = "", *subgroup = "";
    char *cursor = table->text;
    int capacity = 0, number = 0;
    for (char *line; (line = next_line(&cursor));) {
        number++;
        const char *value;
        if ((value = heading(line, "group:"))) {
            group = value, subgroup = "";
        } else if ((value = heading(line, "subgroup:"))) {
            subgroup = value;
        } else if (*line && *line != '#') {
            dt_emoji *emoji = grow(table, &capacity, error);
            if (!emoji)
                return dt_fail_prefix(error, "%s:%d", path, number);
            int kind = read_entry(line, emoji);
            if (kind < 0)
                return dt_fail(error,
                               "%s:%d: expected CODE POINTS ; STATUS # EMOJI NAME, as in Unicode's "
                               "emoji-test.txt (Debian package unicode-data)",
                               path, number);
            if (strlen(subgroup) >= DT_EMOJI_NAME)
                return dt_fail(error, "%s:%d: the subgroup's name is longer than %d bytes", path, number,
                               DT_EMOJI_NAME - 1);
            emoji->group = group, emoji->subgroup = subgroup;
            table->count += kind;
        }
    }
    if (table->count == 0)
        return dt_fail(error,
                       "%s: holds no fully-qualified emoji; expected Unicode's emoji-test.txt (Debian "
                       "package unicode-data)",
                       path);
    return true;
}

/* ---- families, roles, cells ---- */

static uint32_t hash_key(const uint32_t *key, int count)
{
    uint32_t hash = 2166136261u;
    for (int i = 0; i < count; i++)
        hash = (hash ^ key[i]) * 16777619u;
    return hash;
}

/* Index of the family with this key, added if it is new. `slots` is an open-addressing index of families + 1.
 */
static int find_family(dt_emoji_table *table, int *slots, uint32_t mask, const anatomy *a)
{
    for (uint32_t slot = hash_key(a->key, a->count) & mask;; slot = (slot + 1) & mask) {
        if (!slots[slot]) {
            dt_emoji_family *family = &table->families[table->family_count];
            *family = (dt_emoji_family){.key_count = a->count, .role = -1};
            memcpy(family->key, a->key, sizeof family->key);
            return (slots[slot] = ++table->family_count) - 1;
        }
        const dt_emoji_family *family = &table->families[slots[slot] - 1];
        if (family->key_count == a->count && !memcmp(family->key, a->key, (size_t)a->count * sizeof *a->key))
            return slots[slot] - 1;
    }
}

static bool sort_into_families(dt_emoji_table *table, anatomy *anatomies, dt_error *error)
{
    uint32_t size = 16;
    while (size < 2u * (uint32_t)table->count)
        size *= 2;
    int *slots = calloc(size, sizeof *slots);
    table->families = calloc((size_t)table->count, sizeof *table->families);
    if (!slots || !table->families) {
        free(slots);
        return dt_fail(error, "no memory for %d families of emoji", table->count);
    }
    for (int i = 0; i < table->count; i++) {
        anatomies[i] = take_apart(&table->emoji[i]);
        int family = table->emoji[i].family = find_family(table, slots, size - 1, &anatomies[i]);
        table->families[family].members++;
    }
    free(slots);
    return true;
}

/* Where the word "person" stands in a name; NULL: nowhere. */
static const char *person_word(const char *name)
{
    for (const char *p = name; (p = strstr(p, "person")); p += 6)
        if ((p == name || p[-1] == ' ') && (p[6] == ' ' || p[6] == 0))
            return p;
    return NULL;
}

/* "person in tuxedo" -> "in tuxedo", "deaf person" -> "deaf", "farmer" -> "farmer". */
static void name_role(dt_emoji_role *role, const char *neutral)
{
    const char *word = person_word(neutral);
    role->neutral = neutral;
    role->has_word = word;
    role->word = word ? (int)(word - neutral) : 0;
    const char *tail = word ? word + 6 : neutral;
    int head = role->word;
    if (*tail == ' ')
        tail++;
    else if (head > 0)
        head--;
    snprintf(role->name, sizeof role->name, "%.*s%s", head, neutral, tail);
}

/* Bit gender * 6 + tone of found[family] for every cell that the file spells, and the neutral emoji's index.
 */
static void find_cells(const dt_emoji_table *table, const anatomy *anatomies, uint32_t *found, int *neutral)
{
    for (int i = 0; i < table->count; i++) {
        const dt_emoji *emoji = &table->emoji[i];
        const anatomy *a = &anatomies[i];
        if (!a->cell || a->turned || strcmp(emoji->group, "People & Body") ||
            !strcmp(emoji->subgroup, "person"))
            continue;
        found[emoji->family] |= 1u << (a->gender * DT_EMOJI_TONES + a->tone);
        if (a->gender == 0 && a->tone == 0)
            neutral[emoji->family] = i;
    }
}

static bool find_roles(dt_emoji_table *table, const anatomy *anatomies, dt_error *error)
{
    uint32_t *found = calloc((size_t)table->family_count, sizeof *found);
    int *neutral = calloc((size_t)table->family_count, sizeof *neutral);
    table->roles = calloc((size_t)table->family_count, sizeof *table->roles);
    bool good = found && neutral && table->roles;
    if (!good)
        dt_fail(error, "no memory for the table of emoji");
    else
        find_cells(table, anatomies, found, neutral);
    for (int i = 0; good && i < table->family_count; i++)
        if (found[i] == (1u << DT_EMOJI_CELLS) - 1) {
            dt_emoji_role *role = &table->roles[table->role_count];
            role->family = i;
            name_role(role, table->emoji[neutral[i]].name);
            table->families[i].role = table->role_count++;
        }
    for (int i = 0; good && i < table->count; i++) {
        dt_emoji *emoji = &table->emoji[i];
        const anatomy *a = &anatomies[i];
        int role = table->families[emoji->family].role;
        if (role >= 0 && a->cell) {
            emoji->gender = a->gender, emoji->tone = a->tone, emoji->turned = a->turned;
            emoji->cell = (role * DT_EMOJI_GENDERS + a->gender) * DT_EMOJI_TONES + a->tone;
        }
    }
    free(found);
    free(neutral);
    return good;
}

float dt_emoji_weight(const dt_emoji_table *table, const dt_emoji *emoji)
{
    return 1 / sqrtf((float)table->families[emoji->family].members);
}

/* ---- opening and closing ---- */

static bool check_utf8(const char *text, size_t size, const char *path, dt_error *error)
{
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)text;
    utf8proc_int32_t code;
    for (size_t at = 0; at < size;) {
        utf8proc_ssize_t step = utf8proc_iterate(bytes + at, (utf8proc_ssize_t)(size - at), &code);
        if (step <= 0 || code == 0)
            return dt_fail(error, "%s: byte %zu is not UTF-8 text; expected Unicode's emoji-test.txt", path,
                           at);
        at += (size_t)step;
    }
    return true;
}

dt_emoji_table *dt_emoji_table_open(const char *path, dt_error *error)
{
    path = path ? path : DT_EMOJI_TEST_FILE;
    if (!dt_file_exists(path)) {
        dt_fail(error, "%s: no such file; install Debian's unicode-data or name another emoji-test.txt",
                path);
        return NULL;
    }
    dt_emoji_table *table = calloc(1, sizeof *table);
    anatomy *anatomies = NULL;
    size_t size = 0;
    bool good = table || dt_fail(error, "no memory for the table of emoji");
    good = good && (table->text = dt_file_read(path, FILE_LIMIT, &size, error));
    good = good && check_utf8(table->text, size, path, error) && read_lines(table, path, error);
    if (good && !(anatomies = calloc((size_t)table->count, sizeof *anatomies)))
        good = dt_fail(error, "no memory for %d emoji", table->count);
    good = good && sort_into_families(table, anatomies, error) && find_roles(table, anatomies, error) &&
           dt_emoji_split_assign(table, error);
    free(anatomies);
    if (good)
        return table;
    dt_emoji_table_close(table);
    return NULL;
}

void dt_emoji_table_close(dt_emoji_table *table)
{
    if (!table)
        return;
    free(table->emoji);
    free(table->families);
    free(table->roles);
    free(table->cell_split);
    free(table->text);
    free(table);
}
