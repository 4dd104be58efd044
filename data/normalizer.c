#define _GNU_SOURCE /* memmem */
#include "data/normalizer.h"

#include <stdlib.h>
#include <string.h>

#include "data/bytes.h"
#include "data/charsmap.h"
#include "data/pattern.h"
#include "data/text_internal.h"
#include "data/unicode.h"

enum { STEPS_MOST = 64, PLACE = 128 };

typedef struct step step;

struct dt_normal_buffers {
    dt_bytes text[2];
    dt_codepoints points[2];
    dt_matcher *matcher;
};

/* Appends what `in` becomes. */
typedef bool run_step(const step *s, dt_normal_buffers *buffers, dt_span in, dt_bytes *out, bool *dropped, dt_error *error);

struct step {
    run_step *run;
    const char *type;
    char place[PLACE];        /* in the file */
    dt_bytes needle, content; /* Replace with a String; Replace and Prepend */
    dt_pattern *pattern;      /* Replace with a Regex */
    dt_charsmap *charsmap;
    bool left, right; /* Strip */
    int form;         /* of dt_normal_form */
};

struct dt_normalizer {
    step steps[STEPS_MOST];
    size_t count;
};

static bool no_memory(size_t length, dt_error *error)
{
    return dt_fail(error, "out of memory for normalising a text of %zu bytes", length);
}

/* ---- The steps ---- */

/* Room for `length` bytes in all; false with the reason. */
static bool room_for(dt_bytes *out, size_t length, dt_error *error)
{
    if (length > DT_TEXT_LIMIT)
        return dt_fail(error, "the text grows to more than the %zu bytes that are allowed", DT_TEXT_LIMIT);
    return dt_bytes_reserve(out, length - out->length) || no_memory(length, error);
}

static bool put(dt_bytes *out, const char *text, size_t length, dt_error *error)
{
    return room_for(out, out->length + length, error) && dt_bytes_append(out, text, length);
}

static bool prepend(const step *s, dt_normal_buffers *buffers, dt_span in, dt_bytes *out, bool *dropped, dt_error *error)
{
    (void)buffers;
    (void)dropped;
    return !in.length || (put(out, s->content.data, s->content.length, error) && put(out, in.text, in.length, error));
}

static bool strip(const step *s, dt_normal_buffers *buffers, dt_span in, dt_bytes *out, bool *dropped, dt_error *error)
{
    (void)buffers;
    size_t start = 0, end = in.length, taken, before;
    while (s->left && start < end && dt_is_space(dt_character(in, start, &taken)))
        start += taken;
    while (s->right && end > start && dt_is_space(dt_character(in, before = dt_character_before(in, end), &taken)))
        end = before;
    *dropped |= start > 0;
    return put(out, in.text + start, end - start, error);
}

/* Each character on its own: a final sigma is no exception here. */
static bool lowercase(const step *s, dt_normal_buffers *buffers, dt_span in, dt_bytes *out, bool *dropped, dt_error *error)
{
    enum { CAPITAL_I_DOT = 0x130 };
    (void)s;
    (void)buffers;
    (void)dropped;
    if (!room_for(out, in.length, error) || !dt_bytes_reserve(out, in.length + in.length / 2 + 4)) /* U+0130, U+023A: 2 to 3 */
        return no_memory(in.length, error);
    char *to = out->data;
    for (size_t at = 0, taken; at < in.length; at += taken) {
        int32_t c = dt_character(in, at, &taken);
        if (c < 0x80) {
            *to++ = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
        } else if (c == CAPITAL_I_DOT) {
            memcpy(to, "i\xcc\x87", 3);
            to += 3;
        } else {
            to += utf8proc_encode_char(utf8proc_tolower(c), (uint8_t *)to);
        }
    }
    out->length = (size_t)(to - out->data);
    *to = '\0';
    return true;
}

static bool is_ascii(dt_span text)
{
    unsigned char all = 0;
    for (size_t i = 0; i < text.length; i++)
        all |= (unsigned char)text.text[i];
    return all < 0x80;
}

static bool normal_form(const step *s, dt_normal_buffers *buffers, dt_span in, dt_bytes *out, bool *dropped, dt_error *error)
{
    (void)dropped;
    if (is_ascii(in))
        return put(out, in.text, in.length, error);
    dt_codepoints *points = &buffers->points[0];
    points->length = 0;
    if (!dt_codepoints_reserve(points, in.length))
        return no_memory(in.length, error);
    for (size_t at = 0, taken; at < in.length; at += taken)
        points->data[points->length++] = dt_character(in, at, &taken);
    if (!dt_normal_form(points, &buffers->points[1], s->form))
        return no_memory(in.length, error);
    for (size_t i = 0; i < points->length; i++) {
        char bytes[4];
        if (!put(out, bytes, (size_t)utf8proc_encode_char(points->data[i], (uint8_t *)bytes), error))
            return false;
    }
    return true;
}

