/* The demo's data: counts, captions, and that nothing of a withheld picture is in the training set. */
#include "data/emoji.h"
#include "data/emoji_captions.h"
#include "data/emoji_font.h"
#include "data/json.h"
#include "tests/tap.h"

enum { SIZE = 72, BYTES = SIZE * SIZE * 3, COARSE = SIZE / 8 };

typedef struct copy { /* one item, kept */
    uint8_t *pixels;
    int coarse[COARSE * COARSE * 3]; /* sums over squares of 8 x 8 pixels */
    char *caption[DT_EMOJI_CAPTIONS], *extra;
    int caption_count, label;
    float weight;
} copy;

typedef struct set {
    copy *items;
    int count;
    dt_emoji_counts counts;
} set;

static set load(const char *split)
{
    set s = {0};
    dt_error error = {""};
    dt_source *source = dt_emoji_source_open(NULL, NULL, split, SIZE, &error);
    if (!ok(source, "opens the split %s %s", split, error.message))
        return s;
    s.counts = dt_emoji_source_counts(source);
    s.items = calloc((size_t)s.counts.emoji, sizeof *s.items);
    for (;;) {
        dt_item item = {.label = -1, .weight = 1};
        if (source->next(source, &item, &error) != DT_SOURCE_ITEM)
            break;
        copy *c = &s.items[s.count++];
        *c = (copy){.label = item.label, .weight = item.weight, .extra = strdup(item.extra)};
        c->pixels = calloc(1, BYTES);
        if (item.size == BYTES && item.width == SIZE && item.height == SIZE && item.channels == 3)
            memcpy(c->pixels, item.bytes, BYTES);
        for (int b = 0; b < BYTES; b++)
            c->coarse[(b / (SIZE * 3) / 8 * COARSE + b / 3 % SIZE / 8) * 3 + b % 3] += c->pixels[b];
        for (size_t i = 0; i < item.caption_count; i++)
            c->caption[c->caption_count++] = strdup(item.captions[i]);
    }
    source->close(source);
    return s;
}

static void unload(set *s)
{
    for (int i = 0; i < s->count; i++) {
        free(s->items[i].pixels);
        free(s->items[i].extra);
        for (int k = 0; k < s->items[i].caption_count; k++)
            free(s->items[i].caption[k]);
    }
    free(s->items);
}

static int by_pixels(const void *a, const void *b)
{
    return memcmp((*(const copy *const *)a)->pixels, (*(const copy *const *)b)->pixels, BYTES);
}

/* Pairs of neighbours in the order of their pixels that have the same pixels. */
static int equal_pictures(const set *sets, int count)
{
    int n = 0, equal = 0;
    for (int i = 0; i < count; i++)
        n += sets[i].count;
    const copy **order = calloc((size_t)n + 1, sizeof *order);
    n = 0;
    for (int i = 0; i < count; i++)
        for (int k = 0; k < sets[i].count; k++)
            order[n++] = &sets[i].items[k];
    qsort(order, (size_t)n, sizeof *order, by_pixels);
    for (int i = 1; i < n; i++)
        if (!memcmp(order[i - 1]->pixels, order[i]->pixels, BYTES)) {
            printf("# the same picture: %s, %s\n", order[i - 1]->caption[0], order[i]->caption[0]);
            equal++;
        }
    free(order);
    return equal;
}

/* ---- the table ---- */

