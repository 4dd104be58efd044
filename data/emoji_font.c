#include "data/emoji_font.h"

#include <hb-ot.h>
#include <hb.h>
#include <stdlib.h>
#include <string.h>

#include "data/file.h"
#include "data/png.h"

struct dt_emoji_font {
    char *path;
    dt_map map;
    hb_blob_t *blob;
    hb_face_t *face;
    hb_font_t *font;
    hb_buffer_t *buffer;
};

static uint32_t big_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* HarfBuzz takes a table that runs beyond the file's end for a short one: pictures would be missing in
 * silence. */
static bool is_whole(const dt_map *map, const char *path, dt_error *error)
{
    if (map->size < 12 || !memcmp(map->data, "ttcf", 4))
        return true;
    size_t tables = big_endian(map->data + 4) >> 16;
    for (size_t i = 0; i < tables && 28 + 16 * i <= map->size; i++) {
        const uint8_t *record = map->data + 12 + 16 * i;
        uint64_t end = (uint64_t)big_endian(record + 8) + big_endian(record + 12);
        if (end > map->size)
            return dt_fail(
                error,
                "%s: cut short: table %zu should end at byte %llu, the file has %zu; install Debian's "
                "fonts-noto-color-emoji again",
                path, i, (unsigned long long)end, map->size);
    }
    return true;
}

dt_emoji_font *dt_emoji_font_open(const char *path, dt_error *error)
{
    path = path ? path : DT_EMOJI_FONT_FILE;
    if (!dt_file_exists(path)) {
        dt_fail(error,
                "%s: no such file; install Debian's fonts-noto-color-emoji or name another colour font",
                path);
        return NULL;
    }
    dt_emoji_font *font = calloc(1, sizeof *font);
    bool good = font && (font->path = strdup(path));
    if (!good)
        dt_fail(error, "%s: no memory to open the font", path);
    good = good && dt_map_open(&font->map, path, error);
    if (good && font->map.size > UINT32_MAX)
        good = dt_fail(error, "%s: %zu bytes; expected a font of less than 4 GiB", path, font->map.size);
    if (good) {
        font->blob = hb_blob_create((const char *)font->map.data, (unsigned)font->map.size,
                                    HB_MEMORY_MODE_READONLY, NULL, NULL);
        font->face = hb_face_create(font->blob, 0);
        font->font = hb_font_create(font->face);
        font->buffer = hb_buffer_create();
        if (!hb_face_get_glyph_count(font->face) || !hb_ot_color_has_png(font->face))
            good = dt_fail(error,
                           "%s: no font with PNG pictures; expected NotoColorEmoji.ttf of Debian's "
                           "fonts-noto-color-emoji",
                           path);
    }
    good = good && is_whole(&font->map, path, error);
    if (good)
        return font;
    dt_emoji_font_close(font);
    return NULL;
}

void dt_emoji_font_close(dt_emoji_font *font)
{
    if (!font)
        return;
    hb_buffer_destroy(font->buffer);
    hb_font_destroy(font->font);
    hb_face_destroy(font->face);
    hb_blob_destroy(font->blob);
    dt_map_close(&font->map);
    free(font->path);
    free(font);
}

uint32_t dt_emoji_font_glyph(dt_emoji_font *font, const uint32_t *codes, int count)
{
    hb_buffer_t *buffer = font->buffer;
    hb_buffer_reset(buffer);
    hb_buffer_set_flags(buffer, HB_BUFFER_FLAG_REMOVE_DEFAULT_IGNORABLES);
    hb_buffer_add_codepoints(buffer, codes, count, 0, count);
    /* All is fixed, so that no locale of the user's has a say. */
    hb_buffer_set_direction(buffer, HB_DIRECTION_LTR);
    hb_buffer_set_script(buffer, HB_SCRIPT_COMMON);
    hb_buffer_set_language(buffer, hb_language_from_string("und", -1));
    hb_shape(font->font, buffer, NULL, 0);
    unsigned length = 0;
    const hb_glyph_info_t *glyphs = hb_buffer_get_glyph_infos(buffer, &length);
    return length == 1 ? glyphs[0].codepoint : 0;
}

/* Lays a picture in the middle of a white square that is as wide as its longer side. */
static bool lay_on_square(const dt_image *picture, dt_image *square, dt_error *error)
{
    int side = picture->width > picture->height ? picture->width : picture->height;
    if (!dt_image_reserve(square, side, side, 3, error))
        return false;
    size_t left = (size_t)(side - picture->width) / 2 * 3, top = (size_t)(side - picture->height) / 2;
    for (size_t y = 0; y < (size_t)side; y++)
        memset(square->pixels + y * square->stride, 255, (size_t)side * 3);
    for (size_t y = 0; y < (size_t)picture->height; y++)
        memcpy(square->pixels + (top + y) * square->stride + left, picture->pixels + y * picture->stride,
               (size_t)picture->width * 3);
    return true;
}

bool dt_emoji_font_picture(dt_emoji_font *font, uint32_t glyph, dt_image *image, dt_error *error)
{
    hb_blob_t *blob = hb_ot_color_glyph_reference_png(font->font, glyph);
    unsigned size = 0;
    const uint8_t *data = (const uint8_t *)hb_blob_get_data(blob, &size);
    dt_image picture = {0};
    bool good = true;
    image->width = image->height = 0;
    if (size)
        good = dt_png_decode(data, size, &picture, error) ||
               dt_fail_prefix(error, "%s: glyph %u", font->path, (unsigned)glyph);
    if (good && size)
        good = lay_on_square(&picture, image, error);
    dt_image_free(&picture);
    hb_blob_destroy(blob);
    return good;
}
