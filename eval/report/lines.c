#include "eval/report/lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "data/pairs.h"

bool dt_lines_open(dt_lines *l, const char *path, dt_error *error)
{
    bool standard = !strcmp(path, "-");
    *l = (dt_lines){.in = standard ? stdin : fopen(path, "r"), .name = standard ? "standard input" : path};
    if (!l->in)
        return dt_fail(error, "cannot open %s: %s", path, strerror(errno));
    l->line = malloc((size_t)DT_LINE_MAX + 1);
    return l->line || dt_fail(error, "no memory for the lines of %s", l->name);
}

void dt_lines_close(dt_lines *l)
{
    if (l->in && l->in != stdin)
        fclose(l->in);
    free(l->line);
    *l = (dt_lines){0};
}

/* Reads to the end of a line, of which at most DT_LINE_MAX bytes are kept. False: there is none. */
static bool read_line(dt_lines *l, size_t *length)
{
    int c;
    for (*length = 0; (c = getc(l->in)) != EOF && c != '\n'; ++*length)
        if (*length < DT_LINE_MAX)
            l->line[*length] = (char)c;
    l->line[*length < DT_LINE_MAX ? *length : DT_LINE_MAX] = 0;
    l->number++;
    return c != EOF || *length;
}

bool dt_lines_next(dt_lines *l, const char **text, dt_error *error)
{
    size_t length;
    *text = NULL;
    if (ferror(l->in)) /* which was told */
        return true;
    while (read_line(l, &length)) {
        char *start = l->line + strspn(l->line, " \t\r"), *end = l->line + strlen(l->line);
        bool good = length <= DT_LINE_MAX ? (size_t)(end - l->line) == length || dt_fail(error, "a NUL in the text")
                                          : dt_fail(error, "%zu bytes; expected at most %d", length, DT_LINE_MAX);
        while (end > start && strchr(" \t\r", end[-1]))
            *--end = 0;
        if (good && end == start)
            continue;
        if (!good || !dt_caption_check(start, error))
            return dt_fail_prefix(error, "%s:%zu", l->name, l->number);
        *text = start;
        return true;
    }
    return !ferror(l->in) || dt_fail(error, "cannot read %s: %s", l->name, strerror(errno));
}
