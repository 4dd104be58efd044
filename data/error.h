/* The one error path outside the tensor core.
 *
 * A function that can fail takes a `dt_error *` last and returns false or NULL; the message then says what
 * was found, what was expected, where (file, line, key), and what to do, in one line without a full stop.
 * Nothing below main prints or exits. Passing NULL is allowed where the caller does not want the message. */
#ifndef DUET_DATA_ERROR_H
#define DUET_DATA_ERROR_H

#include <stdarg.h>
#include <stdbool.h>

typedef struct dt_error {
    char message[4096]; /* UTF-8, one line; longer text is cut with "..." */
} dt_error;

/* Writes the message, printf-style. Always returns false, so that `return dt_fail(...)` reads well. */
bool dt_fail(dt_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "PREFIX: " before the message that is there: the caller adds what the callee could not know.
 * Always returns false. */
bool dt_fail_prefix(dt_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
