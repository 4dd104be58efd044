#include "experiments/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "data/clock.h"

static void show(void *context, const char *what, size_t done, size_t total)
{
    (void)context;
    fprintf(stderr, "\r\033[K");
    if (done < total)
        fprintf(stderr, "%s %zu / %zu", what, done, total);
}

dt_progress dt_terminal_progress(bool quiet)
{
    return (dt_progress){.tell = quiet || !isatty(STDERR_FILENO) ? NULL : show};
}

/* Counted from the first call, so that what is soon through says nothing. */
static void write_line(void *context, const char *what, size_t done, size_t total)
{
    dt_progress_lines *lines = context;
    const double time = dt_now(), every = lines->every > 0 ? lines->every : DT_PROGRESS_SECONDS;
    if (lines->last <= 0)
        lines->last = time;
    if (time - lines->last < every || done >= total)
        return;
    lines->last = time;
    fprintf(stderr, "%s %zu / %zu\n", what, done, total);
}

dt_progress dt_lasting_progress(dt_progress_lines *lines, bool quiet)
{
    if (quiet || isatty(STDERR_FILENO))
        return dt_terminal_progress(quiet);
    return (dt_progress){.tell = write_line, .context = lines};
}
