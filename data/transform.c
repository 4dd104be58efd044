#include "data/transform.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/colour.h"
#include "data/jpeg.h"
#include "data/shuffle.h"

struct dt_transform_scratch {
    dt_jpeg_decoder *decoder;
    dt_resampler *resampler;
    dt_image decoded, resized, rgb;
};

/* The geometry drawn for one sample. `view` is the part of the decoded picture (reduced by eighths / 8) that
 * exists for the resampling; x and y count from its corner. The result is laid at left, top of the square. */
typedef struct plan {
    int eighths;
    int view_x, view_y;
    dt_axis x, y;
    int left, top;
    bool reflect;
} plan;

/* What each random number of a sample is for. */
enum {
    FLIP,
    AREA,
    ASPECT,
    LEFT,
    TOP,
    SCALE,
    COLOUR,
    BRIGHTNESS,
    CONTRAST,
    SATURATION,
    HUE,
    ORDER,
    GRAYSCALE
};

static double between(uint64_t seed, int what, int turn, double least, double most)
{
    return least + (most - least) * dt_uniform(seed, (uint64_t)what, (uint64_t)turn);
}

static bool happens(uint64_t seed, int what, double probability)
{
    return dt_uniform(seed, (uint64_t)what, 0) < probability;
}

/* Uniform on 0 .. most. */
static int index_to(uint64_t seed, int what, int turn, int most)
{
    int i = (int)(dt_uniform(seed, (uint64_t)what, (uint64_t)turn) * ((double)most + 1));
    return i < most ? i : most;
}

/* Of a margin of so many pixels, those before the central crop. */
static int margin_before(int margin, bool floor)
{
    return floor ? margin / 2 : (int)nearbyint(margin / 2.0); /* ties to even, as Python's round */
}

static bool plan_eval(const dt_transform *t, int width, int height, plan *p, dt_error *error)
{
    int64_t shorter = width < height ? width : height, longer = width < height ? height : width;
    int resize = t->resize ? t->resize : t->size;
    int64_t grown = t->squash ? resize : resize * longer / shorter;
    if (grown > INT_MAX)
        return dt_fail(error, "a picture of %dx%d pixels is too long and thin to resize to %d", width, height,
                       resize);
    *p = (plan){.eighths = 8,
                .x = dt_axis_whole(width, width < height ? resize : (int)grown),
                .y = dt_axis_whole(height, width < height ? (int)grown : resize)};
    p->x.first = margin_before(p->x.size - t->size, t->floor_crop);
    p->y.first = margin_before(p->y.size - t->size, t->floor_crop);
    p->x.count = p->y.count = t->size;
    return true;
}

typedef struct rectangle {
    int x, y, width, height;
} rectangle;

static rectangle draw_crop(const dt_transform *t, int width, int height, uint64_t seed)
{
    double area = (double)width * height;
    for (int turn = 0; turn < 10; turn++) {
        double target = area * between(seed, AREA, turn, t->scale[0], t->scale[1]);
        double aspect = exp(between(seed, ASPECT, turn, log(t->ratio[0]), log(t->ratio[1])));
        double w = nearbyint(sqrt(target * aspect)), h = nearbyint(sqrt(target / aspect));
        if (w >= 1 && w <= width && h >= 1 && h <= height)
            return (rectangle){index_to(seed, LEFT, turn, width - (int)w),
                               index_to(seed, TOP, turn, height - (int)h), (int)w, (int)h};
    }
    double w = fmin(width, fmax(1, nearbyint(height * t->ratio[1])));
    double h = fmin(height, fmax(1, nearbyint(width / t->ratio[0])));
    return (rectangle){(width - (int)w) / 2, (height - (int)h) / 2, (int)w, (int)h};
}

static int choose_eighths(int width, int height, int size)
{
    int eighths = 8;
    while (eighths > 1 && width * (eighths / 2) / 8 >= size && height * (eighths / 2) / 8 >= size)
        eighths /= 2;
    return eighths;
}

/* One axis of a crop, [from, from + length) of the full picture, within the picture reduced by eighths / 8.
 */
static dt_axis crop_axis(int from, int length, int eighths, int size, int *view)
{
    int end = from + length, first = from * eighths / 8, last = (end * eighths + 7) / 8;
    *view = first;
    return (dt_axis){.length = last - first,
                     .from = from * eighths / 8.0 - first,
                     .to = end * eighths / 8.0 - first,
                     .size = size,
                     .count = size};
}

