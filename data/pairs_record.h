/* The record of the pair store as bytes; private to the pairs files. The layout is in pairs.h. */
#ifndef DUET_DATA_PAIRS_RECORD_H
#define DUET_DATA_PAIRS_RECORD_H

#include "data/pairs.h"

enum { PAIRS_VERSION = 1 };

#define PAIRS_FORMAT "duet-pairs"
#define META_KEY     "meta" /* four bytes that sort after every index */

/* Points *pair into a record of `size` bytes, after checking every field against the others and the size. */
bool dt_pair_decode(const void *record, size_t size, dt_pair *pair, dt_error *error);

/* Where caption i ends within the caption text, its NUL included. */
size_t dt_pair_caption_end(const dt_pair *pair, size_t i);

/* Checks a pair as far as the record goes, and gives the bytes that its record takes. */
bool dt_pair_check(const dt_pair_input *pair, size_t *size, dt_error *error);

/* Writes the record of a pair that dt_pair_check passed, all of its bytes. */
void dt_pair_encode(const dt_pair_input *pair, void *record);

#endif
