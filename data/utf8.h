/* Texts in UTF-8, whatever they are for. */
#ifndef DUET_DATA_UTF8_H
#define DUET_DATA_UTF8_H

#include <stddef.h>

/* Where to cut a text that may take `most` bytes: its length where it is no longer, else the most bytes that end with a
 * whole character. */
size_t dt_utf8_cut(const char *text, size_t most);

#endif
