/* Text, numbers and pictures as HTML, onto a dt_writer (which remembers a failed write). */
#ifndef DUET_EVAL_REPORT_HTML_H
#define DUET_EVAL_REPORT_HTML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/file.h"

/* Writes text for element content and for attribute values in double or single quotes. Whatever the bytes
 * are, what is written is UTF-8: a byte that is no part of a well-formed sequence (RFC 3629), and a control
 * character other than tab and line feed, becomes U+FFFD. */
void dt_html_text(dt_writer *writer, const char *text);

/* The same, at most `most` characters and then an ellipsis. */
void dt_html_text_cut(dt_writer *writer, const char *text, size_t most);

/* Base 64 (RFC 4648) with padding, without line breaks: the body of a data: URI. */
void dt_html_base64(dt_writer *writer, const uint8_t *bytes, size_t size);

/* Numbers for people. The result lies in `room`. */
enum { DT_NUMBER_ROOM = 48 };
const char *dt_html_number(double value, char room[DT_NUMBER_ROOM]);  /* "0.5123", "1,234", "2.00e-05" */
const char *dt_html_count(int64_t value, char room[DT_NUMBER_ROOM]);  /* "1,234,567" */
const char *dt_html_percent(double share, char room[DT_NUMBER_ROOM]); /* 0.483: "48.3 %", 0.0009: "0.09 %";
                                                                          below 0.01 %: "0 %" */

/* From one value to another, both with the same number of digits: "99.9 to 100.0 %", "0.86 to 1.90 %", or
 * "3.000 to 4.500". */
enum { DT_RANGE_ROOM = 2 * DT_NUMBER_ROOM + 8 };
const char *dt_html_percent_range(double low, double high, char room[DT_RANGE_ROOM]);
const char *dt_html_number_range(double low, double high, char room[DT_RANGE_ROOM]);

/* Whether a text has a word that is too long for a narrow column. */
bool dt_html_long_word(const char *text);

#endif
