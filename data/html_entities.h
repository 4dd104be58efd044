/* Character references of HTML 5 (html.spec.whatwg.org/multipage/named-characters.html).
 *
 * Two readers: the one of Python's html.unescape, which the CLIP reference calls, and the stricter one of
 * ftfy.fix_text, which wants the semicolon and also takes names that were upper-cased (&NTILDE; for U+00D1).
 */
#ifndef DUET_DATA_HTML_ENTITIES_H
#define DUET_DATA_HTML_ENTITIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DT_REFERENCE_MAX = 4 }; /* code points that one reference can stand for, at most */

/* `text` starts with '&' and has `length` code points. Where a reference stands there, returns how many code
 * points it takes (at least 3), writes what it stands for to out and how much that is to *written (0 for code
 * points that HTML refuses). Returns 0 where none stands. */
size_t dt_html_reference(const int32_t *text, size_t length, int32_t out[DT_REFERENCE_MAX], size_t *written);

/* The same by the rules of ftfy. */
size_t dt_html_reference_strict(const int32_t *text, size_t length, int32_t out[DT_REFERENCE_MAX],
                                size_t *written);

#endif
