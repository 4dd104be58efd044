/* Python's pickles, protocols 2 to 5, as data. Nothing is run and nothing is imported: what a pickle asks to be called becomes
 * a DT_PICKLE_OBJECT that says what was asked for and with which arguments, and only names on the caller's list may be asked
 * for. Any other name, and every opcode that plain values and state dicts do not need, is refused with its name and place.
 * The format: Lib/pickletools.py of CPython.
 *
 * Memory is bounded by the size of the pickle: an opcode makes at most one value, and marks nest at most 1000 deep. */
#ifndef DUET_DATA_PICKLE_H
#define DUET_DATA_PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"

typedef enum dt_pickle_kind {
    DT_PICKLE_NONE,
    DT_PICKLE_BOOL,       /* integer: 0 or 1 */
    DT_PICKLE_INTEGER,    /* integer; outside of 64 bits it is refused */
    DT_PICKLE_FLOAT,      /* number */
    DT_PICKLE_TEXT,       /* text */
    DT_PICKLE_TUPLE,      /* list */
    DT_PICKLE_LIST,       /* list */
    DT_PICKLE_DICT,       /* list: keys and values in turn, in the order in which they were set; equal keys are not joined */
    DT_PICKLE_GLOBAL,     /* global: a class or function by its name */
    DT_PICKLE_PERSISTENT, /* object.argument: what stands for something outside of the pickle */
    DT_PICKLE_OBJECT,     /* object: a call that was not made, or an instance that was not built */
} dt_pickle_kind;

typedef struct dt_pickle_value dt_pickle_value;

typedef struct dt_pickle_text {
    const char *chars; /* in the pickle; any bytes, no NUL ends them */
    size_t size;
} dt_pickle_text;

typedef struct dt_pickle_list {
    dt_pickle_value **items;
    size_t count, room;
} dt_pickle_list;

struct dt_pickle_value {
    dt_pickle_kind kind;
    bool entered; /* for the caller: a walk that finds it set has come around a circle */
    union {
        int64_t integer;
        double number;
        dt_pickle_text text;
        dt_pickle_list list;
        int global;
        struct {
            int global;
            dt_pickle_value *argument; /* OBJECT: a tuple */
            dt_pickle_value *items;    /* a dictionary of what was set on it; NULL: nothing */
            dt_pickle_value *state;    /* NULL: none was given */
        } object;
    };
};

/* The caller's list: a number for a name such as "collections.OrderedDict", or -1 to refuse it. */
typedef int dt_pickle_known(const char *name);

typedef struct dt_pickle dt_pickle;

/* Reads bytes[size], which must stay. `name` stands for the pickle in messages. NULL on failure. */
dt_pickle *dt_pickle_read(const void *bytes, size_t size, const char *name, dt_pickle_known *known, dt_error *error);
void dt_pickle_free(dt_pickle *pickle); /* NULL is allowed */

/* What the pickle holds. Values belong to the pickle. They may refer to one another in circles. */
dt_pickle_value *dt_pickle_root(const dt_pickle *pickle);
size_t dt_pickle_count(const dt_pickle *pickle); /* values in all */

bool dt_pickle_is(const dt_pickle_value *value, const char *text); /* whether it is this text */

#endif
