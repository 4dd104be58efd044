/* What makes the report a pleasure to look at, as text to put into the page: both styles in one <style>, both scripts in
 * one <script>, in this order. */
#ifndef DUET_EVAL_REPORT_STYLE_H
#define DUET_EVAL_REPORT_STYLE_H

extern const char dt_report_css[];    /* light and dark, 320 pixels wide and up */
extern const char dt_report_script[]; /* values under the pointer (or the arrow keys) in all charts at once */

extern const char dt_plot_css[];    /* of the plots: curves, confusion, calibration, map, tables, the comparison */
extern const char dt_plot_script[]; /* values under the pointer, the keys or a finger in these; tables that sort */

#endif