static void plan_crop(const dt_transform *t, int width, int height, bool reduce, uint64_t seed, plan *p)
{
    rectangle crop = draw_crop(t, width, height, seed);
    *p = (plan){.eighths = reduce ? choose_eighths(crop.width, crop.height, t->size) : 8};
    p->x = crop_axis(crop.x, crop.width, p->eighths, t->size, &p->view_x);
    p->y = crop_axis(crop.y, crop.height, p->eighths, t->size, &p->view_y);
}

/* Lays `length` pixels, enlarged to `grown`, across `size`, moved by `shift` pixels from the middle. */
static dt_axis jitter_axis(int length, int grown, int size, double shift, int *place)
{
    int at = (int)nearbyint((size - grown) / 2.0 + shift);
    at = at < 1 - grown ? 1 - grown : at > size - 1 ? size - 1 : at;
    dt_axis axis = dt_axis_whole(length, grown);
    axis.first = at < 0 ? -at : 0;
    axis.count = (at + grown < size ? at + grown : size) - (at + axis.first);
    *place = at + axis.first;
    return axis;
}

static void plan_jitter(const dt_transform *t, int width, int height, uint64_t seed, plan *p)
{
    double longer = nearbyint(t->size * between(seed, SCALE, 0, t->scale[0], t->scale[1]));
    double ratio = fmax(longer, 1) / (width > height ? width : height), reach = t->shift * t->size;
    int grown_x = (int)fmax(1, nearbyint(width * ratio)), grown_y = (int)fmax(1, nearbyint(height * ratio));
    *p = (plan){.eighths = 8};
    p->x = jitter_axis(width, grown_x, t->size, between(seed, LEFT, 0, -reach, reach), &p->left);
    p->y = jitter_axis(height, grown_y, t->size, between(seed, TOP, 0, -reach, reach), &p->top);
}

static bool make_plan(const dt_transform *t, int width, int height, bool reduce, uint64_t seed, plan *p,
                      dt_error *error)
{
    if (t->mode == DT_TRANSFORM_RANDOM_RESIZED_CROP)
        plan_crop(t, width, height, reduce, seed, p);
    else if (t->mode == DT_TRANSFORM_JITTER)
        plan_jitter(t, width, height, seed, p);
    else if (!plan_eval(t, width, height, p, error))
        return false;
    if (t->mode == DT_TRANSFORM_EVAL)
        return true;
    if (happens(seed, FLIP, t->flip)) {
        p->x.mirror = true;
        p->left = t->size - p->left - p->x.count;
    }
    if (t->mode == DT_TRANSFORM_PAD_CROP) {
        p->left = t->padding - index_to(seed, LEFT, 0, 2 * t->padding);
        p->top = t->padding - index_to(seed, TOP, 0, 2 * t->padding);
        p->reflect = t->reflect;
    }
    return true;
}

/* float = byte * scale + bias, for a period of eight pixels: whole vectors, whatever their width. */
#define PERIOD 24
typedef struct affine {
    float scale[PERIOD], bias[PERIOD];
} affine;

static affine affine_of(const float mean[3], const float std[3])
{
    affine a;
    for (int c = 0; c < 3; c++) {
        a.scale[c] = (float)(1 / (255.0 * std[c]));
        a.bias[c] = (float)(-(double)mean[c] / std[c]);
    }
    for (int i = 3; i < PERIOD; i++) {
        a.scale[i] = a.scale[i - 3];
        a.bias[i] = a.bias[i - 3];
    }
    return a;
}

static void apply(const affine *a, const uint8_t *restrict from, int pixels, float *restrict to)
{
    size_t n = 3 * (size_t)pixels, i = 0;
    for (; i + PERIOD <= n; i += PERIOD)
        for (size_t k = 0; k < PERIOD; k++)
            to[i + k] = (float)from[i + k] * a->scale[k] + a->bias[k];
    for (size_t k = 0; i + k < n; k++)
        to[i + k] = (float)from[i + k] * a->scale[k] + a->bias[k];
}

/* Lays pixels into the output from pixel `at` on; a NULL: as bytes. */
static void put(const affine *a, const uint8_t *from, int pixels, void *out, size_t at)
{
    if (a)
        apply(a, from, pixels, (float *)out + 3 * at);
    else
        memcpy((uint8_t *)out + 3 * at, from, 3 * (size_t)pixels);
}

/* Reflects an index into 0 .. n - 1 without repeating the edge. */
static int reflected(int i, int n)
{
    if (n == 1)
        return 0;
    i = abs(i) % (2 * (n - 1));
    return i < n ? i : 2 * (n - 1) - i;
}

