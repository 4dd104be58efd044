/* The demo's data: the colour emoji of a font with their names, as a source of pairs.
 *
 * Which emoji belong to which split is emoji_table.h's business, what they are called is emoji_captions.h's.
 * This source adds that no picture is in two splits, whatever its spellings: of emoji whose decoded pictures
 * have the same pixels only one is kept, of test before validation before training, and the first of the
 * file. */
#ifndef DUET_DATA_EMOJI_H
#define DUET_DATA_EMOJI_H

#include "data/emoji_table.h"
#include "data/error.h"
#include "data/source.h"

enum { DT_EMOJI_SIZE = 72, DT_EMOJI_SIZE_MAX = 512 };

/* Opens font (NULL: DT_EMOJI_FONT_FILE) and emoji_test (NULL: DT_EMOJI_TEST_FILE). `split` is "train",
 * "validation" or "test"; one of these with "-cells" (the cells of the table only) or "-objects" (all but the
 * cells); or "all": every distinct picture, flags and what else is left out included. size:
 * width and height of the pictures in pixels, 1 .. DT_EMOJI_SIZE_MAX, 0 for DT_EMOJI_SIZE; they are reduced
 * from the font's own (136 x 128 in Noto, centred on a white square) by antialiased bicubic resampling.
 *
 * Items come in the file's order as raw RGB pixels. Captions: emoji_captions.h; label: the cell number, or
 * -1; class names: the prompts of all cells; weight: (members of the family)^-0.5; extra: dt_emoji_extra.
 * Emoji that the font does not show in one glyph are passed over. The same files give the same bytes. NULL on
 * failure. */
dt_source *dt_emoji_source_open(const char *font, const char *emoji_test, const char *split, int size,
                                dt_error *error);

/* What one open source holds and what it passed over, for a line in a log. */
typedef struct dt_emoji_counts {
    int emoji;    /* fully-qualified ones in the file */
    int without;  /* of which the font has no picture */
    int pictures; /* distinct pictures of all the others */
    int items;    /* of which in this split */
    int cells;    /* of which are cells of the table */
    int roles;    /* of the table */
} dt_emoji_counts;

dt_emoji_counts dt_emoji_source_counts(const dt_source *source);

/* The table that an open source reads from; valid until it is closed. */
const dt_emoji_table *dt_emoji_source_table(const dt_source *source);

#endif
