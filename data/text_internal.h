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

/* Appends dt_clean_fix of `text` to out; the scratch buffers are overwritten. False: no memory. */
bool dt_fix_codepoints(const int32_t *text, size_t length, dt_codepoints *out, dt_codepoints scratch[3]);

#endif
