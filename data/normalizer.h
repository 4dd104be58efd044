/* The "normalizer" of a Hugging Face tokenizer.json: what is done to a text before it is split. Understood are Sequence,
 * Prepend, Strip, StripAccents, Lowercase, NFC, NFD, NFKC, NFKD, Nmt, Replace (String or Regex; data/pattern.h) and
 * Precompiled (data/charsmap.h). Unicode's properties are those of the utf8proc and PCRE2 that
 * are linked; the library's own tables of marks and normal forms end with Unicode 9, so that of characters that are younger
 * StripAccents and the normal forms may differ. */
#ifndef DUET_DATA_NORMALIZER_H
#define DUET_DATA_NORMALIZER_H

#include "data/error.h"
#include "data/json.h"
#include "data/text.h"

typedef struct dt_normalizer dt_normalizer;

/* NULL and JSON's null give one that changes nothing. `name` stands for the file in messages. The caller frees. NULL on
 * failure: also for a type that is not in the list above. */
dt_normalizer *dt_normalizer_read(const json_t *json, const char *name, dt_error *error);
void dt_normalizer_free(dt_normalizer *normalizer); /* NULL is allowed */

/* The buffers of one thread. The caller frees. NULL: no memory. */
typedef struct dt_normal_buffers dt_normal_buffers;
dt_normal_buffers *dt_normal_buffers_new(void);
void dt_normal_buffers_free(dt_normal_buffers *buffers); /* NULL is allowed */

/* *normal lies in `text` or in the buffers, until their next use. `text` is good UTF-8. *dropped says whether what stood at
 * the start of the text is gone, by the rules that Metaspace's "first" goes by in the library (see data/pre_tokenizer.h).
 * Fails on a result of more than DT_TEXT_LIMIT bytes, on a pattern that gives up, and without memory. */
bool dt_normalize(const dt_normalizer *normalizer, dt_normal_buffers *buffers, dt_span text, dt_span *normal, bool *dropped,
                  dt_error *error);

#endif
