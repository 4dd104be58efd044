/* What makes the report a pleasure to look at, as text to put into the page. */
#ifndef DUET_EVAL_REPORT_STYLE_H
#define DUET_EVAL_REPORT_STYLE_H

extern const char dt_report_css[];    /* light and dark, 320 pixels wide and up */
extern const char dt_report_script[]; /* values under the pointer (or the arrow keys) in all charts at once */

#endif
