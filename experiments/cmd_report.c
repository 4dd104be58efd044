/* duet report: a run's curves, figures and pictures as one HTML file. */
#include <stdio.h>

#include "eval/report.h"
#include "experiments/commands.h"
#include "experiments/options.h"

int dt_cmd_report(int argc, char **argv);

int dt_cmd_report(int argc, char **argv)
{
    const dt_usage usage = {"duet report", "RUN",
                            "Writes RUN/report.html anew from RUN/config.json, RUN/log.jsonl and "
                            "RUN/evaluation.json: one file that "
                            "a browser opens from disk. Parts whose file is absent are left out.",
                            .least = 1, .most = 1};
    char **runs;
    int count, status = dt_options_parse(&usage, argc, argv, &runs, &count);
    if (status >= 0)
        return status;
    dt_error error;
    if (!dt_report_write(runs[0], &error)) {
        fprintf(stderr, "duet report: %s\n", error.message);
        return DT_EXIT_FAILURE;
    }
    printf("%s/report.html\n", runs[0]);
    return fflush(stdout) ? DT_EXIT_FAILURE : DT_EXIT_GOOD;
}