/* The columns [begin, end) of a line of the square, from pixel `line` on, that lie beside the picture; row NULL: above or
 * below it. */
static void surround(const dt_transform *t, const plan *p, const uint8_t *row, int width, const affine *a,
                     int begin, int end, void *out, size_t line)
{
    for (int x = begin; x < end; x++) {
        const uint8_t *pixel = p->reflect ? row + 3 * reflected(x - p->left, width) : t->background;
        put(a, pixel, 1, out, line + (size_t)x);
    }
}

static void compose(const dt_transform *t, const plan *p, const dt_image *rgb, const affine *a, void *out)
{
    int begin = p->left > 0 ? p->left : 0;
    int end = p->left + rgb->width < t->size ? p->left + rgb->width : t->size;
    for (int y = 0; y < t->size; y++) {
        size_t line = (size_t)y * (size_t)t->size;
        if (!p->reflect && (y < p->top || y >= p->top + rgb->height)) {
            surround(t, p, NULL, rgb->width, a, 0, t->size, out, line);
            continue;
        }
        const uint8_t *row = rgb->pixels + (size_t)reflected(y - p->top, rgb->height) * rgb->stride;
        surround(t, p, row, rgb->width, a, 0, begin, out, line);
        put(a, row + 3 * (size_t)(begin - p->left), end - begin, out, line + (size_t)begin);
        surround(t, p, row, rgb->width, a, end, t->size, out, line);
    }
}

