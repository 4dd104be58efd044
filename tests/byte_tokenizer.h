/* A tokenizer that needs no vocabulary file. */
#ifndef DUET_TESTS_BYTE_TOKENIZER_H
#define DUET_TESTS_BYTE_TOKENIZER_H

#include <stdio.h>

#include "data/tokenizer.h"

/* A tokenizer.json of single bytes: in this alphabet each byte is a printable character (openai/CLIP,
 * bytes_to_unicode), alone and at the end of a word. */
static inline dt_tokenizer *byte_tokenizer(dt_error *error)
{
    static char text[32768];
    int at = sprintf(text, "{\"model\": {\"type\": \"BPE\", \"end_of_word_suffix\": \"</w>\", \"merges\": [], \"vocab\": {");
    for (int ends = 0, id = 0; ends < 2; ends++)
        for (int byte = 0, extra = 0; byte < 256; byte++) {
            bool printable = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
            at += sprintf(text + at, "\"\\u%04x%s\": %d, ", printable ? byte : 256 + extra++, ends ? "</w>" : "", id++);
        }
    at += sprintf(text + at, "\"<|startoftext|>\": 512, \"<|endoftext|>\": 513}}}");
    return dt_tokenizer_parse(text, (size_t)at, "bytes", error);
}

#endif