static void check_splits(const dt_emoji_table *table)
{
    int roles = table->role_count, cells = roles * DT_EMOJI_CELLS;
    int count[4] = {0}, columns[4] = {0}, gender[3] = {0}, tone[6] = {0}, poor = 0;
    for (int role = 0; role < roles; role++) {
        const dt_emoji_split *split = table->cell_split + role * DT_EMOJI_CELLS;
        int seen = 0;
        for (int cell = 0; cell < DT_EMOJI_CELLS; cell++) {
            count[split[cell]]++;
            seen += split[cell] == DT_EMOJI_TRAIN;
            gender[cell / 6] += split[cell] == DT_EMOJI_TRAIN;
            tone[cell % 6] += split[cell] == DT_EMOJI_TRAIN;
        }
        for (int g = 0; g < 3; g++) {
            bool whole = true;
            for (int t = 1; t < 6; t++)
                whole = whole && split[g * 6 + t] == split[g * 6];
            columns[split[g * 6]] += whole;
        }
        poor += seen < 6;
    }
    printf("# %d roles, %d cells: train %d, validation %d (%d columns), test %d (%d columns)\n", roles, cells,
           count[DT_EMOJI_TRAIN], count[DT_EMOJI_VALIDATION], columns[DT_EMOJI_VALIDATION], count[DT_EMOJI_TEST],
           columns[DT_EMOJI_TEST]);
    ok(roles > 40, "%d roles", roles);
    ok(abs(columns[DT_EMOJI_TEST] * 15 - roles * 6) <= 8, "2 columns of 15 are for test");
    ok(abs(columns[DT_EMOJI_VALIDATION] * 15 - roles * 3) <= 8, "and 1 for validation");
    int single = count[DT_EMOJI_TEST] - 6 * columns[DT_EMOJI_TEST];
    ok(abs(single * 100 - cells * 6) <= 50, "6 cells of 100, %d, are for test", single);
    single = count[DT_EMOJI_VALIDATION] - 6 * columns[DT_EMOJI_VALIDATION];
    ok(abs(single * 100 - cells * 3) <= 50, "3 cells of 100, %d, are for validation", single);
    ok(poor == 0, "each role has at least 6 cells in training");
    ok(gender[0] && gender[1] && gender[2], "each gender is seen: %d, %d, %d", gender[0], gender[1], gender[2]);
    bool all = true;
    for (int t = 0; t < 6; t++)
        all = all && tone[t] > count[DT_EMOJI_TRAIN] / 8;
    ok(all, "each tone is seen often");
}

/* Code points without variation selectors, sorted: the same for all spellings of an emoji, and for swaps. */
static int normal_form(const dt_emoji *emoji, uint32_t form[DT_EMOJI_CODES])
{
    int n = 0;
    for (int i = 0; i < emoji->code_count; i++) {
        uint32_t code = emoji->codes[i];
        if (code == 0xFE0F || code == 0x200D)
            continue;
        int at = n++;
        for (; at > 0 && form[at - 1] > code; at--)
            form[at] = form[at - 1];
        form[at] = code;
    }
    return n;
}

static void check_spellings(const dt_emoji_table *table)
{
    int shared = 0, families = 0, compared = 0;
    for (int i = 0; i < table->count; i++) {
        const dt_emoji *a = &table->emoji[i];
        if (a->split != DT_EMOJI_TEST && a->split != DT_EMOJI_VALIDATION)
            continue;
        uint32_t form[DT_EMOJI_CODES], other[DT_EMOJI_CODES];
        int n = normal_form(a, form);
        for (int k = 0; k < table->count; k++) {
            const dt_emoji *b = &table->emoji[k];
            if (b->split == a->split || b->split == DT_EMOJI_LEFT_OUT)
                continue;
            compared++;
            if (normal_form(b, other) == n && !memcmp(form, other, (size_t)n * sizeof *form)) {
                printf("# %s, %s\n", a->name, b->name);
                shared++;
            }
            families += b->family == a->family && (a->cell < 0 || b->cell == a->cell);
        }
    }
    ok(compared > 0 && shared == 0, "no withheld emoji is in another split under another spelling or order");
    ok(families == 0, "no object's family and no cell lies in two splits");
}

