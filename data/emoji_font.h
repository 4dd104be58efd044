/* Pictures out of a colour-emoji font whose glyphs are PNG files (CBDT or sbix tables), by HarfBuzz. */
#ifndef DUET_DATA_EMOJI_FONT_H
#define DUET_DATA_EMOJI_FONT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"
#include "data/image.h"

#define DT_EMOJI_FONT_FILE "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf" /* fonts-noto-color-emoji */

typedef struct dt_emoji_font dt_emoji_font;

/* Opens a font file (NULL: DT_EMOJI_FONT_FILE). A missing file, one that is no font and a font without PNG
 * glyphs are errors that name the Debian package. The caller closes. */
dt_emoji_font *dt_emoji_font_open(const char *path, dt_error *error);
void dt_emoji_font_close(dt_emoji_font *font); /* NULL is allowed */

/* The glyph of a sequence of code points; 0 where the font has none: a code point is missing, or the sequence
 * comes out as several glyphs, which is several pictures. */
uint32_t dt_emoji_font_glyph(dt_emoji_font *font, const uint32_t *codes, int count);

/* The picture of a glyph at the font's own size, on white, in the middle of a white square: 3 channels,
 * reserved in *image, which the caller frees. An image of width 0: the glyph has no picture. False: the font
 * is damaged, or there is no memory. */
bool dt_emoji_font_picture(dt_emoji_font *font, uint32_t glyph, dt_image *image, dt_error *error);

#endif
