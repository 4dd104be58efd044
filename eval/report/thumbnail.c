#include "eval/report/thumbnail.h"

#include "data/jpeg.h"
#include "data/png.h"
#include "data/resample.h"

enum { QUALITY = 80 };

/* The least reduction in the decoder that leaves `side` pixels. */
static int eighths_for(int longest, int side)
{
    for (int eighths = 1; eighths < 8; eighths *= 2)
        if ((int64_t)longest * eighths / 8 >= side)
            return eighths;
    return 8;
}

static bool decode_reduced(dt_jpeg_decoder *decoder, const uint8_t *jpeg, size_t size, int side,
                           dt_image *image, dt_error *error)
{
    dt_jpeg_header header;
    if (!dt_jpeg_open(decoder, jpeg, size, &header, error))
        return false;
    int longest = header.width > header.height ? header.width : header.height, origin;
    dt_jpeg_window window = {.eighths = eighths_for(longest, side)};
    window.width = (int)(((int64_t)header.width * window.eighths + 7) / 8);
    window.height = (int)(((int64_t)header.height * window.eighths + 7) / 8);
    return dt_jpeg_read(decoder, window, image, &origin, error);
}

/* RGB, larger than `side` or as large as the picture is. */
static bool decode(const uint8_t *bytes, size_t size, int side, dt_image *rgb, dt_error *error)
{
    if (dt_is_png(bytes, size))
        return dt_image_decode(bytes, size, rgb, error);
    dt_image image = {0};
    dt_jpeg_decoder *decoder = dt_jpeg_decoder_new(error);
    bool good = decoder && decode_reduced(decoder, bytes, size, side, &image, error) &&
                dt_image_to_rgb(&image, rgb, error);
    dt_image_free(&image);
    dt_jpeg_decoder_free(decoder);
    return good;
}

static int scaled(int length, int longest, int side)
{
    int to = longest > side ? (int)((int64_t)length * side / longest) : length;
    return to > 0 ? to : 1;
}

bool dt_thumbnail(const uint8_t *bytes, size_t size, int side, uint8_t **small, size_t *small_size,
                  dt_error *error)
{
    dt_image rgb = {0}, out = {0};
    dt_resampler *resampler = dt_resampler_new(error);
    bool good = resampler && decode(bytes, size, side, &rgb, error);
    if (good) {
        int longest = rgb.width > rgb.height ? rgb.width : rgb.height;
        good = dt_resample(resampler, &rgb, dt_axis_whole(rgb.width, scaled(rgb.width, longest, side)),
                           dt_axis_whole(rgb.height, scaled(rgb.height, longest, side)), DT_BILINEAR, &out,
                           error) &&
               dt_jpeg_encode(&out, QUALITY, true, small, small_size, error);
    }
    dt_image_free(&out);
    dt_image_free(&rgb);
    dt_resampler_free(resampler);
    return good;
}
