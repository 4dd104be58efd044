#include "experiments/print.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/json.h"

void dt_print_scores(const dt_score *scores, size_t count)
{
    size_t width = strlen("figure");
    for (size_t i = 0; i < count; i++)
        width = strlen(scores[i].name) > width ? strlen(scores[i].name) : width;
    if (count)
        printf("%-*s  %9s  %-16s  %7s  %9s\n", (int)width, "figure", "value", "95 % interval", "n", "chance");
    for (size_t i = 0; i < count; i++) {
        const dt_score *s = &scores[i];
        char interval[48] = "", chance[32] = "";
        if (!isnan(s->low))
            snprintf(interval, sizeof interval, "%.2f to %.2f %%", 100 * s->low, 100 * s->high);
        if (!isnan(s->chance) && !s->rank)
            snprintf(chance, sizeof chance, "%.2f %%", 100 * s->chance);
        if (s->rank)
            printf("%-*s  %7.1f    ", (int)width, s->name, s->value);
        else
            printf("%-*s  %7.2f %%  ", (int)width, s->name, 100 * s->value);
        printf("%-16s  %7zu  %9s  %s\n", interval, s->n, chance, s->note);
    }
}

void dt_print_query(const dt_query_found *found, const dt_dataset *data)
{
    const char *quote = found->kind == DT_QUERY_TEXT ? "\"" : "";
    printf("%s%s%s\n", quote, found->query, quote);
    bool marked = false;
    for (size_t i = 0; i < found->count; i++) {
        const dt_hit_found *hit = &found->hits[i];
        marked |= hit->correct > 0;
        const char *file = dt_dataset_file(data, hit->index);
        bool told = !file || !strcmp(file, hit->text);
        printf("%4zu  %6.3f  %s %s (image %zu%s%s)\n", i + 1, (double)hit->score,
               hit->correct > 0 ? "*" : " ", hit->text, hit->index, told ? "" : ", ", told ? "" : file);
    }
    if (marked)
        printf("              * goes with the query: by its captions or its class\n");
}

bool dt_print_json(const json_t *json, int indent, dt_error *error)
{
    char *text = dt_json_text(json, indent, error);
    if (text)
        puts(text);
    free(text);
    return text;
}

bool dt_print_flush(dt_error *error)
{
    bool lost = ferror(stdout); /* before now: why is only told by writing once more */
    errno = 0;
    if (lost)
        putchar('\n');
    if (fflush(stdout) == 0 && !lost)
        return true;
    return dt_fail(error, "cannot write to standard output%s%s", errno ? ": " : "", errno ? strerror(errno) : "");
}
