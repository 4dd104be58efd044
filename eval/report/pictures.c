#include "eval/report/pictures.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "data/jpeg.h"
#include "data/pairs.h"
#include "data/png.h"
#include "eval/dataset.h"
#include "eval/report/html.h"
#include "eval/report/thumbnail.h"

enum { TEXT_MOST = 160, CAPTION_ROOM = 1024 };

struct dt_pictures {
    const char *run;
    char *path; /* of the open store */
    dt_pairs *pairs;
    dt_dataset *folder; /* instead; both NULL: it could not be opened */
    dt_error why;
    const dt_dataset *lent; /* perhaps NULL */
    char caption[CAPTION_ROOM];
    size_t bytes; /* of the pictures written so far */
};

/* A picture's file in memory, and what of it must be freed. */
typedef struct picture {
    const uint8_t *bytes;
    size_t size;
    uint8_t *room;
    int width, height; /* of its pixels, where they were counted, else 0 */
    int times;         /* what they are shown at */
} picture;

/* From what size on the page has a smaller copy, and how many pixels that has. */
typedef struct limits {
    size_t whole;
    int side;
} limits;

static const limits usual = {DT_PICTURE_WHOLE_MOST, DT_PICTURE_SIDE}, large = {DT_PICTURE_LARGE_MOST, DT_PICTURE_LARGE_SIDE};

dt_pictures *dt_pictures_new(const char *run)
{
    dt_pictures *p = calloc(1, sizeof *p);
    if (p)
        p->run = run;
    return p;
}

static void close_store(dt_pictures *p)
{
    dt_pairs_close(p->pairs);
    dt_dataset_close(p->folder);
    free(p->path);
    p->path = NULL;
    p->pairs = NULL;
    p->folder = NULL;
}

void dt_pictures_free(dt_pictures *pictures)
{
    if (!pictures)
        return;
    close_store(pictures);
    free(pictures);
}

void dt_pictures_lend(dt_pictures *pictures, const dt_dataset *data)
{
    pictures->lent = data;
}

/* ---- finding ---- */

static bool try_to_open(dt_pictures *p, const char *path, dt_error *error)
{
    p->pairs = dt_pairs_open(path, error);
    if (!p->pairs && dt_is_directory(path))
        p->folder = dt_dataset_open(path, error);
    return p->pairs || p->folder;
}

static void open_store(dt_pictures *p, const char *path)
{
    if (p->path && !strcmp(p->path, path))
        return;
    close_store(p);
    p->path = strdup(path);
    if (try_to_open(p, path, &p->why))
        return;
    char *beside = dt_join(p->run, path);
    if (beside)
        try_to_open(p, beside, NULL);
    free(beside);
}

/* The images of a path, where they are not those of `pairs`; NULL: they are, or it could not be opened. */
static const dt_dataset *images_of(dt_pictures *p, const char *path)
{
    if (p->lent && !strcmp(dt_dataset_path(p->lent), path))
        return p->lent;
    open_store(p, path);
    return p->folder;
}

static bool find_pair(dt_pictures *p, size_t index, dt_pair *pair, dt_error *error)
{
    if (index >= dt_pairs_count(p->pairs))
        return dt_fail(error, "%s has %" PRIu64 " pairs, none with index %zu", p->path,
                       dt_pairs_count(p->pairs), index);
    return dt_pairs_get(p->pairs, index, pair, error);
}

static bool has_image(const dt_dataset *images, size_t index, dt_error *error)
{
    return index < dt_dataset_count(images) || dt_fail(error, "%s has %zu images, none with index %zu",
                                                       dt_dataset_path(images), dt_dataset_count(images),
                                                       index);
}

static bool find(dt_pictures *p, const char *store, size_t index, picture *found, dt_error *error)
{
    dt_pair pair;
    const dt_dataset *images = images_of(p, store);
    if (images)
        return has_image(images, index, error) &&
               dt_dataset_picture(images, index, &found->bytes, &found->size, &found->room, error);
    if (!p->pairs || !p->path)
        return dt_fail(error, "%s", p->why.message);
    if (!find_pair(p, index, &pair, error))
        return false;
    *found = (picture){.bytes = pair.jpeg, .size = pair.jpeg_size};
    return true;
}

const char *dt_picture_caption(dt_pictures *pictures, const char *store, size_t index)
{
    dt_pair pair;
    const dt_dataset *images = images_of(pictures, store);
    if (images)
        return has_image(images, index, NULL) &&
                       dt_dataset_describe(images, index, pictures->caption, CAPTION_ROOM, NULL)
                   ? pictures->caption
                   : "";
    bool found = pictures->pairs && find_pair(pictures, index, &pair, NULL);
    return found && pair.caption_count ? dt_pair_caption(&pair, 0, NULL) : "";
}

const char *dt_picture_file(dt_pictures *pictures, const char *store, size_t index)
{
    const dt_dataset *images = images_of(pictures, store);
    return images ? dt_dataset_file(images, index) : NULL;
}

/* ---- making fit ---- */

static bool is_jpeg(const picture *p)
{
    return p->size >= 3 && !memcmp(p->bytes, "\xFF\xD8\xFF", 3);
}

