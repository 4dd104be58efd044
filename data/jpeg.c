#include "data/jpeg.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

/* libjpeg reports through callbacks; errors leave its functions by longjmp. Every function that calls setjmp
 * keeps its state in these structures, never in locals that change. */
typedef struct trap {
    struct jpeg_error_mgr manager; /* first: libjpeg's pointer to it is a pointer to this */
    jmp_buf jump;
    bool strict; /* a warning is an error */
    char message[JMSG_LENGTH_MAX + 64];
} trap;

struct dt_jpeg_decoder {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_progress_mgr progress;
    trap trap;
};

static void on_error(j_common_ptr jpeg)
{
    trap *t = (trap *)jpeg->err;
    t->manager.format_message(jpeg, t->message);
    longjmp(t->jump, 1);
}

static void on_warning(j_common_ptr jpeg, int level)
{
    trap *t = (trap *)jpeg->err;
    if (level >= 0)
        return;
    /* Either the bytes run out, or the end marker comes before the picture is complete. */
    if (t->manager.msg_code == JWRN_JPEG_EOF ||
        (t->manager.msg_code == JWRN_HIT_MARKER && ((j_decompress_ptr)jpeg)->unread_marker == JPEG_EOI)) {
        snprintf(t->message, sizeof t->message, "the data ends early: the file is truncated");
        longjmp(t->jump, 1);
    }
    if (t->strict)
        on_error(jpeg);
}

static void on_message(j_common_ptr jpeg)
{
    (void)jpeg;
}

static void on_progress(j_common_ptr common)
{
    j_decompress_ptr jpeg = (j_decompress_ptr)common;
    trap *t = (trap *)jpeg->err;
    int scans = jpeg->input_scan_number;
    uint64_t work = (uint64_t)scans * jpeg->image_width * jpeg->image_height;
    if (scans <= DT_JPEG_MAX_SCANS && (scans <= 10 || work <= UINT64_C(1) << 31))
        return;
    snprintf(t->message, sizeof t->message,
             "scan %d of a picture of %ux%u pixels: more work than any sound file asks for", scans,
             jpeg->image_width, jpeg->image_height);
    longjmp(t->jump, 1);
}

static struct jpeg_error_mgr *set_trap(trap *t)
{
    jpeg_std_error(&t->manager);
    t->manager.error_exit = on_error;
    t->manager.emit_message = on_warning;
    t->manager.output_message = on_message;
    return &t->manager;
}

static bool start_decoder(dt_jpeg_decoder *d, dt_error *error)
{
    d->jpeg.err = set_trap(&d->trap);
    if (setjmp(d->trap.jump))
        return dt_fail(error, "cannot start libjpeg: %s", d->trap.message);
    jpeg_create_decompress(&d->jpeg);
    d->progress.progress_monitor = on_progress;
    d->jpeg.progress = &d->progress;
    return true;
}

dt_jpeg_decoder *dt_jpeg_decoder_new(dt_error *error)
{
    dt_jpeg_decoder *d = calloc(1, sizeof *d);
    if (!d)
        dt_fail(error, "no memory for a JPEG decoder");
    else if (start_decoder(d, error))
        return d;
    dt_jpeg_decoder_free(d);
    return NULL;
}

void dt_jpeg_decoder_free(dt_jpeg_decoder *decoder)
{
    if (!decoder)
        return;
    jpeg_destroy_decompress(&decoder->jpeg);
    free(decoder);
}

static bool give_up(dt_jpeg_decoder *d, dt_error *error)
{
    jpeg_abort_decompress(&d->jpeg);
    return dt_fail(error, "JPEG: %s", d->trap.message);
}

static bool check_header(dt_jpeg_decoder *d, size_t size, dt_jpeg_header *header, dt_error *error)
{
    struct jpeg_decompress_struct *j = &d->jpeg;
    uint64_t pixels = (uint64_t)j->image_width * j->image_height;
    if (pixels > DT_IMAGE_MAX_PIXELS)
        return dt_fail(error,
                       "JPEG: %ux%u pixels are too many: at most %d are accepted (a decompression bomb?)",
                       j->image_width, j->image_height, DT_IMAGE_MAX_PIXELS);
    if (j->num_components != 1 && j->num_components != 3 && j->num_components != 4)
        return dt_fail(error, "JPEG: %d colour components, expected 1 (grey), 3 (colour) or 4 (CMYK)",
                       j->num_components);
    if (!j->arith_code && pixels / 256 > (uint64_t)size * 8)
        return dt_fail(error, "JPEG: %zu bytes cannot hold %ux%u pixels: the file is truncated or a trap",
                       size, j->image_width, j->image_height);
    *header = (dt_jpeg_header){.width = (int)j->image_width,
                               .height = (int)j->image_height,
                               .components = j->num_components,
                               .progressive = j->progressive_mode};
    return true;
}