static void check_classes(const dt_emoji_table *table)
{
    dt_error error = {""};
    int count = 0, repeated = 0, named = 0;
    dt_emoji_class *classes = dt_emoji_classes(table, &count, &error);
    ok(classes && count == table->role_count * 18, "%d classes", count);
    for (int i = 0; i < count; i++)
        for (int k = 0; k < i; k++)
            repeated += !strcmp(classes[i].prompt, classes[k].prompt);
    ok(repeated == 0, "no two classes share a prompt");
    static const char *const some[] = {"woman farmer: dark skin tone", "person merperson",
                                       "man in tuxedo: medium-light skin tone", "deaf woman", "person bowing: light skin tone"};
    for (int i = 0; i < count; i++)
        for (int k = 0; k < 5; k++)
            named += !strcmp(classes[i].prompt, some[k]);
    ok(named == 5, "prompts have one regular form (%d of 5 examples found)", named);
    int irregular = 0;
    for (int i = 0; i < table->count; i++) {
        char captions[DT_EMOJI_CAPTIONS][DT_EMOJI_TEXT];
        const dt_emoji *emoji = &table->emoji[i];
        if (emoji->cell < 0 || emoji->turned)
            continue;
        int n = dt_emoji_captions(table, emoji, captions);
        irregular += n == 2;
        if (strcmp(captions[0], classes[emoji->cell].prompt) || strcmp(captions[n - 1], emoji->name))
            ok(false, "captions of %s", emoji->name);
    }
    printf("# %d of %d cells have a Unicode name that differs from the prompt\n", irregular, count);
    free(classes);
}

static void check_classes_file(const dt_emoji_table *table)
{
    dt_error error = {""};
    const char *path = in("classes.json");
    ok(dt_emoji_classes_write(table, path, &error), "writes classes.json %s", error.message);
    json_t *root = dt_json_load(path, &error);
    const json_t *list = json_object_get(root, "classes"), *last = json_array_get(list, json_array_size(list) - 1);
    const char *tone = json_string_value(json_object_get(json_object_get(last, "attributes"), "tone"));
    ok((int)json_array_size(list) == table->role_count * 18 && tone && !strcmp(tone, "dark"), "and it reads back");
    json_decref(root);
}

/* ---- the pictures ---- */

/* Mean absolute difference, or anything above `best` where it is above. */
static double difference(const copy *a, const copy *b, double best)
{
    int64_t sum = 0, most = (int64_t)(best * BYTES);
    for (int i = 0; i < COARSE * COARSE * 3; i++) /* differences of sums: never more than the sum of differences */
        sum += abs(a->coarse[i] - b->coarse[i]);
    if (sum > most)
        return (double)sum / BYTES;
    sum = 0;
    for (int y = 0; y < SIZE && sum <= most; y++) {
        const uint8_t *p = a->pixels + y * SIZE * 3, *q = b->pixels + y * SIZE * 3;
        int row = 0;
        for (int i = 0; i < SIZE * 3; i++)
            row += abs(p[i] - q[i]);
        sum += row;
    }
    return (double)sum / BYTES;
}

typedef struct neighbour {
    const copy *from, *to;
    double distance;
} neighbour;

static int by_distance(const void *a, const void *b)
{
    double x = ((const neighbour *)a)->distance, y = ((const neighbour *)b)->distance;
    return (x > y) - (x < y);
}

/* How near the withheld pictures come to the training pictures, in grey levels. */
static void report_neighbours(const char *name, const set *held_out, const set *train)
{
    neighbour *list = calloc((size_t)held_out->count + 1, sizeof *list);
    for (int i = 0; i < held_out->count; i++) {
        list[i] = (neighbour){&held_out->items[i], NULL, 255};
        for (int k = 0; k < train->count; k++) {
            double d = difference(list[i].from, &train->items[k], list[i].distance);
            if (d < list[i].distance)
                list[i].distance = d, list[i].to = &train->items[k];
        }
    }
    int n = held_out->count;
    qsort(list, (size_t)n, sizeof *list, by_distance);
    ok(n > 0 && list[0].distance > 0, "%s: no training picture is equal to a withheld one", name);
    if (n > 0)
        printf("# nearest training picture, mean absolute difference of 255: least %.2f, 10 %% %.2f, median "
               "%.2f\n",
               list[0].distance, list[n / 10].distance, list[n / 2].distance);
    for (int i = 0; i < n && i < 12; i++)
        printf("#   %.2f  %s ~ %s\n", list[i].distance, list[i].from->caption[0], list[i].to->caption[0]);
    free(list);
}

