#include "data/emoji.h"

#include <stdlib.h>
#include <string.h>

#include "data/emoji_captions.h"
#include "data/emoji_font.h"
#include "data/image.h"
#include "data/resample.h"
#include "data/shuffle.h"

enum { ALL = -1 };

typedef enum part { WHOLE, CELLS, OBJECTS } part; /* of a split */

typedef struct picture {
    uint8_t *pixels; /* size x size x 3; NULL where it is not of this source */
    uint64_t hash[2];
} picture;

typedef struct emoji_source {
    dt_source source;
    dt_emoji_table *table;
    dt_emoji_font *font;
    picture *pictures; /* one for each emoji of the table */
    dt_emoji_class *classes;
    const char **class_names;
    dt_emoji_counts counts;
    int split, size, at;
    part part;
    char captions[DT_EMOJI_CAPTIONS][DT_EMOJI_TEXT];
    const char *caption_list[DT_EMOJI_CAPTIONS];
    char *extra;
    dt_resampler *resampler;
    dt_image whole, reduced; /* the picture at hand: the font's own, and as it is handed out */
} emoji_source;

static bool is_cell(const dt_emoji *emoji)
{
    return emoji->cell >= 0 && !emoji->turned;
}

/* ---- which pictures there are ---- */

/* 128 bits of a picture's pixels: among some thousand pictures no two different ones agree by chance. */
static void hash_pixels(const dt_image *image, uint64_t hash[2])
{
    size_t row = (size_t)image->width * (size_t)image->channels;
    hash[0] = dt_hash64(0, (uint64_t)image->width, (uint64_t)image->height);
    hash[1] = ~hash[0];
    for (int y = 0; y < image->height; y++)
        for (size_t at = 0; at < row; at += 16) {
            uint64_t words[2] = {0, 0};
            memcpy(words, image->pixels + (size_t)y * image->stride + at, row - at < 16 ? row - at : 16);
            hash[0] = dt_hash64(hash[0], words[0], words[1]);
            hash[1] = dt_hash64(hash[1], words[1], words[0]);
        }
}

/* The slot of the first emoji with these pixels, or a free one (0). */
static int *find_slot(const emoji_source *s, int *slots, uint32_t mask, const uint64_t hash[2])
{
    uint32_t slot = (uint32_t)hash[0] & mask;
    while (slots[slot] && memcmp(s->pictures[slots[slot] - 1].hash, hash, sizeof s->pictures->hash))
        slot = (slot + 1) & mask;
    return &slots[slot];
}

/* Reduces the picture of the emoji `index` to the size that is handed out. */
static bool keep_picture(emoji_source *s, int index, dt_error *error)
{
    dt_axis x = dt_axis_whole(s->whole.width, s->size), y = dt_axis_whole(s->whole.height, s->size);
    picture *p = &s->pictures[index];
    if (!dt_resample(s->resampler, &s->whole, x, y, DT_BICUBIC, &s->reduced, error))
        return false;
    size_t row = (size_t)s->size * 3;
    p->pixels = malloc(row * (size_t)s->size);
    if (!p->pixels)
        return dt_fail(error, "no memory for the pictures of %d emoji", s->table->count);
    for (size_t i = 0; i < (size_t)s->size; i++)
        memcpy(p->pixels + i * row, s->reduced.pixels + i * s->reduced.stride, row);
    s->counts.items++;
    s->counts.cells += is_cell(&s->table->emoji[index]);
    return true;
}

static bool is_wanted(const emoji_source *s, const dt_emoji *emoji)
{
    if (s->split == ALL)
        return true;
    return s->split == (int)emoji->split && (s->part == WHOLE || (s->part == CELLS) == is_cell(emoji));
}

/* Takes the emoji `index` in, if its pixels are new. */
static bool add_picture(emoji_source *s, int index, int *slots, uint32_t mask, dt_error *error)
{
    const dt_emoji *emoji = &s->table->emoji[index];
    picture *p = &s->pictures[index];
    uint32_t glyph = dt_emoji_font_glyph(s->font, emoji->codes, emoji->code_count);
    s->whole.width = 0;
    if (glyph && !dt_emoji_font_picture(s->font, glyph, &s->whole, error))
        return false;
    if (s->whole.width == 0) {
        s->counts.without++;
        return true;
    }
    hash_pixels(&s->whole, p->hash);
    int *slot = find_slot(s, slots, mask, p->hash);
    if (*slot)
        return true;
    *slot = index + 1;
    s->counts.pictures++;
    return !is_wanted(s, emoji) || keep_picture(s, index, error);
}

static bool add_pictures(emoji_source *s, dt_error *error)
{
    static const dt_emoji_split precedence[] = {DT_EMOJI_TEST, DT_EMOJI_VALIDATION, DT_EMOJI_TRAIN,
                                                DT_EMOJI_LEFT_OUT};
    uint32_t size = 16;
    while (size < 2u * (uint32_t)s->table->count)
        size *= 2;
    int *slots = calloc(size, sizeof *slots);
    bool good = slots || dt_fail(error, "no memory for the pictures of %d emoji", s->table->count);
    for (int k = 0; k < 4; k++)
        for (int i = 0; good && i < s->table->count; i++)
            if (s->table->emoji[i].split == precedence[k])
                good = add_picture(s, i, slots, size - 1, error);
    free(slots);
    return good;
}

