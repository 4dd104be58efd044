/* What a long computation tells where nobody sees a terminal. */
#include "experiments/progress.h"

#include "tests/tap.h"

#include <unistd.h>

/* What was written to stderr while the progress was told of `count` times; the caller frees. */
static char *written(double every, bool quiet, size_t count)
{
    dt_progress_lines lines = {.every = every};
    FILE *file = tmpfile();
    char *text = calloc(1, 4096);
    int old = dup(STDERR_FILENO);
    fflush(stderr);
    dup2(fileno(file), STDERR_FILENO);
    dt_progress progress = dt_lasting_progress(&lines, quiet);
    for (size_t i = 1; progress.tell && i <= count; i++) {
        usleep(2000);
        progress.tell(progress.context, "bound", i, count);
    }
    fflush(stderr);
    dup2(old, STDERR_FILENO);
    close(old);
    rewind(file);
    text[fread(text, 1, 4095, file)] = 0;
    fclose(file);
    return text;
}

int main(void)
{
    char *often = written(1e-3, false, 4), *seldom = written(0, false, 4), *never = written(1e-3, true, 4);
    ok(!strcmp(often, "bound 2 / 4\nbound 3 / 4\n"), "a line each time that the span has gone by, none at the end: %s", often);
    ok(!*seldom, "none of what is soon through");
    ok(!*never, "none when quiet");
    free(often);
    free(seldom);
    free(never);
    return done();
}