bool dt_jpeg_open(dt_jpeg_decoder *d, const uint8_t *bytes, size_t size, dt_jpeg_header *header,
                  dt_error *error)
{
    if (size < 2 || bytes[0] != 0xff || bytes[1] != 0xd8)
        return dt_fail(error, "JPEG: %s",
                       size < 2 ? "the file is empty" : "not a JPEG file: it does not start with ff d8");
    if (setjmp(d->trap.jump))
        return give_up(d, error);
    jpeg_abort_decompress(&d->jpeg);
    jpeg_mem_src(&d->jpeg, bytes, size);
    jpeg_read_header(&d->jpeg, TRUE);
    if (check_header(d, size, header, error))
        return true;
    jpeg_abort_decompress(&d->jpeg);
    return false;
}

static void invert(uint8_t *row, size_t size)
{
    for (size_t i = 0; i < size; i++)
        row[i] = (uint8_t)~row[i];
}

/* Reads `height` rows of the opened and started picture; the format is set. */
static void read_rows(struct jpeg_decompress_struct *j, int height, dt_image *image)
{
    for (int y = 0; y < height;) {
        JSAMPROW rows[8];
        int count = height - y < 8 ? height - y : 8;
        for (int k = 0; k < count; k++)
            rows[k] = image->pixels + (size_t)(y + k) * image->stride;
        y += (int)jpeg_read_scanlines(j, rows, (JDIMENSION)count);
    }
    image->inks = j->out_color_space == JCS_CMYK;
    if (image->inks) /* files hold inverted inks, whatever their Adobe marker says: Pillow's convention */
        for (int y = 0; y < height; y++)
            invert(image->pixels + (size_t)y * image->stride, (size_t)image->width * 4);
}

/* Columns beside the window that smooth chroma up-sampling looks at. */
#define MARGIN 2

static bool start_window(struct jpeg_decompress_struct *j, dt_jpeg_window w, dt_image *image, int *origin_x,
                         dt_error *error)
{
    j->scale_num = (unsigned)w.eighths;
    j->scale_denom = 8;
    j->out_color_space = j->num_components == 4 ? JCS_CMYK : JCS_EXT_RGBX;
    jpeg_start_decompress(j);
    int width = (int)j->output_width, height = (int)j->output_height;
    if (w.x < 0 || w.y < 0 || w.width < 1 || w.height < 1 || w.x > width - w.width || w.y > height - w.height)
        return dt_fail(error, "JPEG: the window of %dx%d pixels at %d, %d is not within the picture of %dx%d",
                       w.width, w.height, w.x, w.y, width, height);
    int left = w.x > MARGIN ? w.x - MARGIN : 0;
    int right = w.x + w.width + MARGIN < width ? w.x + w.width + MARGIN : width;
    *origin_x = 0;
    if (left > 0 || right < width) {
        JDIMENSION at = (JDIMENSION)left, count = (JDIMENSION)(right - left);
        jpeg_crop_scanline(j, &at, &count);
        *origin_x = (int)at;
    }
    if (!dt_image_reserve(image, (int)j->output_width, w.height, 4, error))
        return false;
    if (w.y > 0)
        jpeg_skip_scanlines(j, (JDIMENSION)w.y);
    return true;
}

bool dt_jpeg_read(dt_jpeg_decoder *d, dt_jpeg_window window, dt_image *image, int *origin_x, dt_error *error)
{
    if (setjmp(d->trap.jump))
        return give_up(d, error);
    bool good = start_window(&d->jpeg, window, image, origin_x, error);
    if (good)
        read_rows(&d->jpeg, window.height, image);
    jpeg_abort_decompress(&d->jpeg); /* the rows below the window are never decoded */
    return good;
}

bool dt_jpeg_info(const uint8_t *bytes, size_t size, dt_jpeg_header *header, dt_error *error)
{
    dt_jpeg_decoder *d = dt_jpeg_decoder_new(error);
    bool good = d && dt_jpeg_open(d, bytes, size, header, error);
    dt_jpeg_decoder_free(d);
    return good;
}

