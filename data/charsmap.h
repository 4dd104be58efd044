/* SentencePiece's precompiled normalisation, as a tokenizer.json holds it: base64 of a length in bytes (little-endian, 32
 * bits), a double array of that many bytes (Darts-clone's units of 32 bits: a trie over UTF-8), and a pool of replacements,
 * each ended by a NUL. The array's values are places in the pool.
 *
 * Everything that a search can reach is checked when the map is read, so that using it needs no checks. */
#ifndef DUET_DATA_CHARSMAP_H
#define DUET_DATA_CHARSMAP_H

#include "data/bytes.h"
#include "data/error.h"
#include "data/text.h"

typedef struct dt_charsmap dt_charsmap;

/* From base64 of `length` characters. The caller frees. NULL on failure. */
dt_charsmap *dt_charsmap_read(const char *base64, size_t length, dt_error *error);
void dt_charsmap_free(dt_charsmap *map); /* NULL is allowed */

/* Appends `text` (good UTF-8), normalised as Hugging Face's tokenizers does it: a grapheme cluster of fewer than six bytes is
 * replaced as a whole by what its SHORTEST prefix in the map stands for (the rest of the cluster goes with it); of any other
 * cluster each code point is replaced on its own. False: no memory. */
bool dt_charsmap_apply(const dt_charsmap *map, dt_span text, dt_bytes *out);

#endif
