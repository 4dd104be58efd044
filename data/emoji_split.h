/* Which emoji are withheld from training: the rule is stated in emoji_table.h. */
#ifndef DUET_DATA_EMOJI_SPLIT_H
#define DUET_DATA_EMOJI_SPLIT_H

#include "data/emoji_table.h"

/* Sets cell_split of a table whose families, roles and cells are known, and every emoji's split. */
bool dt_emoji_split_assign(dt_emoji_table *table, dt_error *error);

#endif