/* One pass over the entropy-coded data, at 1/8 so that the inverse DCT costs nothing. */
static bool check_data(dt_jpeg_decoder *d, dt_image *row, dt_error *error)
{
    struct jpeg_decompress_struct *j = &d->jpeg;
    if (setjmp(d->trap.jump))
        return give_up(d, error);
    j->scale_num = 1;
    j->scale_denom = 8;
    jpeg_start_decompress(j);
    bool good = dt_image_reserve(row, (int)j->output_width, 1, 4, error);
    while (good && j->output_scanline < j->output_height) {
        JSAMPROW rows[1] = {row->pixels};
        jpeg_read_scanlines(j, rows, 1);
    }
    if (good)
        jpeg_finish_decompress(j);
    jpeg_abort_decompress(j);
    return good;
}

bool dt_jpeg_verify(const uint8_t *bytes, size_t size, dt_error *error)
{
    dt_jpeg_decoder *d = dt_jpeg_decoder_new(error);
    dt_jpeg_header header;
    dt_image row = {0};
    if (d)
        d->trap.strict = true;
    bool good = d && dt_jpeg_open(d, bytes, size, &header, error) && check_data(d, &row, error);
    dt_image_free(&row);
    dt_jpeg_decoder_free(d);
    return good;
}

static bool read_whole(dt_jpeg_decoder *d, dt_image *image, dt_error *error)
{
    struct jpeg_decompress_struct *j = &d->jpeg;
    if (setjmp(d->trap.jump))
        return give_up(d, error);
    int channels = j->num_components;
    j->out_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_start_decompress(j);
    if (!dt_image_reserve(image, (int)j->output_width, (int)j->output_height, channels, error))
        return false;
    read_rows(j, image->height, image);
    return true;
}

bool dt_jpeg_decode(const uint8_t *bytes, size_t size, dt_image *image, dt_error *error)
{
    dt_jpeg_decoder *d = dt_jpeg_decoder_new(error);
    dt_jpeg_header header;
    bool good = d && dt_jpeg_open(d, bytes, size, &header, error) && read_whole(d, image, error);
    dt_jpeg_decoder_free(d);
    return good;
}

typedef struct encoder {
    struct jpeg_compress_struct jpeg;
    trap trap;
    uint8_t *bytes;
    unsigned long size;
} encoder;

static void write_picture(struct jpeg_compress_struct *j, const dt_image *image, int quality,
                          bool halve_chroma)
{
    j->image_width = (JDIMENSION)image->width;
    j->image_height = (JDIMENSION)image->height;
    j->input_components = image->channels;
    j->in_color_space = image->channels == 1 ? JCS_GRAYSCALE : image->channels == 3 ? JCS_RGB : JCS_EXT_RGBX;
    jpeg_set_defaults(j);
    jpeg_set_quality(j, quality, TRUE);
    j->optimize_coding = TRUE;
    j->comp_info[0].h_samp_factor = j->comp_info[0].v_samp_factor =
        halve_chroma && image->channels > 1 ? 2 : 1;
    jpeg_start_compress(j, TRUE);
    while (j->next_scanline < j->image_height) {
        JSAMPROW rows[1] = {image->pixels + (size_t)j->next_scanline * image->stride};
        jpeg_write_scanlines(j, rows, 1);
    }
    jpeg_finish_compress(j);
}

static bool encode(encoder *e, const dt_image *image, int quality, bool halve_chroma, dt_error *error)
{
    e->jpeg.err = set_trap(&e->trap);
    if (setjmp(e->trap.jump))
        return dt_fail(error, "JPEG: cannot encode: %s", e->trap.message);
    jpeg_create_compress(&e->jpeg);
    jpeg_mem_dest(&e->jpeg, &e->bytes, &e->size);
    write_picture(&e->jpeg, image, quality, halve_chroma);
    return true;
}

bool dt_jpeg_encode(const dt_image *image, int quality, bool halve_chroma, uint8_t **bytes, size_t *size,
                    dt_error *error)
{
    if (image->inks)
        return dt_fail(error, "JPEG: CMYK inks are not encoded; convert the image to RGB first");
    if (quality < 1 || quality > 100)
        return dt_fail(error, "JPEG: quality %d, expected 1..100", quality);
    encoder *e = calloc(1, sizeof *e);
    if (!e)
        return dt_fail(error, "no memory for a JPEG encoder");
    bool good = encode(e, image, quality, halve_chroma, error);
    jpeg_destroy_compress(&e->jpeg);
    if (good) {
        *bytes = e->bytes;
        *size = e->size;
    } else {
        free(e->bytes);
    }
    free(e);
    return good;
}
