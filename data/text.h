/* From a caption to words, as the tokenizer of CLIP does it (github.com/openai/CLIP,
 * clip/simple_tokenizer.py):
 *
 *   1. ftfy.fix_text, less its guesses (see dt_clean_fix);
 *   2. html.unescape, twice;
 *   3. every run of white space to one space, none at the ends;
 *   4. lower case by the full Unicode mapping (U+0130 becomes two code points, a capital sigma that ends a
 * word becomes U+03C2);
 *   5. split into special tokens, English contractions, runs of letters, single digits and runs of the rest.
 *
 * A cleaner holds the buffers and the compiled pattern: one a thread. */
#ifndef DUET_DATA_TEXT_H
#define DUET_DATA_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "data/error.h"

#define DT_TEXT_LIMIT ((size_t)64 << 20) /* bytes of one text; more is refused */

typedef struct dt_cleaner dt_cleaner;

/* The caller frees. NULL: no memory, or a PCRE2 older than 10.40 or built without Unicode. */
dt_cleaner *dt_cleaner_new(dt_error *error);
void dt_cleaner_free(dt_cleaner *cleaner); /* NULL is allowed */

/* UTF-8, with its length in bytes; not ended by a NUL, and NULs in it are text. */
typedef struct dt_span {
    const char *text;
    size_t length;
} dt_span;

/* Steps 1 to 4. *cleaned belongs to the cleaner and holds until its next call. Text that is not UTF-8
 * (surrogates and overlong forms included) is refused with the offset of the first bad byte. */
bool dt_clean(dt_cleaner *cleaner, const char *text, size_t length, dt_span *cleaned, dt_error *error);

/* Step 1 alone: ftfy 6.3 with fix_encoding off. Per line, until nothing changes: HTML references (in a text
 * without '<' so far), C1 controls as windows-1252, Latin ligatures, full- and half-width forms, curly
 * quotes, line breaks, terminal escapes, control characters, and the NFC form. Left out is what guesses that
 * text was decoded by the wrong table ("mojibake"), for which no rule is certain. Hostile input (references
 * nested in thousands) is given up on after a bounded number of passes. */
bool dt_clean_fix(dt_cleaner *cleaner, const char *text, size_t length, dt_span *fixed, dt_error *error);

/* Step 5: the next word of `cleaned` at or after *offset, which moves behind it. A word of length 0 is the
 * end. `cleaned` must come from dt_clean. */
bool dt_next_word(dt_cleaner *cleaner, dt_span cleaned, size_t *offset, dt_span *word, dt_error *error);

#endif
