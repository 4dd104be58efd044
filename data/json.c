#define _GNU_SOURCE /* asprintf */
#include "data/json.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/file.h"
#include "data/nearest.h"

enum { LARGEST = 256 << 20 };

json_t *dt_json_parse(const char *text, size_t size, const char *name, dt_error *error)
{
    json_error_t problem;
    json_t *value = json_loadb(text, size, JSON_REJECT_DUPLICATES, &problem);
    if (!value && problem.line < 0)
        dt_fail(error, "%s: %s", name, problem.text);
    else if (!value)
        dt_fail(error, "%s:%d:%d: %s", name, problem.line, problem.column, problem.text);
    return value;
}

json_t *dt_json_load(const char *path, dt_error *error)
{
    size_t size;
    char *text = dt_file_read(path, LARGEST, &size, error);
    json_t *value = text ? dt_json_parse(text, size, path, error) : NULL;
    free(text);
    return value;
}

const char *dt_json_kind_name(const json_t *value)
{
    if (!value)
        return "nothing";
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number with a fraction";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    default:
        return "null";
    }
}

/* Where a value stands, for messages. */
typedef struct place {
    const char *file, *path, *key;
} place;

static bool fail_at(const place *at, dt_error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool fail_at(const place *at, dt_error *error, const char *format, ...)
{
    char text[640];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const char *dot = *at->path && *at->key ? "." : "", *colon = *at->path || *at->key ? ": " : "";
    return dt_fail(error, "%s: %s%s%s%s%s", at->file, at->path, dot, at->key, colon, text);
}

static bool expected(const place *at, const char *what, const json_t *found, dt_error *error)
{
    return fail_at(at, error, "expected %s, found %s", what, dt_json_kind_name(found));
}

static bool check_range(const place *at, const dt_json_field *field, double value, dt_error *error)
{
    bool any = field->least == 0 && field->most == 0, open = field->most < field->least;
    if (any || (value >= field->least && (open || value <= field->most)))
        return true;
    if (open)
        return fail_at(at, error, "%.15g is out of range (at least %.15g)", value, field->least);
    return fail_at(at, error, "%.15g is out of range (%.15g to %.15g)", value, field->least, field->most);
}

/* Whether a number is an integer, beyond any doubt that its digits leave. */
static bool whole(double number)
{
    return number == floor(number) && fabs(number) <= 0x1p53;
}

static bool read_integer(const place *at, const dt_json_field *field, const json_t *value, dt_error *error)
{
    double real = json_real_value(value);
    if (json_is_real(value) && fabs(real) > 0x1p53)
        return fail_at(at, error, "%.15g does not fit into an integer", real);
    if (json_is_real(value) && whole(real))
        return fail_at(at, error, "expected an integer, found a number with a point or an exponent; write %.0f", real);
    if (!json_is_integer(value))
        return expected(at, "an integer", value, error);
    json_int_t number = json_integer_value(value);
    if (!check_range(at, field, (double)number, error))
        return false;
    if (field->kind == DT_JSON_INT && (number < INT_MIN || number > INT_MAX))
        return fail_at(at, error, "%lld does not fit in 32 bits", (long long)number);
    if (field->kind == DT_JSON_SIZE && number < 0)
        return fail_at(at, error, "%lld is negative", (long long)number);
    if (!field->target)
        return true;
    if (field->kind == DT_JSON_INT)
        *(int *)field->target = (int)number;
    else if (field->kind == DT_JSON_INT64)
        *(int64_t *)field->target = number;
    else
        *(size_t *)field->target = (size_t)number;
    return true;
}

static bool read_number(const place *at, const dt_json_field *field, const json_t *value, dt_error *error)
{
    if (!json_is_number(value))
        return expected(at, "a number", value, error);
    double number = json_number_value(value);
    if (!check_range(at, field, number, error))
        return false;
    if (field->kind == DT_JSON_FLOAT && !isfinite((float)number))
        return fail_at(at, error, "%.15g does not fit in a 32-bit float", number);
    if (field->target && field->kind == DT_JSON_FLOAT)
        *(float *)field->target = (float)number;
    else if (field->target)
        *(double *)field->target = number;
    return true;
}

static bool read_string(const place *at, const dt_json_field *field, const json_t *value, dt_error *error)
{
    if (!json_is_string(value))
        return expected(at, "a string", value, error);
    const char *text = json_string_value(value);
    bool good = !field->choices;
    for (const char *word = field->choices; word && *word && !good;) {
        size_t n = strcspn(word, "|");
        good = n == strlen(text) && memcmp(word, text, n) == 0;
        word += n + (word[n] == '|');
    }
    if (!good)
        return fail_at(at, error, "expected one of %s, found \"%.200s\"", field->choices, text);
    if (field->target)
        *(const char **)field->target = text;
    return true;
}

static bool read_field(const place *at, const dt_json_field *field, const json_t *value, dt_error *error)
{
    switch (field->kind) {
    case DT_JSON_BOOL:
        if (!json_is_boolean(value))
            return expected(at, "true or false", value, error);
        if (field->target)
            *(bool *)field->target = json_is_true(value);
        return true;
    case DT_JSON_INT:
    case DT_JSON_INT64:
    case DT_JSON_SIZE:
        return read_integer(at, field, value, error);
    case DT_JSON_FLOAT:
    case DT_JSON_DOUBLE:
        return read_number(at, field, value, error);
    case DT_JSON_STRING:
        return read_string(at, field, value, error);
    case DT_JSON_OBJECT:
        if (!json_is_object(value))
            return expected(at, "an object", value, error);
        break;
    case DT_JSON_ARRAY:
        if (!json_is_array(value))
            return expected(at, "an array", value, error);
        break;
    case DT_JSON_ANY:
        break;
    }
    if (field->target)
        *(const json_t **)field->target = value;
    return true;
}

static bool check_unknown(const json_t *object, const char *file, const char *path,
                          const dt_json_field *fields, size_t count, dt_error *error)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        dt_nearest near = {.word = key};
        bool known = false;
        for (size_t i = 0; i < count && !known; i++) {
            known = strcmp(fields[i].key, key) == 0;
            dt_nearest_try(&near, fields[i].key);
        }
        char name[128]; /* a hostile file's keys may be as long as the file */
        snprintf(name, sizeof name, "%.100s%s", key, strlen(key) > 100 ? "..." : "");
        const place at = {file, path, name};
        if (!known && near.best)
            return fail_at(&at, error, "unknown key; did you mean \"%s\"?", near.best);
        if (!known)
            return fail_at(&at, error, "unknown key");
    }
    return true;
}

