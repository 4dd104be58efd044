/* tokenizer.json, and every other form that a vocabulary file may have; what is read is used. */
#include "data/tokenizer.h"

#include "tests/fuzz/fuzz.h"

static const char text[] = "A photo of two dogs, 3 caf\xc3\xa9s &amp; it's <|endoftext|>";

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    dt_error error = {""};
    int32_t ids[77];
    dt_tokenizer *tokenizer = dt_tokenizer_parse(bytes, size, "input", &error);
    if (!tokenizer) {
        fuzz_message(&error);
        return 0;
    }
    int vocabulary = dt_tokenizer_vocab_size(tokenizer);
    if (dt_tokenizer_encode_padded(tokenizer, text, sizeof text - 1, ids, 77, &error)) {
        for (int i = 0; i < 77; i++)
            if (ids[i] < 0 || ids[i] >= vocabulary)
                abort();
        free(dt_tokenizer_decode(tokenizer, ids, 77, NULL, &error));
    } else {
        fuzz_message(&error);
    }
    for (int id = -1; id <= vocabulary && id < 1000; id++)
        dt_tokenizer_token(tokenizer, id);
    dt_tokenizer_free(tokenizer);
    return 0;
}
