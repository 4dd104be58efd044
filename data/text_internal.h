/* Between data/text*.c: text as code points. */
#ifndef DUET_DATA_TEXT_INTERNAL_H
#define DUET_DATA_TEXT_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct dt_codepoints {
    int32_t *data;
    size_t length, room;
} dt_codepoints;

bool dt_codepoints_reserve(dt_codepoints *buffer,
                           size_t more); /* room for `more` beyond length; false: no memory */

/* A normalisation form of Unicode, by utf8proc's flags: UTF8PROC_COMPOSE (NFC), UTF8PROC_DECOMPOSE (NFD), each with
 * UTF8PROC_COMPAT (NFKC, NFKD). `spare` is overwritten. In linear time, unlike utf8proc's own. False: no memory. */
bool dt_normal_form(dt_codepoints *points, dt_codepoints *spare, int form);

/* Appends dt_clean_fix of `text` to out; the scratch buffers are overwritten. False: no memory. */
bool dt_fix_codepoints(const int32_t *text, size_t length, dt_codepoints *out, dt_codepoints scratch[3]);

#endif
