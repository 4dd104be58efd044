/* What emoji are there, and which of them may be trained on: Unicode's emoji-test.txt read into a table.
 *
 * Families. Emoji that differ in skin tone, gender or direction only are one family ("base"). Membership is
 * read from the code points, not from the names: variation selectors, tones, a trailing ZWJ + male or female
 * sign and a trailing ZWJ + arrow are taken off, and man and woman become person.
 *
 * Roles. A family is a role when it has all 3 genders x 6 tones under one spelling, base + tone + ZWJ + sign
 * (person bowing) or person/man/woman + tone + ZWJ + object (farmer), and when it shows what somebody does or
 * is: the subgroup "person" (ages, hair) is no role. Families whose genders are code points of their own
 * (prince and princess, Santa and Mrs. Claus) or that show two people are no roles either. Each role gives 18
 * cells, numbered (role * 3 + gender) * 6 + tone. With Unicode 15.0: 65 roles, 1,170 cells.
 *
 * Splits, a pure function of the code points and a fixed seed:
 *   columns   2/15 of all role-gender pairs go to test and 1/15 to validation, with all their tones; a role
 *             loses one gender at most, the three genders in turn
 *   cells     6 % of all cells go to test and 3 % to validation, out of the columns that are left, one a
 *             column at most
 *   objects   10 % of the families that are no roles go to test and 5 % to validation, with all their members
 * and the rest is for training. So a withheld cell's role, gender and tone are each seen in training.
 * Flags are left out altogether. An emoji that only turns a cell's picture round ("person walking facing
 * right") is no cell; it is left out where its cell is withheld. */
#ifndef DUET_DATA_EMOJI_TABLE_H
#define DUET_DATA_EMOJI_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "data/error.h"

#define DT_EMOJI_TEST_FILE "/usr/share/unicode/emoji/emoji-test.txt" /* Debian and Ubuntu: unicode-data */

enum {
    DT_EMOJI_CODES = 16,  /* code points of a sequence, at most */
    DT_EMOJI_NAME = 128,  /* bytes of a name, its NUL included, at most */
    DT_EMOJI_GENDERS = 3, /* person, man, woman */
    DT_EMOJI_TONES = 6,   /* none, light, medium-light, medium, medium-dark, dark */
    DT_EMOJI_CELLS = DT_EMOJI_GENDERS * DT_EMOJI_TONES, /* of a role */
};

typedef enum dt_emoji_split {
    DT_EMOJI_TRAIN,
    DT_EMOJI_VALIDATION,
    DT_EMOJI_TEST,
    DT_EMOJI_LEFT_OUT,
} dt_emoji_split;

typedef struct dt_emoji { /* one fully-qualified emoji */
    uint32_t codes[DT_EMOJI_CODES];
    int code_count;
    const char *name, *group, *subgroup; /* as in the file ("woman farmer: dark skin tone"); the table's */
    int family;                          /* index into families */
    int gender, tone;                    /* of a cell's picture; else -1 */
    int cell;                            /* number of the cell whose picture it is, or -1 */
    bool turned;                         /* it is that picture turned round, and not the cell itself */
    dt_emoji_split split;
} dt_emoji;

typedef struct dt_emoji_family {
    uint32_t key[DT_EMOJI_CODES]; /* the code points that all members share */
    int key_count;
    int members;
    int role; /* index into roles, or -1 */
} dt_emoji_family;

typedef struct dt_emoji_role {
    int family;
    char name[DT_EMOJI_NAME]; /* "farmer", "in tuxedo", "deaf" */
    const char *neutral; /* name of the emoji without gender or tone: "farmer", "deaf person"; the table's */
    int word;            /* where in neutral the gender word goes, in bytes */
    bool has_word;       /* the word "person" stands there */
} dt_emoji_role;

typedef struct dt_emoji_table {
    dt_emoji *emoji; /* in the file's order */
    int count;
    dt_emoji_family *families;
    int family_count;
    dt_emoji_role *roles; /* in the file's order */
    int role_count;
    dt_emoji_split *cell_split; /* role_count x 3 x 6 */
    char *text;                 /* the file; names point into it */
} dt_emoji_table;

extern const char *const dt_emoji_gender_names[DT_EMOJI_GENDERS];
extern const char *const dt_emoji_tone_names[DT_EMOJI_TONES];
extern const char *const dt_emoji_split_names[4]; /* "train", "validation", "test", "left out" */

/* Reads emoji-test.txt (NULL: DT_EMOJI_TEST_FILE). Lines of another status than fully-qualified are passed
 * over. A missing file, a line that is not understood or a file without emoji is an error that says what was
 * expected. The caller closes. NULL on failure. */
dt_emoji_table *dt_emoji_table_open(const char *path, dt_error *error);
void dt_emoji_table_close(dt_emoji_table *table); /* NULL is allowed */

/* How often to draw it in training, relative to others: (members of its family)^-0.5. */
float dt_emoji_weight(const dt_emoji_table *table, const dt_emoji *emoji);

#endif
