/* What emoji are called: captions for training, and the classes of the naming task with their prompts. */
#ifndef DUET_DATA_EMOJI_CAPTIONS_H
#define DUET_DATA_EMOJI_CAPTIONS_H

#include "data/emoji_table.h"

enum {
    DT_EMOJI_CAPTIONS = 2, /* captions of an item, at most */
    DT_EMOJI_TEXT = 512,   /* bytes of a caption, its NUL included, at most */
};

/* One class of the naming task: a cell with its prompt, which is also its first caption. */
typedef struct dt_emoji_class {
    char prompt[DT_EMOJI_TEXT]; /* "woman farmer: dark skin tone"; without a tone: "woman farmer" */
    const char *role, *gender, *tone;
} dt_emoji_class;

/* The class of a cell, 0 <= cell < role_count * 18. All cells have one form: the gender word stands for the
 * word "person" in the role's neutral name, or before the name where it has no such word ("woman merperson"),
 * and then ": TONE skin tone". role, gender and tone are borrowed from the table. */
void dt_emoji_class_of(const dt_emoji_table *table, int cell, dt_emoji_class *out);

/* All classes in the order of their cell numbers; the caller frees the array with free(), and keeps the table
 * open while it reads role. NULL on failure. */
dt_emoji_class *dt_emoji_classes(const dt_emoji_table *table, int *count, dt_error *error);

/* Writes {"classes": [{"prompt": ..., "attributes": {"role": ..., "gender": ..., "tone": ...}}, ...]} in the
 * order of the cell numbers, which are the items' labels. */
bool dt_emoji_classes_write(const dt_emoji_table *table, const char *path, dt_error *error);

/* Captions, best first; returns how many. A cell: its class prompt, then its Unicode name where that differs
 * ("mermaid"). Anything else: its Unicode name, then the name with its subgroup ("red apple, food fruit"). */
int dt_emoji_captions(const dt_emoji_table *table, const dt_emoji *emoji,
                      char captions[DT_EMOJI_CAPTIONS][DT_EMOJI_TEXT]);

/* A JSON object in one line with name, codepoints ("1F469 1F3FF 200D 1F33E"), group and subgroup as in the
 * file, and role, gender and tone, which are null for what is no cell. The caller frees. NULL on failure. */
char *dt_emoji_extra(const dt_emoji_table *table, const dt_emoji *emoji, dt_error *error);

#endif