bool dt_json_read_known(const json_t *object, const char *file, const char *path, const dt_json_field *fields,
                        size_t count, dt_error *error)
{
    if (!json_is_object(object))
        return expected(&(place){file, path, ""}, "an object", object, error);
    for (size_t i = 0; i < count; i++) {
        const place at = {file, path, fields[i].key};
        const json_t *value = json_object_get(object, fields[i].key);
        if (!value || json_is_null(value)) {
            if (fields[i].required)
                return fail_at(&at, error, value ? "required, found null" : "required, but missing");
        } else if (!read_field(&at, &fields[i], value, error)) {
            return false;
        }
    }
    return true;
}

bool dt_json_read(const json_t *object, const char *file, const char *path, const dt_json_field *fields,
                  size_t count, dt_error *error)
{
    if (json_is_object(object) && !check_unknown(object, file, path, fields, count, error))
        return false;
    return dt_json_read_known(object, file, path, fields, count, error);
}

static bool is_number(const char *text)
{
    return text[strspn(text, "+-.0123456789eE")] == 0;
}

static json_t *override_value(const char *text, const json_t *present, dt_error *error)
{
    json_error_t problem;
    json_t *value = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &problem);
    if (!value && is_number(text) && json_error_code(&problem) == json_error_numeric_overflow && !json_is_string(present)) {
        dt_fail(error, "--set: the number %s is too large (a text that looks like one goes into quotes)", text);
        return NULL;
    }
    if (json_is_real(value) && strpbrk(text, "eE") && whole(json_real_value(value))) { /* 1e6 steps */
        json_int_t number = (json_int_t)json_real_value(value);
        json_decref(value);
        value = json_integer(number);
    }
    if (value && json_is_string(present) && !json_is_string(value) && !json_is_object(value) && !json_is_array(value)) {
        json_decref(value);
        value = NULL;
    }
    if (!value)
        value = json_string(text);
    if (!value)
        dt_fail(error, "--set: the value '%s' is not valid UTF-8", text);
    return value;
}

