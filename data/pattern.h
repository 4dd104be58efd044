/* Regular expressions as a tokenizer.json writes them: Oniguruma's, in Ruby's syntax. PCRE2 runs them; of the syntax only
 * what means the same in both, or can be written so that it does, is taken, and anything else is refused by its name. */
#ifndef DUET_DATA_PATTERN_H
#define DUET_DATA_PATTERN_H

#include "data/error.h"
#include "data/text.h"

typedef struct dt_pattern dt_pattern;

/* The caller frees. NULL on failure: also for a pattern that can match an empty text. */
dt_pattern *dt_pattern_new(const char *source, dt_error *error);
void dt_pattern_free(dt_pattern *pattern); /* NULL is allowed */

/* Buffers for matching, one a thread; freed with dt_matcher_free. NULL: no memory. */
typedef struct dt_matcher dt_matcher;
dt_matcher *dt_matcher_new(void);
void dt_matcher_free(dt_matcher *matcher); /* NULL is allowed */

/* The first match in `text` (good UTF-8) at or after *at: 1, with its place in *start and its end in *at; 0: there is none;
 * -1: an error, for the pattern backtracks beyond all measure on this text. */
int dt_pattern_next(const dt_pattern *pattern, dt_matcher *matcher, dt_span text, size_t *at, size_t *start, dt_error *error);

#endif
