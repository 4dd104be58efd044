#include "data/sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/file.h"
#include "data/jpeg.h"
#include "data/png.h"
#include "data/shuffle.h"

/* Each use of the seed draws from a stream of its own. */
enum { CAPTION = 1, AUGMENT = 2 };

struct dt_sample_scratch {
    dt_transform_scratch *transform;
    dt_jpeg_decoder *decoder;
    dt_image decoded, rgb;
};

dt_sample_scratch *dt_sample_scratch_new(dt_error *error)
{
    dt_sample_scratch *scratch = calloc(1, sizeof *scratch);
    if (!scratch) {
        dt_fail(error, "no memory for a loader thread");
        return NULL;
    }
    scratch->transform = dt_transform_scratch_new(error);
    scratch->decoder = scratch->transform ? dt_jpeg_decoder_new(error) : NULL;
    if (!scratch->decoder) {
        dt_sample_scratch_free(scratch);
        return NULL;
    }
    return scratch;
}

void dt_sample_scratch_free(dt_sample_scratch *scratch)
{
    if (!scratch)
        return;
    dt_transform_scratch_free(scratch->transform);
    dt_jpeg_decoder_free(scratch->decoder);
    dt_image_free(&scratch->decoded);
    dt_image_free(&scratch->rgb);
    free(scratch);
}

/* How far a picture is reduced before it is kept: the short side stays at least twice the output's, so that a
 * crop of a quarter of the picture is still not enlarged. Evaluation reduces nothing: it must match the
 * references. */
static int kept_eighths(const dt_transform *transform, int width, int height)
{
    int shorter = width < height ? width : height, eighths = 8;
    if (transform->mode == DT_TRANSFORM_EVAL || transform->full_decode)
        return eighths;
    while (eighths > 1 && (int64_t)shorter * (eighths / 2) >= (int64_t)8 * 2 * transform->size)
        eighths /= 2;
    return eighths;
}

/* Reduced as it may be. */
static bool decode_jpeg(const dt_sample_maker *maker, dt_sample_scratch *scratch, const dt_pair *pair, dt_error *error)
{
    dt_jpeg_header header;
    if (!dt_jpeg_open(scratch->decoder, pair->jpeg, pair->jpeg_size, &header, error))
        return false;
    int eighths = kept_eighths(&maker->transform, header.width, header.height), origin_x;
    const dt_jpeg_window whole = {.width = (header.width * eighths + 7) / 8,
                                  .height = (header.height * eighths + 7) / 8,
                                  .eighths = eighths};
    return dt_jpeg_read(scratch->decoder, whole, &scratch->decoded, &origin_x, error);
}

/* Decodes to what the cache holds: grey, RGB, or inks. *picture is borrowed from the scratch. */
static bool decode(const dt_sample_maker *maker, dt_sample_scratch *scratch, const dt_pair *pair,
                   dt_image *picture, dt_error *error)
{
    dt_image *from = &scratch->decoded;
    if (!(dt_is_png(pair->jpeg, pair->jpeg_size) ? dt_png_decode(pair->jpeg, pair->jpeg_size, from, error)
                                                 : decode_jpeg(maker, scratch, pair, error)))
        return false;
    if (!dt_image_drop_colour(from) && from->channels == 4 && !from->inks) {
        if (!dt_image_to_rgb(from, &scratch->rgb, error))
            return false;
        from = &scratch->rgb;
    }
    *picture = *from;
    picture->capacity = 0;
    return true;
}

static bool make_image(const dt_sample_maker *maker, dt_sample_scratch *scratch, uint64_t index,
                       const dt_pair *pair, uint64_t seed, void *out, dt_error *error)
{
    if (!maker->cache)
        return dt_transform_encoded(&maker->transform, scratch->transform, pair->jpeg, pair->jpeg_size, seed,
                                    out, error);
    dt_image picture;
    if (!decode(maker, scratch, pair, &picture, error))
        return false;
    dt_pixel_cache_put(maker->cache, index, &picture, pair->label);
    return dt_transform_pixels(&maker->transform, scratch->transform, &picture, seed, out, error);
}

static bool encode(const dt_sample_maker *maker, const char *text, size_t size, int32_t *tokens,
                   dt_error *error)
{
    return dt_tokenizer_encode_padded(maker->tokenizer, text, size, tokens, maker->context, error);
}

/* The template with the first "{}" replaced by the class name. */
static bool encode_class(const dt_sample_maker *maker, const dt_pair *pair, int32_t *tokens, dt_error *error)
{
    const char *name = pair->label >= 0 ? dt_pairs_class_name(maker->pairs, (size_t)pair->label) : NULL;
    if (!name || !maker->class_caption)
        return dt_fail(error, "it has no caption%s",
                       name ? ", and no caption for classes is set" : " and no class");
    const char *hole = strstr(maker->class_caption, "{}");
    int before = hole ? (int)(hole - maker->class_caption) : (int)strlen(maker->class_caption);
    size_t room = strlen(maker->class_caption) + strlen(name) + 1;
    char *text = malloc(room);
    if (!text)
        return dt_fail(error, "no memory for a caption");
    int size = snprintf(text, room, "%.*s%s%s", before, maker->class_caption, hole ? name : "",
                        hole ? hole + 2 : "");
    bool good = encode(maker, text, (size_t)size, tokens, error);
    free(text);
    return good;
}

static bool make_from_file(const dt_sample_maker *maker, dt_sample_scratch *scratch, const char *path, uint64_t seed,
                           void *out, dt_error *error)
{
    size_t size;
    uint8_t *bytes = (uint8_t *)dt_file_read(path, DT_PAIR_BYTES_MAX, &size, error);
    if (!bytes)
        return false; /* the message names the file */
    bool good = dt_transform_encoded(&maker->transform, scratch->transform, bytes, size, seed, out, error);
    free(bytes);
    return good || dt_fail_prefix(error, "%s", path);
}

static bool make_tokens(const dt_sample_maker *maker, const dt_pair *pair, uint64_t epoch, uint64_t position,
                        int32_t *tokens, dt_error *error)
{
    if (!maker->tokenizer)
        return true;
    if (!pair->caption_count)
        return encode_class(maker, pair, tokens, error);
    uint64_t drawn = dt_hash64(dt_hash64(maker->seed, CAPTION, 0), epoch, position);
    size_t size;
    const char *caption = dt_pair_caption(pair, drawn % pair->caption_count, &size);
    return encode(maker, caption, size, tokens, error);
}

bool dt_sample_make(const dt_sample_maker *maker, dt_sample_scratch *scratch, uint64_t index, uint64_t epoch,
                    uint64_t position, const dt_sample *out, dt_error *error)
{
    dt_pair pair;
    dt_image kept;
    uint64_t seed = dt_hash64(dt_hash64(maker->seed, AUGMENT, 0), epoch, position);
    if (maker->files) {
        *out->label = maker->files->labels[index];
        return make_from_file(maker, scratch, maker->files->paths[index], seed, out->image, error);
    }
    bool cached = maker->cache && dt_pixel_cache_get(maker->cache, index, &kept, out->label);
    if (!cached || maker->tokenizer) { /* else the store has nothing more to tell */
        if (!dt_pairs_get(maker->pairs, index, &pair, error))
            return false;
        *out->label = pair.label;
        if (!make_tokens(maker, &pair, epoch, position, out->tokens, error))
            return false;
    }
    return cached ? dt_transform_pixels(&maker->transform, scratch->transform, &kept, seed, out->image, error)
                  : make_image(maker, scratch, index, &pair, seed, out->image, error);
}
