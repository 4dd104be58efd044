/* Links between files. */
#ifndef DUET_EVAL_REPORT_RELATIVE_H
#define DUET_EVAL_REPORT_RELATIVE_H

/* The path that leads to the file `to` from a page at `from`, as a URL: "../runs/a%20b/report.html". `to` and
 * the folder of `from` must exist. The caller frees. NULL: they do not, or no memory. */
char *dt_relative_url(const char *from, const char *to);

#endif
