#include "data/error.h"

#include <stdio.h>
#include <string.h>

static void finish(dt_error *error, int written)
{
    if (written >= (int)sizeof error->message)
        memcpy(error->message + sizeof error->message - 4, "...", 4);
    for (char *c = error->message; *c; c++) /* one line, whatever a file name or a caption holds */
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
}

bool dt_fail(dt_error *error, const char *format, ...)
{
    if (!error)
        return false;
    va_list arguments;
    va_start(arguments, format);
    finish(error, vsnprintf(error->message, sizeof error->message, format, arguments));
    va_end(arguments);
    return false;
}

bool dt_fail_prefix(dt_error *error, const char *format, ...)
{
    if (!error)
        return false;
    dt_error inner = *error;
    va_list arguments;
    va_start(arguments, format);
    int prefix = vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    if (prefix < 0 || prefix >= (int)sizeof error->message - 3) {
        *error = inner;
        return false;
    }
    size_t left = sizeof error->message - (size_t)prefix;
    finish(error, prefix + snprintf(error->message + prefix, left, ": %s", inner.message));
    return false;
}