static void jitter_colour(const dt_transform *t, uint64_t seed, float *rgb, size_t count)
{
    void (*const adjust[4])(float *, size_t, float) = {dt_adjust_brightness, dt_adjust_contrast,
                                                       dt_adjust_saturation, dt_adjust_hue};
    const double strength[4] = {t->brightness, t->contrast, t->saturation, t->hue};
    int order[4] = {0, 1, 2, 3};
    for (int i = 3; i > 0; i--) {
        int j = index_to(seed, ORDER, i, i), swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    for (int i = 0; i < 4; i++) {
        int kind = order[i];
        double centre = kind == 3 ? 0 : 1, least = centre - strength[kind];
        if (strength[kind] > 0)
            adjust[kind](rgb, count,
                         (float)between(seed, BRIGHTNESS + kind, 0, kind == 3 ? least : fmax(0, least),
                                        centre + strength[kind]));
    }
}

/* In random colours: (x / 255, changed, - mean) / std. */
static void recolour(const dt_transform *t, const plan *p, const dt_image *rgb, uint64_t seed, bool jitter, bool grey,
                     float *out)
{
    const affine unit = affine_of((float[3]){0, 0, 0}, (float[3]){1, 1, 1});
    size_t count = (size_t)t->size * (size_t)t->size;
    compose(t, p, rgb, &unit, out);
    if (jitter)
        jitter_colour(t, seed, out, count);
    if (grey)
        dt_adjust_saturation(out, count, 0);
    for (size_t i = 0; i < count; i++)
        for (size_t c = 0; c < 3; c++)
            out[3 * i + c] = (out[3 * i + c] - t->mean[c]) / t->std[c];
}

static void finish(const dt_transform *t, const plan *p, const dt_image *rgb, uint64_t seed, void *out)
{
    bool random = t->mode != DT_TRANSFORM_EVAL;
    bool jitter = random && happens(seed, COLOUR, t->colour_jitter);
    bool grey = random && happens(seed, GRAYSCALE, t->grayscale);
    const affine a = affine_of(t->mean, t->std);
    if (jitter || grey)
        recolour(t, p, rgb, seed, jitter, grey, out);
    else
        compose(t, p, rgb, t->bytes ? NULL : &a, out);
}

/* Whether the pixels along an axis stay as they are: both filters are 0 at whole distances but 0, so that at scale 1
 * from a whole pixel on resampling would copy. */
static bool copies(const dt_axis *axis)
{
    return axis->to - axis->from == axis->size && axis->from == floor(axis->from);
}

static size_t first_pixel(const dt_axis *axis)
{
    return (size_t)((int)axis->from + axis->first - axis->origin);
}

static void mirror_rows(dt_image *rgb)
{
    for (int y = 0; y < rgb->height; y++) {
        uint8_t *left = rgb->pixels + (size_t)y * rgb->stride, *right = left + 3 * (rgb->width - 1);
        for (; left < right; left += 3, right -= 3)
            for (int c = 0; c < 3; c++) {
                uint8_t swap = left[c];
                left[c] = right[c];
                right[c] = swap;
            }
    }
}

/* What dt_resample would give where both axes copy. RGB that is not mirrored is used where it lies. */
static bool render_copy(const dt_transform *t, dt_transform_scratch *s, const dt_image *source, const plan *p,
                        uint64_t seed, void *out, dt_error *error)
{
    dt_image part = *source;
    part.pixels += first_pixel(&p->y) * source->stride + first_pixel(&p->x) * (size_t)source->channels;
    part.width = p->x.count;
    part.height = p->y.count;
    if (part.channels != 3 || p->x.mirror) {
        if (!dt_image_to_rgb(&part, &s->rgb, error))
            return false;
        if (p->x.mirror)
            mirror_rows(&s->rgb);
        part = s->rgb;
    }
    finish(t, p, &part, seed, out);
    return true;
}

static bool render(const dt_transform *t, dt_transform_scratch *s, const dt_image *source, const plan *p,
                   uint64_t seed, void *out, dt_error *error)
{
    if (copies(&p->x) && copies(&p->y))
        return render_copy(t, s, source, p, seed, out, error);
    if (!dt_resample(s->resampler, source, p->x, p->y, t->interpolation, &s->resized, error))
        return false;
    if (s->resized.channels != 3 && !dt_image_to_rgb(&s->resized, &s->rgb, error))
        return false;
    finish(t, p, s->resized.channels == 3 ? &s->resized : &s->rgb, seed, out);
    return true;
}

bool dt_transform_jpeg(const dt_transform *t, dt_transform_scratch *s, const uint8_t *jpeg, size_t size,
                       uint64_t seed, void *out, dt_error *error)
{
    dt_jpeg_header header;
    plan p;
    int left, right, top, bottom, origin;
    if (!dt_jpeg_open(s->decoder, jpeg, size, &header, error) ||
        !make_plan(t, header.width, header.height, !t->full_decode, seed, &p, error))
        return false;
    dt_axis_support(&p.x, t->interpolation, &left, &right);
    dt_axis_support(&p.y, t->interpolation, &top, &bottom);
    dt_jpeg_window window = {.x = p.view_x + left,
                             .y = p.view_y + top,
                             .width = right - left,
                             .height = bottom - top,
                             .eighths = p.eighths};
    if (!dt_jpeg_read(s->decoder, window, &s->decoded, &origin, error))
        return false;
    p.x.origin = origin - p.view_x;
    p.y.origin = top;
    return render(t, s, &s->decoded, &p, seed, out, error);
}

bool dt_transform_pixels(const dt_transform *t, dt_transform_scratch *s, const dt_image *image, uint64_t seed,
                         void *out, dt_error *error)
{
    plan p;
    if (image->width < 1 || image->height < 1)
        return dt_fail(error, "an image of %dx%d pixels cannot be transformed", image->width, image->height);
    if (!make_plan(t, image->width, image->height, false, seed, &p, error))
        return false;
    p.x.origin = -p.view_x;
    p.y.origin = -p.view_y;
    return render(t, s, image, &p, seed, out, error);
}

bool dt_transform_encoded(const dt_transform *t, dt_transform_scratch *s, const uint8_t *bytes, size_t size,
                          uint64_t seed, void *out, dt_error *error)
{
    if (size >= 2 && bytes[0] == 0xff && bytes[1] == 0xd8)
        return dt_transform_jpeg(t, s, bytes, size, seed, out, error);
    return dt_image_decode(bytes, size, &s->decoded, error) &&
           dt_transform_pixels(t, s, &s->decoded, seed, out, error);
}

dt_transform_scratch *dt_transform_scratch_new(dt_error *error)
{
    dt_transform_scratch *s = calloc(1, sizeof *s);
    if (!s) {
        dt_fail(error, "no memory for a transform");
        return NULL;
    }
    s->decoder = dt_jpeg_decoder_new(error);
    s->resampler = s->decoder ? dt_resampler_new(error) : NULL;
    if (s->resampler)
        return s;
    dt_transform_scratch_free(s);
    return NULL;
}

void dt_transform_scratch_free(dt_transform_scratch *s)
{
    if (!s)
        return;
    dt_jpeg_decoder_free(s->decoder);
    dt_resampler_free(s->resampler);
    dt_image_free(&s->decoded);
    dt_image_free(&s->resized);
    dt_image_free(&s->rgb);
    free(s);
}