static void check_items(const set *train, const set *validation, const set *test)
{
    int text = 0, empty = 0, corner = 0;
    for (int i = 0; i < test->count + validation->count; i++) {
        const copy *held = i < test->count ? &test->items[i] : &validation->items[i - test->count];
        for (int k = 0; k < train->count; k++)
            for (int c = 0; c < train->items[k].caption_count; c++)
                text += !strcmp(train->items[k].caption[c], held->caption[0]);
    }
    ok(text == 0, "no withheld caption is a training caption");
    for (int i = 0; i < train->count; i++) {
        const copy *c = &train->items[i];
        long ink = 0;
        for (int b = 0; b < BYTES; b++)
            ink += c->pixels[b] < 240;
        empty += ink < BYTES / 100;
        for (int b = 0; b < SIZE * 3; b++) /* a 136 x 128 picture leaves the first and last rows white */
            corner += c->pixels[b] != 255 || c->pixels[BYTES - 1 - b] != 255;
    }
    ok(empty == 0, "every picture has something in it");
    ok(corner == 0, "the first and last rows of all training pictures are white (%d bytes are not)", corner);
}

static void check_extra(const set *s)
{
    dt_error error = {""};
    int bad = 0;
    for (int i = 0; i < s->count; i++) {
        const copy *c = &s->items[i];
        json_t *extra = dt_json_parse(c->extra, strlen(c->extra), "extra", &error);
        bool cell = json_is_string(json_object_get(extra, "role"));
        bad += !json_is_string(json_object_get(extra, "codepoints")) || cell != (c->label >= 0);
        bad += !(c->weight > 0 && c->weight <= 1) || c->caption_count < 1;
        bad += c->label >= 0 && c->weight > 0.24f;
        json_decref(extra);
    }
    ok(s->count && bad == 0, "attributes, labels and weights agree");
}

static void check_pictures(const char *version)
{
    set all[3] = {load("train"), load("validation"), load("test")};
    set *train = &all[0], *validation = &all[1], *test = &all[2];
    for (int i = 0; i < 3; i++)
        printf("# %s: %d pictures, %d cells, %d others\n", dt_emoji_split_names[i], all[i].count, all[i].counts.cells,
               all[i].count - all[i].counts.cells);
    ok(equal_pictures(all, 3) == 0, "no picture occurs twice, within a split or across");
    report_neighbours("test", test, train);
    report_neighbours("validation", validation, train);
    check_items(train, validation, test);
    check_extra(train);
    check_extra(test);
    if (!strcmp(version, "15.0") && train->counts.without == 0) {
        ok(train->counts.emoji == 3655 && train->counts.pictures == 3641, "Unicode 15.0: %d emoji, %d pictures",
           train->counts.emoji, train->counts.pictures);
        ok(train->counts.roles == 65 && train->counts.cells == 831 && validation->counts.cells == 113 &&
               test->counts.cells == 226,
           "65 roles; 831, 113 and 226 cells");
    } else {
        skip("counts", "they are known for Unicode 15.0 and Debian 12's font only");
    }
    set again = load("test"), cells = load("test-cells");
    int same = again.count == test->count;
    for (int i = 0; same && i < test->count; i++)
        same =
            !memcmp(again.items[i].pixels, test->items[i].pixels, BYTES) && !strcmp(again.items[i].extra, test->items[i].extra);
    ok(same, "the same files give the same items");
    ok(cells.count == test->counts.cells && cells.count, "the cells of a split can be had alone");
    unload(&again);
    unload(&cells);
    for (int i = 0; i < 3; i++)
        unload(&all[i]);
}

/* "15.0" of "# Version: 15.0". */
static void read_version(const char *path, char version[16])
{
    char line[512];
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "# Version: %15s", version) == 1)
            break;
    if (file)
        fclose(file);
}

int main(void)
{
    dt_error error = {""};
    dt_emoji_table *table = dt_emoji_table_open(NULL, &error);
    if (access(DT_EMOJI_FONT_FILE, R_OK) || !table) {
        skip("the emoji themselves", "fonts-noto-color-emoji or unicode-data is not installed");
    } else {
        char version[16] = "";
        read_version(DT_EMOJI_TEST_FILE, version);
        check_splits(table);
        check_spellings(table);
        check_classes(table);
        check_classes_file(table);
        check_pictures(version);
    }
    dt_emoji_table_close(table);
    return done();
}
