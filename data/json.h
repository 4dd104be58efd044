/* The one JSON layer, over jansson: strict loading, typed reading with a table, atomic writing.
 *
 * Every message names the file and the place: `config.json:12:7: '}' expected near 'x'` for text that is not
 * JSON, `config.json: model.vision.width: expected an integer, found a string` for a wrong value. */
#ifndef DUET_DATA_JSON_H
#define DUET_DATA_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"

/* Reads a file of at most 256 MiB; duplicate keys, bad UTF-8, NULs and nesting beyond 2048 are refused.
 * The caller owns the reference (json_decref). NULL on failure. */
json_t *dt_json_load(const char *path, dt_error *error);

/* The same for text in memory; `name` stands for the file in messages. */
json_t *dt_json_parse(const char *text, size_t size, const char *name, dt_error *error);

/* With the type that target points to. */
typedef enum dt_json_kind {
    DT_JSON_BOOL,   /* bool */
    DT_JSON_INT,    /* int; neither 4.0 nor 1e6, which are real numbers: the message says how to write them */
    DT_JSON_INT64,  /* int64_t */
    DT_JSON_SIZE,   /* size_t, not negative */
    DT_JSON_FLOAT,  /* float; integers are good too */
    DT_JSON_DOUBLE, /* double; integers are good too */
    DT_JSON_STRING, /* const char *, borrowed: valid as long as the object is */
    DT_JSON_OBJECT, /* const json_t *, borrowed */
    DT_JSON_ARRAY,  /* const json_t *, borrowed */
    DT_JSON_ANY,    /* const json_t *, borrowed */
} dt_json_kind;

/* {"width", DT_JSON_INT, &width, .required = true, .least = 1}; the last field given is named, so that the
 * compiler does not ask for the rest. */
typedef struct dt_json_field {
    const char *key;
    dt_json_kind kind;
    void *target; /* keeps its value when the key is absent or null; NULL: known, checked, not stored */
    bool required;
    double least, most;  /* range of a number, inclusive; both 0: any; most < least: no upper end */
    const char *choices; /* of a string: "auto|cpu|cuda"; NULL: any */
} dt_json_field;

/* Reads the members of `object`. `file` and `path` say where it stands ("config.json", "model.vision"; ""
 * for the root). Unknown keys are refused with the nearest known one. */
bool dt_json_read(const json_t *object, const char *file, const char *path, const dt_json_field *fields,
                  size_t count, dt_error *error);

/* The same, passing over keys that are not in the table: for files that others write. */
bool dt_json_read_known(const json_t *object, const char *file, const char *path, const dt_json_field *fields,
                        size_t count, dt_error *error);

/* Which of "one|two|three" a word is, counted from 0: the value of an enumeration in that order. -1: none. */
int dt_choice_index(const char *choices, const char *word);

/* "an object", "an integer" …: for messages of the same form. */
const char *dt_json_kind_name(const json_t *value);

/* An override from the command line, "a.b.c=value": the value is JSON where it parses as JSON, else a string;
 * where the present value is a string, text that is no JSON string, object or list is taken as it stands. A whole number with an
 * exponent, 1e6, is an integer here.
 * `defaults` says which keys exist (NULL: object itself). Objects on the way are made in `object`.
 * Types are checked later, by dt_json_read. */
bool dt_json_set(json_t *object, const json_t *defaults, const char *assignment, dt_error *error);

/* Text with members in the order of insertion. Numbers have the fewest digits of 15 or 17 that read back
 * equal. indent 0: one line. The caller frees with free(). NULL on failure (no memory, bad UTF-8, a NaN). */
char *dt_json_text(const json_t *value, int indent, dt_error *error);

/* A number with the fewest digits that give the same float again: 0.1, not the double that the float is. NULL: no memory, or
 * not finite. */
json_t *dt_json_float(float value);

/* dt_json_text with indent 2 and a last newline, written atomically. */
bool dt_json_write(const char *path, const json_t *value, dt_error *error);

#endif