static bool strip_accents(const step *s, dt_normal_buffers *buffers, dt_span in, dt_bytes *out, bool *dropped, dt_error *error)
{
    (void)s;
    (void)buffers;
    if (!room_for(out, in.length, error))
        return false;
    for (size_t at = 0, taken; at < in.length; at += taken) {
        bool mark = dt_is_mark(dt_character(in, at, &taken));
        *dropped |= mark && !at;
        if (!mark)
            dt_bytes_append(out, in.text + at, taken);
    }
    return true;
}

/* SentencePiece's rules for machine translation, as the library has them: these go, and those are spaces. */
static bool nmt(const step *s, dt_normal_buffers *buffers, dt_span in, dt_bytes *out, bool *dropped, dt_error *error)
{
    (void)s;
    (void)buffers;
    if (!room_for(out, in.length, error))
        return false;
    for (size_t at = 0, taken; at < in.length; at += taken) {
        int32_t c = dt_character(in, at, &taken);
        bool gone = (c >= 0x01 && c <= 0x08) || c == 0x0b || (c >= 0x0e && c <= 0x1f) || c == 0x7f || c == 0x8f || c == 0x9f;
        bool space = c == 0x09 || c == 0x0a || c == 0x0c || c == 0x0d || c == 0x1680 || (c >= 0x200b && c <= 0x200f) ||
                     c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xfeff || c == 0xfffd;
        *dropped |= gone && !at;
        if (!gone)
            dt_bytes_append(out, space ? " " : in.text + at, space ? 1 : taken);
    }
    return true;
}

/* The next place of a Replace in the text: 1, 0 (none), -1 (an error). */
static int next_match(const step *s, dt_normal_buffers *buffers, dt_span in, size_t *at, size_t *start, dt_error *error)
{
    if (s->pattern)
        return dt_pattern_next(s->pattern, buffers->matcher, in, at, start, error);
    const char *found = memmem(in.text + *at, in.length - *at, s->needle.data, s->needle.length);
    if (!found)
        return 0;
    *start = (size_t)(found - in.text);
    *at = *start + s->needle.length;
    return 1;
}

static bool replace(const step *s, dt_normal_buffers *buffers, dt_span in, dt_bytes *out, bool *dropped, dt_error *error)
{
    size_t at = 0, start, done = 0, taken;
    int found;
    while ((found = next_match(s, buffers, in, &at, &start, error)) > 0) {
        if (!start) {
            dt_character(in, 0, &taken);
            *dropped |= !s->content.length || at > taken; /* the content counts as coming from the last character replaced */
        }
        if (!put(out, in.text + done, start - done, error) || !put(out, s->content.data, s->content.length, error))
            return false;
        done = at;
    }
    return !found && put(out, in.text + done, in.length - done, error);
}

static bool precompiled(const step *s, dt_normal_buffers *buffers, dt_span in, dt_bytes *out, bool *dropped, dt_error *error)
{
    (void)buffers;
    (void)dropped;
    if (!dt_charsmap_apply(s->charsmap, in, out))
        return no_memory(in.length, error);
    return room_for(out, out->length, error);
}

bool dt_normalize(const dt_normalizer *n, dt_normal_buffers *buffers, dt_span text, dt_span *normal, bool *dropped,
                  dt_error *error)
{
    *normal = text;
    *dropped = false;
    for (size_t i = 0; i < n->count; i++) {
        dt_bytes *out = &buffers->text[i % 2];
        out->length = 0;
        if (!dt_bytes_append(out, "", 0))
            return no_memory(text.length, error);
        if (!n->steps[i].run(&n->steps[i], buffers, *normal, out, dropped, error))
            return dt_fail_prefix(error, "the tokenizer's %s (%s)", n->steps[i].place, n->steps[i].type);
        *normal = (dt_span){out->data, out->length};
    }
    return true;
}

/* ---- Reading ---- */

static bool read_strip(step *s, const json_t *json, const char *name, dt_error *error)
{
    const dt_json_field fields[] = {{.key = "strip_left", .kind = DT_JSON_BOOL, .target = &s->left, .required = true},
                                    {.key = "strip_right", .kind = DT_JSON_BOOL, .target = &s->right, .required = true}};
    return dt_json_read_known(json, name, s->place, fields, 2, error);
}

static bool read_content(step *s, const json_t *json, const char *key, const char *name, dt_error *error)
{
    const char *text = NULL;
    const dt_json_field field = {.key = key, .kind = DT_JSON_STRING, .target = &text, .required = true};
    return dt_json_read_known(json, name, s->place, &field, 1, error) &&
           (dt_bytes_append(&s->content, text, strlen(text)) || dt_fail(error, "%s: out of memory", name));
}

static bool read_prepend(step *s, const json_t *json, const char *name, dt_error *error)
{
    return read_content(s, json, "prepend", name, error);
}

