/* "Did you mean": the known name nearest to a word that is not known.
 *
 *     dt_nearest near = {.word = "lerning_rate"};
 *     for (...) dt_nearest_try(&near, names[i]);
 *     near.best is "learning_rate", or NULL when nothing is near enough to be a slip of the keyboard. */
#ifndef DUET_DATA_NEAREST_H
#define DUET_DATA_NEAREST_H

#include <stddef.h>

typedef struct dt_nearest {
    const char *word, *best; /* borrowed */
    size_t cost;             /* of best; private */
} dt_nearest;

/* Optimal string alignment distance (insertions, deletions, substitutions, swaps of neighbours), case-blind;
 * a name that starts with the word counts as near. The first of equals wins. */
void dt_nearest_try(dt_nearest *near, const char *name);

#endif