/* ---- handing them out ---- */

static dt_source_result emoji_next(dt_source *source, dt_item *item, dt_error *error)
{
    emoji_source *s = (emoji_source *)source;
    while (s->at < s->table->count && !s->pictures[s->at].pixels)
        s->at++;
    if (s->at == s->table->count)
        return DT_SOURCE_END;
    const dt_emoji *emoji = &s->table->emoji[s->at];
    free(s->extra);
    s->extra = dt_emoji_extra(s->table, emoji, error);
    if (!s->extra)
        return DT_SOURCE_FAILED;
    item->name = emoji->name;
    item->bytes = s->pictures[s->at].pixels;
    item->width = item->height = s->size;
    item->channels = 3;
    item->size = (size_t)s->size * (size_t)s->size * 3;
    item->caption_count = (size_t)dt_emoji_captions(s->table, emoji, s->captions);
    item->captions = s->caption_list;
    item->label = is_cell(emoji) ? emoji->cell : -1;
    item->weight = dt_emoji_weight(s->table, emoji);
    item->extra = s->extra;
    s->at++;
    return DT_SOURCE_ITEM;
}

static void emoji_close(dt_source *source)
{
    emoji_source *s = (emoji_source *)source;
    for (int i = 0; s->pictures && i < s->table->count; i++)
        free(s->pictures[i].pixels);
    free(s->pictures);
    free(s->class_names);
    free(s->classes);
    free(s->extra);
    dt_image_free(&s->whole);
    dt_image_free(&s->reduced);
    dt_resampler_free(s->resampler);
    dt_emoji_font_close(s->font);
    dt_emoji_table_close(s->table);
    free(s);
}

static bool name_classes(emoji_source *s, dt_error *error)
{
    int count;
    s->classes = dt_emoji_classes(s->table, &count, error);
    s->class_names = s->classes ? calloc((size_t)count + 1, sizeof *s->class_names) : NULL;
    if (!s->class_names)
        return dt_fail(error, "no memory for %d classes of emoji", s->table->role_count * DT_EMOJI_CELLS);
    for (int i = 0; i < count; i++)
        s->class_names[i] = s->classes[i].prompt;
    s->source.class_names = s->class_names;
    s->source.class_count = (size_t)count;
    return true;
}

/* "all", or a split's name, alone or with "-cells" or "-objects". */
static bool read_split(emoji_source *s, const char *name, dt_error *error)
{
    s->split = ALL, s->part = WHOLE;
    if (!strcmp(name, "all"))
        return true;
    for (s->split = 0; s->split < DT_EMOJI_LEFT_OUT; s->split++) {
        size_t length = strlen(dt_emoji_split_names[s->split]);
        if (strncmp(name, dt_emoji_split_names[s->split], length))
            continue;
        const char *rest = name + length;
        s->part = !strcmp(rest, "-cells") ? CELLS : !strcmp(rest, "-objects") ? OBJECTS : WHOLE;
        if (!*rest || s->part != WHOLE)
            return true;
    }
    return dt_fail(error,
                   "emoji split \"%s\": expected train, validation, test, one of these with -cells or "
                   "-objects, or all",
                   name);
}

dt_source *dt_emoji_source_open(const char *font, const char *emoji_test, const char *split, int size,
                                dt_error *error)
{
    emoji_source *s = calloc(1, sizeof *s);
    if (!s) {
        dt_fail(error, "no memory for the emoji");
        return NULL;
    }
    s->source = (dt_source){.kind = "emoji", .next = emoji_next, .close = emoji_close};
    s->size = size ? size : DT_EMOJI_SIZE;
    for (int i = 0; i < DT_EMOJI_CAPTIONS; i++)
        s->caption_list[i] = s->captions[i];
    bool good = read_split(s, split, error);
    if (good && (size < 0 || size > DT_EMOJI_SIZE_MAX))
        good = dt_fail(error, "emoji of %d pixels: expected 1 to %d", size, DT_EMOJI_SIZE_MAX);
    s->table = good ? dt_emoji_table_open(emoji_test, error) : NULL;
    s->font = s->table ? dt_emoji_font_open(font, error) : NULL;
    good = s->font && name_classes(s, error) && (s->resampler = dt_resampler_new(error));
    if (good && !(s->pictures = calloc((size_t)s->table->count, sizeof *s->pictures)))
        good = dt_fail(error, "no memory for the pictures of %d emoji", s->table->count);
    good = good && add_pictures(s, error);
    s->counts.emoji = s->table ? s->table->count : 0;
    s->counts.roles = s->table ? s->table->role_count : 0;
    if (good)
        return &s->source;
    emoji_close(&s->source);
    return NULL;
}

dt_emoji_counts dt_emoji_source_counts(const dt_source *source)
{
    return ((const emoji_source *)source)->counts;
}

const dt_emoji_table *dt_emoji_source_table(const dt_source *source)
{
    return ((const emoji_source *)source)->table;
}