static bool read_replace(step *s, const json_t *json, const char *name, dt_error *error)
{
    const json_t *pattern = json_object_get(json, "pattern");
    const char *text = json_string_value(json_object_get(pattern, "String")),
               *regex = json_string_value(json_object_get(pattern, "Regex"));
    if (!read_content(s, json, "content", name, error))
        return false;
    if (json_object_size(pattern) != 1 || (!text && !regex) || (text && !*text))
        return dt_fail(error, "%s: %s.pattern: expected {\"String\": \"...\"} or {\"Regex\": \"...\"}, not empty", name,
                       s->place);
    if (text)
        return dt_bytes_append(&s->needle, text, strlen(text)) || dt_fail(error, "%s: out of memory", name);
    s->pattern = dt_pattern_new(regex, error);
    return s->pattern || dt_fail_prefix(error, "%s: %s.pattern.Regex", name, s->place);
}

static bool read_precompiled(step *s, const json_t *json, const char *name, dt_error *error)
{
    const char *map = NULL;
    const dt_json_field field = {.key = "precompiled_charsmap", .kind = DT_JSON_STRING, .target = &map, .required = true};
    if (!dt_json_read_known(json, name, s->place, &field, 1, error))
        return false;
    s->charsmap = dt_charsmap_read(map, strlen(map), error);
    return s->charsmap || dt_fail_prefix(error, "%s: %s.precompiled_charsmap", name, s->place);
}

static const struct {
    const char *type;
    run_step *run;
    bool (*read)(step *s, const json_t *json, const char *name, dt_error *error); /* NULL: there is nothing to read */
    int form;
} types[] = {
    {"Prepend", prepend, read_prepend, 0},
    {"Strip", strip, read_strip, 0},
    {"StripAccents", strip_accents, NULL, 0},
    {"Lowercase", lowercase, NULL, 0},
    {"NFC", normal_form, NULL, UTF8PROC_COMPOSE},
    {"NFD", normal_form, NULL, UTF8PROC_DECOMPOSE},
    {"NFKC", normal_form, NULL, UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
    {"NFKD", normal_form, NULL, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT},
    {"Nmt", nmt, NULL, 0},
    {"Replace", replace, read_replace, 0},
    {"Precompiled", precompiled, read_precompiled, 0},
};

static bool read_steps(dt_normalizer *n, const json_t *json, const char *place, const char *name, dt_error *error);

static bool read_sequence(dt_normalizer *n, const json_t *json, const char *place, const char *name, dt_error *error)
{
    const json_t *list = json_object_get(json, "normalizers"), *one;
    size_t index;
    if (!json_is_array(list))
        return dt_fail(error, "%s: %s.normalizers: expected an array, found %s", name, place, dt_json_kind_name(list));
    json_array_foreach((json_t *)(uintptr_t)list, index, one)
    {
        char inner[PLACE];
        snprintf(inner, sizeof inner, "%s.normalizers[%zu]", place, index);
        if (!read_steps(n, one, inner, name, error))
            return false;
    }
    return true;
}

static bool read_steps(dt_normalizer *n, const json_t *json, const char *place, const char *name, dt_error *error)
{
    const char *type = json_string_value(json_object_get(json, "type"));
    if (!type)
        return dt_fail(error, "%s: %s: expected an object with a type, found %s", name, place, dt_json_kind_name(json));
    if (!strcmp(type, "Sequence"))
        return read_sequence(n, json, place, name, error);
    if (n->count == STEPS_MOST)
        return dt_fail(error, "%s: normalizer: there are more than %d steps", name, STEPS_MOST);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (!strcmp(type, types[i].type)) {
            step *s = &n->steps[n->count++];
            *s = (step){.run = types[i].run, .type = types[i].type, .form = types[i].form};
            snprintf(s->place, sizeof s->place, "%s", place);
            return !types[i].read || types[i].read(s, json, name, error);
        }
    return dt_fail(error, "%s: %s.type: \"%s\" is not supported", name, place, type);
}

dt_normalizer *dt_normalizer_read(const json_t *json, const char *name, dt_error *error)
{
    dt_normalizer *n = calloc(1, sizeof *n);
    if (!n) {
        dt_fail(error, "%s: out of memory for a normalizer", name);
        return NULL;
    }
    if (json && !json_is_null(json) && !read_steps(n, json, "normalizer", name, error)) {
        dt_normalizer_free(n);
        return NULL;
    }
    return n;
}

void dt_normalizer_free(dt_normalizer *n)
{
    for (size_t i = 0; n && i < n->count; i++) {
        free(n->steps[i].needle.data);
        free(n->steps[i].content.data);
        dt_pattern_free(n->steps[i].pattern);
        dt_charsmap_free(n->steps[i].charsmap);
    }
    free(n);
}

dt_normal_buffers *dt_normal_buffers_new(void)
{
    dt_normal_buffers *buffers = calloc(1, sizeof *buffers);
    if (buffers && !(buffers->matcher = dt_matcher_new())) {
        free(buffers);
        return NULL;
    }
    return buffers;
}

void dt_normal_buffers_free(dt_normal_buffers *buffers)
{
    if (!buffers)
        return;
    for (int i = 0; i < 2; i++) {
        free(buffers->text[i].data);
        free(buffers->points[i].data);
    }
    dt_matcher_free(buffers->matcher);
    free(buffers);
}
