#include "eval/lines.h"

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

/* Reads a line, of which at most DT_LINE_MAX bytes are kept. Returns what ended it: a line feed, EOF or a NUL. */
static int read_line(dt_lines *l, size_t *length)
{
    int c;
    for (*length = 0; (c = getc(l->in)) != EOF && c && c != '\n'; ++*length)
        if (*length < DT_LINE_MAX)
            l->line[*length] = (char)c;
    l->line[*length < DT_LINE_MAX ? *length : DT_LINE_MAX] = 0;
    l->number++;
    return c;
}

static char *trimmed(char *line)
{
    char *start = line + strspn(line, " \t\r"), *end = line + strlen(line);
    while (end > start && strchr(" \t\r", end[-1]))
        *--end = 0;
    return start;
}

bool dt_lines_next(dt_lines *l, const char **text, dt_error *error)
{
    *text = NULL;
    while (!l->over) {
        size_t length;
        int end = read_line(l, &length);
        l->over = end != '\n';
        if (ferror(l->in))
            return dt_fail(error, "cannot read %s: %s", l->name, strerror(errno));
        if (!end)
            return dt_fail(error, "%s:%zu: a NUL; expected one text a line", l->name, l->number);
        if (length > DT_LINE_MAX)
            return dt_fail(error, "%s:%zu: %zu bytes; expected at most %d", l->name, l->number, length, DT_LINE_MAX);
        const char *line = trimmed(l->line);
        if (!*line)
            continue;
        if (!dt_caption_check(line, error))
            return dt_fail_prefix(error, "%s:%zu", l->name, l->number);
        *text = line;
        return true;
    }
    return true;
}
