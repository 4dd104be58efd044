/* The frame of every page: head with style and security policy, title, foot with the script. */
#ifndef DUET_EVAL_REPORT_PAGE_H
#define DUET_EVAL_REPORT_PAGE_H

#include "data/file.h"

/* From the doctype to the page's <h1>, within <main><header>: the caller ends the header. The policy lets in
 * what the file holds and nothing else. `kicker` is the line above the title: HTML. */
void dt_page_begin(dt_writer *writer, const char *title, const char *kicker);
void dt_page_end(dt_writer *writer);

/* <section> with its heading, to which links of the page may lead: "#ID". */
void dt_section_begin(dt_writer *writer, const char *id, const char *title);
void dt_section_end(dt_writer *writer);

#endif
