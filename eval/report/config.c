#include "eval/report/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/json.h"
#include "eval/report/html.h"

enum { ROWS_MOST = 1000, DEPTH_MOST = 32, VALUE_MOST = 400, PATH_ROOM = 512 };

/* ---- the values of a configuration ---- */

static bool is_plain_list(const json_t *value)
{
    for (size_t i = 0; i < json_array_size(value); i++)
        if (json_is_object(json_array_get(value, i)) || json_is_array(json_array_get(value, i)))
            return false;
    return json_is_array(value);
}

typedef struct walk {
    dt_config_see *see;
    void *context;
    char path[PATH_ROOM]; /* what does not fit is cut */
} walk;

/* The path has `length` bytes. */
static bool visit(walk *w, size_t length, const json_t *value, int depth)
{
    bool empty = !json_object_size(value) && !json_array_size(value), more = true;
    if (empty || is_plain_list(value) || depth == DEPTH_MOST)
        return w->see(w->context, w->path, value);
    const char *key;
    json_t *member;
    json_object_foreach((json_t *)value, key, member)
    {
        snprintf(w->path + length, PATH_ROOM - length, "%s%s", length ? "." : "", key);
        more = more && visit(w, strlen(w->path), member, depth + 1);
    }
    for (size_t i = 0; more && i < json_array_size(value); i++) {
        snprintf(w->path + length, PATH_ROOM - length, "[%zu]", i);
        more = visit(w, strlen(w->path), json_array_get(value, i), depth + 1);
    }
    w->path[length] = 0;
    return more;
}

void dt_config_each(const json_t *config, dt_config_see *see, void *context)
{
    walk w = {.see = see, .context = context};
    if (json_object_size(config))
        visit(&w, 0, config, 0);
}

/* ---- as a table ---- */

void dt_config_write_value(dt_writer *writer, const json_t *value)
{
    if (json_is_string(value)) {
        dt_html_text_cut(writer, json_string_value(value), VALUE_MOST);
        return;
    }
    char *text = dt_json_text(value, 0, NULL);
    dt_html_text_cut(writer, text ? text : "?", VALUE_MOST);
    free(text);
}

typedef struct table {
    dt_writer *writer;
    size_t rows, left_out;
} table;

static bool write_row(void *context, const char *path, const json_t *value)
{
    table *t = context;
    if (t->rows == ROWS_MOST) {
        t->left_out++;
        return true;
    }
    t->rows++;
    dt_writer_printf(t->writer, "<tr><th scope=\"row\">");
    dt_html_text(t->writer, path);
    dt_writer_printf(t->writer, "</th><td>");
    dt_config_write_value(t->writer, value);
    dt_writer_printf(t->writer, "</td></tr>\n");
    return true;
}

static void write_table(dt_writer *w, const char *first, const char *second, const json_t *values)
{
    table t = {.writer = w};
    dt_writer_printf(
        w,
        "<table class=\"config\"><thead><tr><th scope=\"col\">%s</th><th scope=\"col\">%s</th></tr>"
        "</thead><tbody>\n",
        first, second);
    dt_config_each(values, write_row, &t);
    dt_writer_printf(w, "</tbody></table>\n");
    if (t.left_out)
        dt_writer_printf(w, "<p class=\"absent\">%zu more values are in config.json.</p>\n", t.left_out);
}

void dt_config_write(dt_writer *writer, const json_t *config)
{
    write_table(writer, "Setting", "Value", config);
}

/* ---- how to repeat it ---- */

/* As a shell reads it back: quoted where it has more than letters, digits and harmless signs. */
static void write_quoted(dt_writer *w, const char *word)
{
    static const char harmless[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=.,:/@%";
    if (*word && !word[strspn(word, harmless)]) {
        dt_html_text(w, word);
        return;
    }
    dt_html_text(w, "'");
    for (const char *part = word; *part;) {
        size_t length = strcspn(part, "'");
        char *piece = strndup(part, length);
        dt_html_text(w, piece ? piece : "");
        free(piece);
        part += length;
        if (*part == '\'') {
            dt_html_text(w, "'\\''");
            part++;
        }
    }
    dt_html_text(w, "'");
}

/* A span, so that a line breaks between words. */
static void write_word(dt_writer *w, const char *word)
{
    dt_writer_printf(w, "<span>");
    write_quoted(w, word);
    dt_writer_printf(w, "</span>");
}

static bool write_command(dt_writer *w, const json_t *command)
{
    if (!json_is_string(command) && !json_array_size(command))
        return false;
    dt_writer_printf(w, "<pre><code>");
    if (json_is_string(command))
        dt_html_text(w, json_string_value(command));
    for (size_t i = 0; i < json_array_size(command); i++) {
        const char *word = json_string_value(json_array_get(command, i));
        dt_writer_printf(w, "%s", i ? " " : "");
        write_word(w, word ? word : "?");
    }
    dt_writer_printf(w, "</code></pre>\n");
    return true;
}

/* config.json is a configuration itself: everything that was in force. */
static void write_rerun(dt_writer *w, const char *run)
{
    char *config = dt_join(run, "config.json");
    dt_writer_printf(w, "<pre><code><span>duet</span> <span>pretrain</span> ");
    write_word(w, config ? config : "config.json");
    dt_writer_printf(w, " <span>--out</span> <span>NEW_FOLDER</span></code></pre>\n");
    free(config);
}

void dt_reproduce_write(dt_writer *writer, const json_t *config, const char *run)
{
    if (!write_command(writer, json_object_get(config, "command")))
        write_rerun(writer, run);
    const json_t *versions = json_object_get(config, "versions");
    if (json_object_size(versions))
        write_table(writer, "Part", "Version", versions);
}
