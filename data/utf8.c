#include "data/utf8.h"

#include <string.h>

size_t dt_utf8_cut(const char *text, size_t most)
{
    size_t length = strlen(text);
    if (length > most)
        for (length = most; length && ((unsigned char)text[length] & 0xC0) == 0x80; length--)
            ;
    return length;
}
