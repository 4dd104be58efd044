#include "experiments/progress.h"

#include <stdio.h>
#include <unistd.h>

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
