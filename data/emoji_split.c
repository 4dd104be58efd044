#include "data/emoji_split.h"

#include <stdlib.h>
#include <string.h>

#include "data/shuffle.h"

enum { COLUMNS = 1, SINGLE_CELLS = 2, OBJECTS = 3 }; /* what a ranking is for: each has its own order */

static const uint64_t seed = 0x44756574; /* changing it changes every published figure of the demo */

typedef struct ranked {
    uint64_t hash;
    int index;
} ranked;

static uint64_t hash_family(const dt_emoji_family *family, uint64_t purpose, uint64_t cell)
{
    uint64_t hash = dt_hash64(seed, purpose, cell);
    for (int i = 0; i < family->key_count; i++)
        hash = dt_hash64(hash, family->key[i], 0);
    return hash;
}

static int by_hash(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    return x->hash != y->hash ? (x->hash > y->hash) - (x->hash < y->hash)
                              : (x->index > y->index) - (x->index < y->index);
}

/* n * part, rounded to the nearest. */
static int share(int n, int parts, int of)
{
    return (int)(((int64_t)n * parts * 2 + of) / (2 * of));
}

/* The first of the ranking lose one gender each, with all its tones. */
static void withhold_columns(dt_emoji_table *table, ranked *order)
{
    for (int i = 0; i < table->role_count; i++)
        order[i] = (ranked){hash_family(&table->families[table->roles[i].family], COLUMNS, 0), i};
    qsort(order, (size_t)table->role_count, sizeof *order, by_hash);
    int columns = table->role_count * DT_EMOJI_GENDERS;
    int test = share(columns, 2, 15), validation = share(columns, 1, 15);
    for (int i = 0; i < test + validation && i < table->role_count; i++) {
        int column = order[i].index * DT_EMOJI_GENDERS + i % DT_EMOJI_GENDERS;
        for (int tone = 0; tone < DT_EMOJI_TONES; tone++)
            table->cell_split[column * DT_EMOJI_TONES + tone] =
                i < test ? DT_EMOJI_TEST : DT_EMOJI_VALIDATION;
    }
}

static bool column_is_whole(const dt_emoji_table *table, int cell)
{
    const dt_emoji_split *column = table->cell_split + cell / DT_EMOJI_TONES * DT_EMOJI_TONES;
    for (int tone = 0; tone < DT_EMOJI_TONES; tone++)
        if (column[tone] != DT_EMOJI_TRAIN)
            return false;
    return true;
}

static void withhold_cells(dt_emoji_table *table, ranked *order)
{
    int cells = table->role_count * DT_EMOJI_CELLS, taken = 0;
    for (int i = 0; i < cells; i++)
        order[i] = (ranked){hash_family(&table->families[table->roles[i / DT_EMOJI_CELLS].family],
                                        SINGLE_CELLS, (uint64_t)(i % DT_EMOJI_CELLS)),
                            i};
    qsort(order, (size_t)cells, sizeof *order, by_hash);
    int test = share(cells, 6, 100), validation = share(cells, 3, 100);
    for (int i = 0; i < cells && taken < test + validation; i++)
        if (column_is_whole(table, order[i].index))
            table->cell_split[order[i].index] = taken++ < test ? DT_EMOJI_TEST : DT_EMOJI_VALIDATION;
}

/* splits[family], for the families that are no roles. */
static void withhold_objects(dt_emoji_table *table, ranked *order, dt_emoji_split *splits)
{
    int objects = 0;
    for (int i = 0; i < table->count; i++)
        if (!strcmp(table->emoji[i].group, "Flags"))
            splits[table->emoji[i].family] = DT_EMOJI_LEFT_OUT;
    for (int i = 0; i < table->family_count; i++)
        if (table->families[i].role < 0 && splits[i] != DT_EMOJI_LEFT_OUT)
            order[objects++] = (ranked){hash_family(&table->families[i], OBJECTS, 0), i};
    qsort(order, (size_t)objects, sizeof *order, by_hash);
    int test = share(objects, 10, 100), validation = share(objects, 5, 100);
    for (int i = 0; i < test + validation; i++)
        splits[order[i].index] = i < test ? DT_EMOJI_TEST : DT_EMOJI_VALIDATION;
}

/* What shows a role without being one of its cells would give away who knows which: it is left out. */
static dt_emoji_split split_of(const dt_emoji_table *table, const dt_emoji *emoji,
                               const dt_emoji_split *splits)
{
    if (table->families[emoji->family].role < 0)
        return splits[emoji->family];
    if (emoji->cell < 0)
        return DT_EMOJI_LEFT_OUT;
    dt_emoji_split split = table->cell_split[emoji->cell];
    return emoji->turned && split != DT_EMOJI_TRAIN ? DT_EMOJI_LEFT_OUT : split;
}

bool dt_emoji_split_assign(dt_emoji_table *table, dt_error *error)
{
    size_t cells = (size_t)table->role_count * DT_EMOJI_CELLS;
    size_t most = cells > (size_t)table->family_count ? cells : (size_t)table->family_count;
    table->cell_split = calloc(cells ? cells : 1, sizeof *table->cell_split);
    ranked *order = calloc(most ? most : 1, sizeof *order);
    dt_emoji_split *splits = calloc((size_t)table->family_count + 1, sizeof *splits);
    bool good = table->cell_split && order && splits;
    if (good) {
        withhold_columns(table, order);
        withhold_cells(table, order);
        withhold_objects(table, order, splits);
        for (int i = 0; i < table->count; i++)
            table->emoji[i].split = split_of(table, &table->emoji[i], splits);
    } else {
        dt_fail(error, "no memory to split %d emoji", table->count);
    }
    free(order);
    free(splits);
    return good;
}
