/* Learns a byte-pair vocabulary from captions (Sennrich et al., 2016, "Neural Machine Translation of Rare
 * Words with Subword Units", section 3.2, with the words and the byte alphabet of CLIP).
 *
 * Texts are cleaned and split as for encoding. Merge by merge, the pair that occurs most often inside words
 * is joined; among equals the one with the smaller left id, then right id, so that the same captions always
 * give the same vocabulary, in whatever order they come. Pairs are counted incrementally: each merge costs as
 * much as it has occurrences. */
#ifndef DUET_DATA_BPE_TRAIN_H
#define DUET_DATA_BPE_TRAIN_H

#include <stddef.h>

#include "data/tokenizer.h"

typedef struct dt_bpe_trainer dt_bpe_trainer;

/* The caller frees. NULL on failure. */
dt_bpe_trainer *dt_bpe_trainer_new(dt_error *error);
void dt_bpe_trainer_free(dt_bpe_trainer *trainer); /* NULL is allowed */

/* Counts the words of one text, which is not kept. Fails as dt_tokenizer_encode does, and when the distinct
 * words have more than 1 GiB in all. */
bool dt_bpe_trainer_add(dt_bpe_trainer *trainer, const char *text, size_t length, dt_error *error);

/* Learns at most `merges` (0 to 1048000) merges; fewer where no pair is left that occurs twice. The
 * vocabulary is the byte alphabet (512), a token for each merge, start and end. The trainer stays as it was.
 * The caller frees the tokenizer. NULL on failure. */
dt_tokenizer *dt_bpe_trainer_finish(const dt_bpe_trainer *trainer, int merges, dt_error *error);

/* All three in one for texts in memory; lengths NULL: they end in NULs. */
dt_tokenizer *dt_bpe_train(const char *const *captions, const size_t *lengths, size_t count, int merges,
                           dt_error *error);

#endif
