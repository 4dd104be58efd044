/* Ids to text: a list of tokens' texts that each decoder rewrites, joined in the end. */
#include "data/unigram.h"

#include <stdlib.h>
#include <string.h>

#include "data/tokenizer_internal.h"
#include "data/unicode.h"

/* Texts one behind the other. */
typedef struct texts {
    dt_bytes bytes;
    size_t *ends;
    size_t count, room;
} texts;

static bool add_text(texts *to, const char *text, size_t length)
{
    if (to->count == to->room) {
        size_t room = 2 * to->room + 64, *ends = realloc(to->ends, room * sizeof *ends);
        if (!ends)
            return false;
        to->ends = ends;
        to->room = room;
    }
    if (!dt_bytes_append(&to->bytes, text, length))
        return false;
    to->ends[to->count++] = to->bytes.length;
    return true;
}

static dt_span get_text(const texts *from, size_t index)
{
    size_t start = index ? from->ends[index - 1] : 0;
    return (dt_span){from->bytes.data + start, from->ends[index] - start};
}

static void clear(texts *t)
{
    t->count = t->bytes.length = 0;
}

/* Spaces for the character that stands for them; at the very start none, unless the tokenizer never puts one there. */
static bool unmark_spaces(const dt_metaspace *m, const texts *from, texts *to)
{
    size_t length = strlen(m->replacement);
    for (size_t i = 0; i < from->count; i++) {
        dt_span text = get_text(from, i);
        bool silent = !i && m->prepend != DT_PREPEND_NEVER;
        if (!add_text(to, "", 0))
            return false;
        for (size_t at = 0, n; at < text.length; at += n) {
            n = utf8proc_utf8class[(uint8_t)text.text[at]];
            bool space = n == length && !memcmp(text.text + at, m->replacement, n);
            if (!(space && silent) && !dt_bytes_append(&to->bytes, space ? " " : text.text + at, space ? 1 : n))
                return false;
        }
        to->ends[i] = to->bytes.length;
    }
    return true;
}

/* Byte of "<0x41>"; -1: the text is none. */
static int byte_of(dt_span text)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    if (text.length != 6 || memcmp(text.text, "<0x", 3) || text.text[5] != '>' || !strchr(digits, text.text[3]) ||
        !strchr(digits, text.text[4]))
        return -1;
    return (int)strtol((char[]){text.text[3], text.text[4], '\0'}, NULL, 16);
}

/* The bytes gathered so far: one text where they are UTF-8, else U+FFFD for each. */
static bool flush_bytes(dt_bytes *bytes, texts *to)
{
    bool good = true;
    if (bytes->length && dt_utf8_length((dt_span){bytes->data, bytes->length}) == bytes->length)
        good = add_text(to, bytes->data, bytes->length);
    else
        for (size_t i = 0; good && i < bytes->length; i++)
            good = add_text(to, "\xef\xbf\xbd", 3);
    bytes->length = 0;
    return good;
}

static bool join_bytes(const texts *from, texts *to)
{
    dt_bytes bytes = {0};
    bool good = true;
    for (size_t i = 0; good && i < from->count; i++) {
        dt_span text = get_text(from, i);
        int byte = byte_of(text);
        good = byte >= 0 ? dt_bytes_append(&bytes, &(char){(char)byte}, 1)
                         : flush_bytes(&bytes, to) && add_text(to, text.text, text.length);
    }
    good = good && flush_bytes(&bytes, to);
    free(bytes.data);
    return good;
}

static bool join(const texts *from, bool with_spaces, dt_bytes *out)
{
    bool good = dt_bytes_append(out, "", 0);
    for (size_t i = 0; good && i < from->count; i++) {
        dt_span text = get_text(from, i);
        good = (!i || !with_spaces || dt_bytes_append(out, " ", 1)) && dt_bytes_append(out, text.text, text.length);
    }
    return good;
}

char *dt_unigram_decode(const dt_tokenizer *t, const int32_t *ids, size_t count, size_t *length, dt_error *error)
{
    const dt_unigram *u = t->unigram;
    texts now = {0}, next = {0};
    dt_bytes out = {0};
    bool good = true, known = true;
    for (size_t i = 0; good && known && i < count; i++) {
        const char *token = dt_tokenizer_token(t, ids[i]);
        known = token || dt_fail(error, "id %d at place %zu has no token; ids are in 0 to %d", ids[i], i, t->size - 1);
        good = !known || add_text(&now, token, strlen(token));
    }
    for (int i = 0; good && known && i < u->decoder_count; i++) {
        clear(&next);
        good = u->decoders[i].joins_bytes ? join_bytes(&now, &next) : unmark_spaces(&u->decoders[i].metaspace, &now, &next);
        texts swap = now;
        now = next;
        next = swap;
    }
    good = good && known && join(&now, u->decoder_count < 0, &out);
    if (!good && known)
        dt_fail(error, "out of memory for the text of %zu ids", count);
    free(now.bytes.data);
    free(now.ends);
    free(next.bytes.data);
    free(next.ends);
    if (!good) {
        free(out.data);
        return NULL;
    }
    if (length)
        *length = out.length;
    return out.data;
}
