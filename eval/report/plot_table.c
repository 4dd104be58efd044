#include "eval/report/plot_table.h"

#include <string.h>

#include "eval/report/html.h"
#include "eval/report/plot_axis.h"

enum {
    CELL_MOST = 120,
    WIDE = 14, /* letters, about, that a narrow page has room for */
    FOLD = 16, /* rows that stand open */
};

typedef struct column {
    bool numbers; /* and blanks only */
    dt_unit unit;
} column;

static const json_t *cell_at(const dt_table *t, size_t row, size_t at)
{
    return json_array_get(json_array_get(t->rows, row), at);
}

static column column_of(const dt_table *t, size_t at)
{
    bool numbers = true, shares = strcmp(t->columns[at], "n") != 0;
    for (size_t i = 0; i < json_array_size(t->rows); i++) {
        const json_t *cell = cell_at(t, i, at);
        double value = json_number_value(cell);
        numbers = numbers && !json_is_string(cell);
        shares = shares && value >= 0 && value <= 1;
    }
    return (column){numbers, numbers && shares ? DT_UNIT_SHARE : DT_UNIT_NUMBER};
}

static bool is_summary(const dt_table *t, size_t row)
{
    const char *first = json_string_value(cell_at(t, row, 0));
    size_t length = first ? strlen(first) : 0;
    return length > 5 && !strcmp(first + length - 5, " mean");
}

static void write_cell(dt_writer *w, const json_t *cell, column c, bool first)
{
    char room[DT_NUMBER_ROOM];
    dt_writer_printf(w, first ? "<th scope=\"row\" dir=\"auto\"" : "<td");
    if (first && json_is_string(cell) && json_string_length(cell) > WIDE) { /* a narrow page cuts it */
        dt_writer_printf(w, " title=\"");
        dt_html_text_cut(w, json_string_value(cell), CELL_MOST);
        dt_writer_printf(w, "\"");
    }
    if (json_is_number(cell)) {
        double value = json_number_value(cell);
        dt_writer_printf(w, " data-v=\"%.9g\">%s", value, dt_unit_text(value, c.unit, room));
    } else {
        dt_writer_printf(w, ">");
        dt_html_text_cut(w, json_is_null(cell) ? "–" : json_string_value(cell), CELL_MOST);
    }
    dt_writer_printf(w, first ? "</th>" : "</td>");
}

static void write_rows(dt_writer *w, const dt_table *t, const column *columns, bool summaries)
{
    size_t shown = 0;
    for (size_t i = 0; i < json_array_size(t->rows) && shown < DT_TABLE_ROWS_SHOWN; i++) {
        if (is_summary(t, i) != summaries)
            continue;
        dt_writer_printf(w, "<tr>");
        for (size_t j = 0; j < t->column_count; j++)
            write_cell(w, cell_at(t, i, j), columns[j], j == 0);
        dt_writer_printf(w, "</tr>\n");
        shown++;
    }
}

static void write_body(dt_writer *w, const dt_table *t)
{
    column columns[DT_COLUMNS_MOST];
    dt_writer_printf(w, "<div class=\"box\" tabindex=\"0\" role=\"region\" aria-label=\"");
    dt_html_text_cut(w, t->name, CELL_MOST);
    dt_writer_printf(w, "\"><table class=\"sorted\"><thead><tr>");
    for (size_t i = 0; i < t->column_count; i++) {
        columns[i] = column_of(t, i);
        dt_writer_printf(w, "<th scope=\"col\"%s>", columns[i].numbers ? "" : " class=\"words\"");
        dt_html_text_cut(w, t->columns[i], CELL_MOST);
        dt_writer_printf(w, "</th>");
    }
    dt_writer_printf(w, "</tr></thead><tbody>\n");
    write_rows(w, t, columns, false);
    dt_writer_printf(w, "</tbody><tfoot>\n");
    write_rows(w, t, columns, true);
    dt_writer_printf(w, "</tfoot></table></div>");
}

void dt_table_write(dt_writer *writer, const dt_table *table)
{
    char room[DT_NUMBER_ROOM];
    size_t rows = json_array_size(table->rows);
    bool folded = rows > FOLD;
    dt_writer_printf(writer, folded ? "<details class=\"table\"><summary>" : "<div class=\"table\"><h3>");
    dt_html_text_cut(writer, table->name, CELL_MOST);
    dt_writer_printf(writer, " <small>");
    if (folded)
        dt_writer_printf(writer, "%s rows", dt_html_count((int64_t)rows, room));
    if (table->n >= 0)
        dt_writer_printf(writer, "%sn = %s", folded ? " · " : "", dt_html_count(table->n, room));
    dt_writer_printf(writer, "</small>%s\n", folded ? "</summary>" : "</h3>");
    write_body(writer, table);
    if (rows > DT_TABLE_ROWS_SHOWN)
        dt_writer_printf(writer, "<p class=\"absent\">The rest of the rows is in evaluation.json.</p>");
    dt_writer_printf(writer, "%s\n", folded ? "</details>" : "</div>");
}
