#include "data/sheet.h"

#include <math.h>
#include <string.h>

#include "data/png.h"

enum { GAP_SHADE = 128 }; /* seen beside black and beside white */

static const uint8_t nan_colour[3] = {255, 0, 255};

/* Where pictures stand. A block is a picture, or a pair of them, one above the other. */
typedef struct layout {
    int64_t columns, zoom;
    int64_t across, down; /* of a picture, magnified */
    int64_t block_down, block_gap;
    int64_t width, height; /* of the sheet */
} layout;

static layout lay_out(const dt_sheet *s, int64_t columns, int64_t zoom)
{
    int64_t rows = ((int64_t)s->count + columns - 1) / columns;
    layout l = {.columns = columns, .zoom = zoom, .across = s->width * zoom, .down = s->height * zoom};
    l.block_down = s->below ? 2 * l.down + DT_SHEET_GAP : l.down;
    l.block_gap = s->below ? DT_SHEET_PAIR_GAP : DT_SHEET_GAP;
    l.width = columns * (l.across + DT_SHEET_GAP) + DT_SHEET_GAP;
    l.height = rows * (l.block_down + l.block_gap) - l.block_gap + 2 * DT_SHEET_GAP;
    return l;
}

static int64_t columns_of(const dt_sheet *s)
{
    double shape = (double)s->height * (s->below ? 2 : 1) / s->width;
    int64_t columns = s->columns ? s->columns : (int64_t)ceil(sqrt((double)s->count * shape));
    return columns < (int64_t)s->count ? columns : (int64_t)s->count;
}

static layout lay_out_magnified(const dt_sheet *s)
{
    int64_t columns = columns_of(s);
    if (s->zoom)
        return lay_out(s, columns, s->zoom);
    layout best = lay_out(s, columns, 1);
    for (int zoom = 2; zoom <= DT_SHEET_ZOOM_MOST; zoom++) {
        layout l = lay_out(s, columns, zoom);
        if (l.width > DT_SHEET_WIDTH || l.height > DT_SHEET_HEIGHT)
            break;
        best = l;
    }
    return best;
}

static bool check(const dt_sheet *s, dt_error *error)
{
    if (!s->count || s->count > DT_SHEET_MOST)
        return dt_fail(error, "a sheet of %zu pictures cannot be drawn: expected 1 to %d", s->count, DT_SHEET_MOST);
    if (!s->floats == !s->bytes || (s->below && !s->floats))
        return dt_fail(error, "a sheet takes its pictures as floats (and `below`) or as bytes, one of the two");
    if (s->width < 1 || s->height < 1 || s->width > DT_IMAGE_MAX_SIDE || s->height > DT_IMAGE_MAX_SIDE)
        return dt_fail(error, "a sheet of pictures of %dx%d pixels cannot be drawn: expected sides of 1 to %d", s->width,
                       s->height, DT_IMAGE_MAX_SIDE);
    if (s->channels != 1 && s->channels != 3)
        return dt_fail(error, "a sheet of pictures with %d channels cannot be drawn: expected 1 or 3", s->channels);
    if ((s->low || s->high) && !(isfinite(s->low) && isfinite(s->high) && s->low < s->high))
        return dt_fail(error, "a sheet's values from %g to %g are no range: expected low below high", (double)s->low,
                       (double)s->high);
    if (s->columns < 0 || s->zoom < 0 || s->zoom > DT_SHEET_ZOOM_MOST)
        return dt_fail(error,
                       "a sheet of %d columns, magnified %d times, cannot be drawn: expected columns from 0 and 0 to %d "
                       "times",
                       s->columns, s->zoom, DT_SHEET_ZOOM_MOST);
    return true;
}

/* ---- pixels ---- */

static uint8_t shade(const dt_sheet *s, float value)
{
    float low = s->low, high = s->low || s->high ? s->high : 1;
    float share = (value - low) / (high - low);
    return (uint8_t)(fminf(fmaxf(share, 0), 1) * 255 + 0.5f);
}

static void colour_of(const dt_sheet *s, const float *floats, size_t pixel, uint8_t rgb[3])
{
    for (int c = 0; c < 3; c++) {
        size_t at = pixel * (size_t)s->channels + (size_t)(s->channels == 3 ? c : 0);
        rgb[c] = floats ? shade(s, floats[at]) : s->bytes[at];
        if (floats && isnan(floats[at])) {
            memcpy(rgb, nan_colour, 3);
            return;
        }
    }
}

/* Draws one picture of `floats` (NULL: of the bytes) with its upper left corner at x, y of the sheet. */
static void draw_picture(const dt_sheet *s, const layout *l, const float *floats, size_t index, dt_image *image, int64_t x,
                         int64_t y)
{
    size_t pixel = index * (size_t)s->height * (size_t)s->width, zoom = (size_t)l->zoom;
    for (int row = 0; row < s->height; row++) {
        uint8_t *first = image->pixels + (size_t)(y + row * l->zoom) * image->stride + (size_t)x * 3, *to = first;
        for (int column = 0; column < s->width; column++) {
            uint8_t rgb[3];
            colour_of(s, floats, pixel++, rgb);
            for (size_t i = 0; i < zoom; i++, to += 3)
                memcpy(to, rgb, 3);
        }
        for (size_t i = 1; i < zoom; i++)
            memcpy(first + i * image->stride, first, (size_t)(to - first));
    }
}

bool dt_sheet_draw(const dt_sheet *sheet, dt_image *image, dt_error *error)
{
    if (!check(sheet, error))
        return false;
    layout l = lay_out_magnified(sheet);
    if (l.width > DT_IMAGE_MAX_SIDE || l.height > DT_IMAGE_MAX_SIDE || l.width * l.height > DT_IMAGE_MAX_PIXELS)
        return dt_fail(error, "a sheet of %lldx%lld pixels is too large: at most %d, and %d a side; draw fewer pictures",
                       (long long)l.width, (long long)l.height, DT_IMAGE_MAX_PIXELS, DT_IMAGE_MAX_SIDE);
    if (!dt_image_reserve(image, (int)l.width, (int)l.height, 3, error))
        return false;
    memset(image->pixels, GAP_SHADE, image->stride * (size_t)image->height);
    for (size_t i = 0; i < sheet->count; i++) {
        int64_t x = DT_SHEET_GAP + (int64_t)i % l.columns * (l.across + DT_SHEET_GAP);
        int64_t y = DT_SHEET_GAP + (int64_t)i / l.columns * (l.block_down + l.block_gap);
        draw_picture(sheet, &l, sheet->floats, i, image, x, y);
        if (sheet->below)
            draw_picture(sheet, &l, sheet->below, i, image, x, y + l.down + DT_SHEET_GAP);
    }
    return true;
}

bool dt_sheet_write(const char *path, const dt_sheet *sheet, dt_error *error)
{
    dt_image image = {0};
    bool good = dt_sheet_draw(sheet, &image, error) && dt_png_write(path, &image, error);
    dt_image_free(&image);
    return good;
}
