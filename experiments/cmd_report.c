/* duet report: a run's curves, figures and pictures as one HTML file; or several runs side by side. */
#include <stdio.h>

#include "eval/report/compare.h"
#include "eval/report/report.h"
#include "experiments/commands.h"
#include "experiments/options.h"

int dt_cmd_report(int argc, char **argv);

int dt_cmd_report(int argc, char **argv)
{
    const char *out = NULL;
    const dt_option options[] = {
        {"out", 'o', DT_STRING, &out, "FILE",
         "where to write the comparison of several runs (default: compare.html)", .required = false},
    };
    const dt_usage usage = {
        "duet report",
        "RUN [RUN...]",
        "Writes RUN/report.html anew from RUN/config.json, RUN/log.jsonl and "
        "RUN/evaluation.json: one file that a browser opens from disk. Parts whose file is "
        "absent are left out. With several runs it writes one page that compares them: the "
        "settings that differ, all figures, and the training curves over each other.",
        options,
        sizeof options / sizeof options[0],
        .least = 1,
        .most = DT_COMPARED_MOST};
    char **runs;
    int count, status = dt_options_parse(&usage, argc, argv, &runs, &count);
    if (status >= 0)
        return status;
    if (count == 1 && out) {
        fprintf(stderr, "duet report: --out is for several runs; one run's report is %s/report.html\n",
                runs[0]);
        return DT_EXIT_USAGE;
    }
    out = out ? out : "compare.html";
    dt_error error;
    bool good = count == 1 ? dt_report_write(runs[0], &error)
                           : dt_report_compare((const char *const *)runs, (size_t)count, out, &error);
    if (!good) {
        fprintf(stderr, "duet report: %s\n", error.message);
        return DT_EXIT_FAILURE;
    }
    printf("%s%s\n", count == 1 ? runs[0] : out, count == 1 ? "/report.html" : "");
    return fflush(stdout) ? DT_EXIT_FAILURE : DT_EXIT_GOOD;
}