/* One step down the path. Returns the child object of `object`, made where it is absent. */
static json_t *step(json_t *object, const char *key, const json_t *known, const char *assignment,
                    dt_error *error)
{
    json_t *child = json_object_get(object, key);
    if (!json_is_object(known)) {
        dt_fail(error, "--set %s: \"%s\" is %s and has no keys", assignment, key, dt_json_kind_name(known));
        return NULL;
    }
    if (!json_is_object(child)) {
        child = json_object();
        if (!child || json_object_set_new(object, key, child) != 0) {
            dt_fail(error, "--set %s: no memory", assignment);
            return NULL;
        }
    }
    return child;
}

static bool exists(const json_t *defaults, const char *key, const char *assignment, dt_error *error)
{
    if (json_object_get(defaults, key))
        return true;
    dt_nearest near = {.word = key};
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)defaults, name, value)
    {
        dt_nearest_try(&near, name);
    }
    if (near.best)
        return dt_fail(error, "--set %s: unknown key \"%s\"; did you mean \"%s\"?", assignment, key,
                       near.best);
    return dt_fail(error, "--set %s: unknown key \"%s\"", assignment, key);
}

bool dt_json_set(json_t *object, const json_t *defaults, const char *assignment, dt_error *error)
{
    const char *equals = strchr(assignment, '=');
    if (!equals || equals == assignment)
        return dt_fail(error, "--set %s: expected KEY=VALUE or KEY.KEY=VALUE", assignment);
    char *path = strndup(assignment, (size_t)(equals - assignment)), *key = path;
    if (!path)
        return dt_fail(error, "--set %s: no memory", assignment);
    if (!defaults)
        defaults = object;
    bool good = true;
    for (char *dot; good && (dot = strchr(key, '.')); key = dot + 1) {
        *dot = 0;
        good = exists(defaults, key, assignment, error);
        if (good) {
            defaults = json_object_get(defaults, key);
            object = step(object, key, defaults, assignment, error);
            good = object != NULL;
        }
    }
    good = good && exists(defaults, key, assignment, error);
    json_t *value = good ? override_value(equals + 1, json_object_get(defaults, key), error) : NULL;
    if (value && json_object_set_new(object, key, value) != 0)
        value = NULL, dt_fail(error, "--set %s: no memory", assignment);
    free(path);
    return value != NULL;
}

char *dt_json_text(const json_t *value, int indent, dt_error *error)
{
    size_t layout = JSON_ENCODE_ANY | (indent ? (size_t)JSON_INDENT((unsigned)indent) : 0);
    char *text = json_dumps(value, layout | JSON_REAL_PRECISION(15));
    json_t *back = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    if (text && !json_equal(value, back)) { /* 0.1 stays "0.1", and nothing is lost */
        free(text);
        text = json_dumps(value, layout | JSON_REAL_PRECISION(17));
    }
    json_decref(back);
    if (!text)
        dt_fail(error, "cannot write as JSON: a number that is not finite, or text that is not UTF-8");
    return text;
}

json_t *dt_json_float(float value)
{
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    return json_real(strtod(text, NULL));
}

bool dt_json_write(const char *path, const json_t *value, dt_error *error)
{
    char *text = dt_json_text(value, 2, error);
    if (!text)
        return dt_fail_prefix(error, "%s", path);
    dt_writer *writer = dt_writer_open(path, error);
    if (writer)
        dt_writer_printf(writer, "%s\n", text);
    free(text);
    return writer && dt_writer_commit(writer, error);
}

int dt_choice_index(const char *choices, const char *word)
{
    size_t length = strlen(word);
    for (int i = 0;; i++) {
        const char *end = strchrnul(choices, '|');
        if ((size_t)(end - choices) == length && !memcmp(choices, word, length))
            return i;
        if (!*end)
            return -1;
        choices = end + 1;
    }
}
