#include "eval/report/page.h"

#include "eval/report/html.h"
#include "eval/report/style.h"

enum { TITLE_MOST = 200 };

/* The nonce keeps out scripts that are not ours. */
void dt_page_begin(dt_writer *writer, const char *title, const char *kicker)
{
    dt_writer_printf(
        writer,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
        "style-src 'unsafe-inline'; script-src 'nonce-report'; base-uri 'none'; form-action 'none'\">\n"
        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
        "<meta name=\"color-scheme\" content=\"light dark\">\n<title>");
    dt_html_text_cut(writer, title, TITLE_MOST);
    dt_writer_printf(writer,
                     " – Duet</title>\n<style>%s%s</style></head>\n<body><main>\n"
                     "<header class=\"top\"><p class=\"kicker\">%s</p><h1 dir=\"auto\">",
                     dt_report_css, dt_plot_css, kicker);
    dt_html_text_cut(writer, title, TITLE_MOST);
    dt_writer_printf(writer, "</h1>\n");
}

void dt_page_end(dt_writer *writer)
{
    dt_writer_printf(writer, "</main><script nonce=\"report\">%s%s</script></body></html>\n",
                     dt_report_script, dt_plot_script);
}

void dt_section_begin(dt_writer *writer, const char *id, const char *title)
{
    dt_writer_printf(writer, "<section aria-labelledby=\"%s\"><h2 id=\"%s\">%s</h2>\n", id, id, title);
}

void dt_section_end(dt_writer *writer)
{
    dt_writer_printf(writer, "</section>\n");
}