/* Puts a small copy in the picture's place. */
static bool reduce(picture *p, int side, dt_error *error)
{
    uint8_t *bytes;
    size_t size;
    if (!dt_thumbnail(p->bytes, p->size, side, &bytes, &size, error))
        return false;
    free(p->room);
    p->bytes = p->room = bytes;
    p->size = size;
    return true;
}

/* Large pictures, and those that a browser may not know, become small JPEGs. */
static bool make_fit(const dt_pictures *pictures, picture *p, limits limit, dt_error *error)
{
    bool known = is_jpeg(p) || dt_is_png(p->bytes, p->size);
    if ((!known || p->size > limit.whole) && !reduce(p, limit.side, error))
        return false;
    bool room =
        pictures->bytes <= DT_PICTURE_BYTES_MOST && p->size <= DT_PICTURE_BYTES_MOST - pictures->bytes;
    return room ||
           dt_fail(error, "left out: the page has %d MiB of pictures already", DT_PICTURE_BYTES_MOST >> 20);
}

/* ---- writing ---- */

static void write_size(dt_writer *w, const picture *p)
{
    dt_jpeg_header header;
    if (p->width)
        dt_writer_printf(w, " width=\"%d\" height=\"%d\"%s", p->width * p->times, p->height * p->times,
                         p->times > 1 ? " class=\"magnified\"" : "");
    else if (is_jpeg(p) && dt_jpeg_info(p->bytes, p->size, &header, NULL))
        dt_writer_printf(w, " width=\"%d\" height=\"%d\"", header.width, header.height);
}

/* Frees the picture. `good`: it was read; otherwise why not. */
static bool write_picture(dt_pictures *pictures, dt_writer *w, picture *p, limits limit, bool good, const char *alt,
                          dt_error *why)
{
    good = good && make_fit(pictures, p, limit, why);
    if (good) {
        dt_writer_printf(w, "<img");
        write_size(w, p);
        dt_writer_printf(w, " alt=\"");
        dt_html_text_cut(w, *alt ? alt : "picture without a caption", TEXT_MOST);
        dt_writer_printf(w, "\" src=\"data:image/%s;base64,", is_jpeg(p) ? "jpeg" : "png");
        dt_html_base64(w, p->bytes, p->size);
        dt_writer_printf(w, "\">");
        pictures->bytes += p->size;
    } else {
        dt_writer_printf(w, "<p class=\"absent\">no picture: ");
        dt_html_text_cut(w, why->message, TEXT_MOST);
        dt_writer_printf(w, "</p>");
    }
    free(p->room);
    return good;
}

bool dt_picture_write(dt_pictures *pictures, dt_writer *writer, const char *store, size_t index,
                      const char *alt)
{
    picture p = {0};
    dt_error why;
    bool good = find(pictures, store, index, &p, &why);
    return write_picture(pictures, writer, &p, usual, good, alt, &why);
}

void dt_picture_write_file(dt_pictures *pictures, dt_writer *writer, const char *path, const char *alt)
{
    dt_map file = {0};
    dt_error why;
    char *beside = dt_file_exists(path) ? NULL : dt_join(pictures->run, path);
    bool good = dt_map_open(&file, beside && dt_file_exists(beside) ? beside : path, &why);
    picture p = {.bytes = file.data, .size = file.size};
    write_picture(pictures, writer, &p, usual, good, alt, &why);
    dt_map_close(&file);
    free(beside);
}

/* Finds out how large a picture is, by decoding it, and how large to show it. */
static bool measure(picture *p, const char *path, dt_error *error)
{
    dt_image image = {0};
    dt_error why;
    bool good = dt_image_decode(p->bytes, p->size, &image, &why) || dt_fail(error, "%s: %s", path, why.message);
    p->width = image.width;
    p->height = image.height;
    p->times = good && image.width < DT_PICTURE_LARGE_LEAST ? DT_PICTURE_LARGE_LEAST / image.width : 1;
    dt_image_free(&image);
    return good;
}

void dt_picture_write_large(dt_pictures *pictures, dt_writer *writer, const char *path, const char *alt)
{
    dt_map file = {0};
    dt_error why;
    char *whole = dt_join(pictures->run, path);
    bool good = whole ? dt_map_open(&file, whole, &why) : dt_fail(&why, "no memory for %s", path);
    picture p = {.bytes = file.data, .size = file.size};
    good = good && measure(&p, whole, &why);
    write_picture(pictures, writer, &p, large, good, alt, &why);
    dt_map_close(&file);
    free(whole);
}

uint8_t *dt_picture_small(dt_pictures *pictures, const char *store, size_t index, int side, size_t *size)
{
    picture p = {0};
    dt_jpeg_header header;
    bool good = find(pictures, store, index, &p, NULL);
    bool small = good && is_jpeg(&p) && dt_jpeg_info(p.bytes, p.size, &header, NULL) &&
                 header.width <= side && header.height <= side;
    good = good && (small || reduce(&p, side, NULL)) && make_fit(pictures, &p, usual, NULL);
    if (good && !p.room) {
        p.room = malloc(p.size);
        good = p.room && memcpy(p.room, p.bytes, p.size);
    }
    if (!good) {
        free(p.room);
        p = (picture){0};
    }
    *size = p.size;
    pictures->bytes += p.size;
    return p.room;
}
