#include "data/scatter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/png.h"
#include "data/sheet.h"

static const uint8_t real_colour[3] = {96, 96, 96}, generated_colour[3] = {20, 90, 200};
static const float opacity = 0.4f;

/* A dot is larger in a larger square. */
static float radius_of(int side)
{
    return fmaxf(1.2f, (float)side / 160);
}

/* A disc around x, y (pixels; a pixel's middle is at .5) with soft edges. */
static void draw_dot(uint8_t *square, int side, float x, float y, const uint8_t colour[3])
{
    float radius = radius_of(side), reach = radius + 1;
    int left = (int)fmaxf(0, floorf(x - reach)), right = (int)fminf((float)side, ceilf(x + reach));
    int top = (int)fmaxf(0, floorf(y - reach)), bottom = (int)fminf((float)side, ceilf(y + reach));
    for (int row = top; row < bottom; row++)
        for (int column = left; column < right; column++) {
            float distance = hypotf((float)column + 0.5f - x, (float)row + 0.5f - y);
            float cover = opacity * fminf(fmaxf(radius + 0.5f - distance, 0), 1);
            uint8_t *pixel = square + ((size_t)row * (size_t)side + (size_t)column) * 3;
            for (int c = 0; c < 3; c++)
                pixel[c] = (uint8_t)((1 - cover) * pixel[c] + cover * colour[c] + 0.5f);
        }
}

static void draw_cloud(uint8_t *square, int side, const dt_scatter *s, const float *points, size_t count,
                       const uint8_t colour[3])
{
    for (size_t i = 0; i < count; i++) {
        float x = (points[2 * i] - s->low) / (s->high - s->low), y = (points[2 * i + 1] - s->low) / (s->high - s->low);
        if (x >= 0 && x <= 1 && y >= 0 && y <= 1)
            draw_dot(square, side, x * (float)side, (1 - y) * (float)side, colour);
    }
}

static bool check(const dt_scatter *scatters, size_t count, int columns, int side, dt_error *error)
{
    if (!count || count > DT_SCATTERS_MOST || columns < 0 || side < 1 || side > DT_SCATTER_SIDE_MOST)
        return dt_fail(error,
                       "%zu scatter plots of %d pixels in %d columns cannot be drawn: expected 1 to %d of 1 to %d pixels",
                       count, side, columns, DT_SCATTERS_MOST, DT_SCATTER_SIDE_MOST);
    for (size_t i = 0; i < count; i++) {
        const dt_scatter *s = &scatters[i];
        if (!(isfinite(s->low) && isfinite(s->high) && s->low < s->high))
            return dt_fail(error, "scatter plot %zu: %g to %g is no range: expected low below high", i, (double)s->low,
                           (double)s->high);
    }
    return true;
}

bool dt_scatter_draw(const dt_scatter *scatters, size_t count, int columns, int side, dt_image *image, dt_error *error)
{
    if (!check(scatters, count, columns, side, error))
        return false;
    size_t bytes = (size_t)side * (size_t)side * 3;
    uint8_t *squares = malloc(count * bytes);
    if (!squares)
        return dt_fail(error, "no memory for %zu scatter plots of %d pixels", count, side);
    memset(squares, 255, count * bytes);
    for (size_t i = 0; i < count; i++) {
        const dt_scatter *s = &scatters[i];
        draw_cloud(squares + i * bytes, side, s, s->real, s->real_count, real_colour);
        draw_cloud(squares + i * bytes, side, s, s->generated, s->generated_count, generated_colour);
    }
    bool good = dt_sheet_draw(&(dt_sheet){.bytes = squares,
                                          .count = count,
                                          .height = side,
                                          .width = side,
                                          .channels = 3,
                                          .columns = columns ? columns : (int)count,
                                          .zoom = 1},
                              image, error);
    free(squares);
    return good;
}

bool dt_scatter_write(const char *path, const dt_scatter *scatters, size_t count, int columns, int side, dt_error *error)
{
    dt_image image = {0};
    bool good = dt_scatter_draw(scatters, count, columns, side, &image, error) && dt_png_write(path, &image, error);
    dt_image_free(&image);
    return good;
}
