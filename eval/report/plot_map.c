#include "eval/report/plot_map.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "data/json.h"
#include "data/utf8.h"
#include "eval/report/html.h"
#include "eval/report/plot_label.h"

enum { WIDTH = 1000, TEXT_BYTES_MOST = 160, TITLE_MOST = 120, NAME_MOST = 24 };

/* The part of the plane that is shown, in its own shape: distances are the same along both axes. */
typedef struct frame {
    const dt_embedding_map *map;
    double x0, y0, scale; /* units to the viewBox */
    int height;
    bool coloured; /* by class */
} frame;

static void set_frame(frame *f)
{
    const dt_embedding_map *m = f->map;
    double x0 = INFINITY, x1 = -INFINITY, y0 = INFINITY, y1 = -INFINITY;
    for (size_t i = 0; i < m->point_count; i++) {
        x0 = fmin(x0, m->points[i].x), x1 = fmax(x1, m->points[i].x);
        y0 = fmin(y0, m->points[i].y), y1 = fmax(y1, m->points[i].y);
    }
    double wide = fmax(x1 - x0, 1e-9), high = fmax(y1 - y0, 1e-9), room = 0.03 * fmax(wide, high);
    double shape = fmin(fmax((high + 2 * room) / (wide + 2 * room), 0.4), 1.1);
    f->height = (int)(WIDTH * shape);
    f->scale = fmin(WIDTH / (wide + 2 * room), f->height / (high + 2 * room));
    f->x0 = (x0 + x1) / 2 - WIDTH / 2 / f->scale;
    f->y0 = (y0 + y1) / 2 - f->height / 2 / f->scale;
    f->coloured = m->class_count && m->class_count <= DT_MAP_COLOURS;
}

static double x_of(const frame *f, const dt_map_point *p)
{
    return (p->x - f->x0) * f->scale;
}

static double y_of(const frame *f, const dt_map_point *p)
{
    return f->height - (p->y - f->y0) * f->scale;
}

/* The colour of the style, or -1: none, a point without a class. */
static int64_t colour_of(const frame *f, const dt_map_point *p)
{
    return f->coloured ? p->label : p->is_text;
}

static size_t count_of(const dt_embedding_map *m, bool texts)
{
    size_t count = 0;
    for (size_t i = 0; i < m->point_count; i++)
        count += m->points[i].is_text == texts;
    return count;
}

/* ---- marks ---- */

/* Lines of no length: with round ends dots, with square ends squares, of the same size at any width. */
static void write_path(dt_writer *w, const frame *f, bool texts, int64_t colour, const char *class)
{
    dt_writer_printf(w, "<path class=\"%s\" d=\"", class);
    for (size_t i = 0; i < f->map->point_count; i++) {
        const dt_map_point *p = &f->map->points[i];
        if (p->is_text == texts && colour_of(f, p) == colour)
            dt_writer_printf(w, "M%.1f %.1fh0", x_of(f, p), y_of(f, p));
    }
    dt_writer_printf(w, "\"/>");
}

/* Texts over images: they are often fewer. */
static void write_marks(dt_writer *w, const frame *f)
{
    int64_t colours = f->coloured ? (int64_t)f->map->class_count : 2;
    for (int texts = 0; texts < 2; texts++)
        for (int64_t c = -1; c < colours; c++) {
            if (!f->coloured && c != texts)
                continue;
            dt_writer_printf(w, "<g data-k=\"%lld\" class=\"%c%lld\">", (long long)c, c < 0 ? 'g' : 'c',
                             (long long)(c < 0 ? 0 : c));
            if (texts) {
                write_path(w, f, true, c, "text-edge");
                write_path(w, f, true, c, "text");
            } else {
                write_path(w, f, false, c, "image");
            }
            dt_writer_printf(w, "</g>");
        }
}

/* The text, cut to NAME_MOST characters. */
static char *name_of(const char *text)
{
    size_t end = 0, seen = 0;
    for (; text[end]; end++) {
        seen += ((unsigned char)text[end] & 0xC0) != 0x80;
        if (seen > NAME_MOST)
            break;
    }
    char *name = malloc(end + sizeof "…");
    if (name)
        sprintf(name, "%.*s%s", (int)end, text, text[end] ? "…" : "");
    return name;
}

static void write_name(dt_writer *w, const dt_label *label)
{
    static const char *const sides[] = {"", " left", " above", " below"};
    dt_writer_printf(w, "<span class=\"prompt%s\" dir=\"auto\" style=\"left:%.2f%%;top:%.2f%%\">", sides[label->side],
                     100 * label->x, 100 * label->y);
    dt_html_text(w, label->text);
    dt_writer_printf(w, "</span>");
}

/* Few texts, such as the prompts of classes, have their names beside them, where there is room: the pointer tells
 * the others. */
static void write_names(dt_writer *w, const frame *f)
{
    dt_label labels[DT_LABELS_MOST];
    char *names[DT_LABELS_MOST];
    size_t count = 0;
    if (count_of(f->map, true) > DT_LABELS_MOST)
        return;
    for (size_t i = 0; i < f->map->point_count; i++) {
        const dt_map_point *p = &f->map->points[i];
        if (!p->is_text)
            continue;
        names[count] = name_of(p->text);
        labels[count] = (dt_label){x_of(f, p) / WIDTH, y_of(f, p) / f->height, names[count] ? names[count] : "", 0};
        count++;
    }
    dt_labels_place(labels, count, (double)f->height / WIDTH);
    for (size_t i = 0; i < count; i++) {
        if (labels[i].side != DT_LABEL_NONE)
            write_name(w, &labels[i]);
        free(names[i]);
    }
}

/* ---- what the script shows ---- */

static json_t *text_json(const char *text)
{
    size_t size = dt_utf8_cut(text, TEXT_BYTES_MOST);
    return text[size] ? json_sprintf("%.*s…", (int)size, text) : json_string(text);
}

/* [across, down, kind, label, text] of each point; across and down are shares of the plot. */
static json_t *points_json(const frame *f)
{
    json_t *list = json_array();
    for (size_t i = 0; i < f->map->point_count; i++) {
        const dt_map_point *p = &f->map->points[i];
        double across = x_of(f, p) / WIDTH, down = y_of(f, p) / f->height;
        json_array_append_new(list,
                              json_pack("[f,f,i,I,o]", round(1e4 * across) / 1e4, round(1e4 * down) / 1e4,
                                        p->is_text, (json_int_t)p->label, text_json(p->text)));
    }
    return list;
}

static void write_json(dt_writer *w, const char *attribute, json_t *value)
{
    char *text = value ? dt_json_text(value, 0, NULL) : NULL;
    dt_writer_printf(w, " %s=\"", attribute);
    dt_html_text(w, text ? text : "[]");
    dt_writer_printf(w, "\"");
    free(text);
    json_decref(value);
}

static void write_classes(dt_writer *w, const dt_embedding_map *m)
{
    json_t *list = json_array();
    for (size_t i = 0; i < m->class_count; i++)
        json_array_append_new(list, text_json(m->classes[i]));
    write_json(w, "data-classes", list);
}

/* {"POINT": base 64, ...} of evenly chosen images. */
static void write_thumbnails(dt_writer *w, const dt_embedding_map *m, dt_pictures *pictures)
{
    size_t images = count_of(m, false), every = images / DT_MAP_THUMBNAILS + 1, seen = 0;
    const char *between = "";
    dt_writer_printf(w, " data-pictures='{");
    for (size_t i = 0; *m->store && i < m->point_count; i++) {
        const dt_map_point *p = &m->points[i];
        if (p->is_text || seen++ % every || p->index == SIZE_MAX)
            continue;
        size_t size;
        uint8_t *jpeg = dt_picture_small(pictures, m->store, p->index, DT_MAP_THUMBNAIL, &size);
        if (jpeg) {
            dt_writer_printf(w, "%s\"%zu\":\"", between, i);
            dt_html_base64(w, jpeg, size);
            dt_writer_printf(w, "\"");
            between = ",";
        }
        free(jpeg);
    }
    dt_writer_printf(w, "}'");
}

/* ---- text ---- */

static void write_legend(dt_writer *w, const frame *f)
{
    const dt_embedding_map *m = f->map;
    char room[DT_NUMBER_ROOM];
    dt_writer_printf(
        w,
        "<ul class=\"legend kinds\"><li class=\"%s\"><i class=\"image\"></i>image <small>n = %s</small></li>",
        f->coloured ? "" : "c0", dt_html_count((int64_t)count_of(m, false), room));
    dt_writer_printf(w, "<li class=\"%s\"><i class=\"text\"></i>text <small>n = %s</small></li></ul>",
                     f->coloured ? "" : "c1", dt_html_count((int64_t)count_of(m, true), room));
    if (!f->coloured)
        return;
    dt_writer_printf(w, "<ul class=\"legend classes\">");
    for (size_t i = 0; i < m->class_count; i++) {
        dt_writer_printf(w, "<li class=\"c%zu\" data-k=\"%zu\" tabindex=\"0\"><i></i><span dir=\"auto\">", i,
                         i);
        dt_html_text_cut(w, m->classes[i], 60);
        dt_writer_printf(w, "</span></li>");
    }
    dt_writer_printf(w, "</ul>");
}

static void write_explanation(dt_writer *w, const dt_embedding_map *m)
{
    char one[DT_NUMBER_ROOM], two[DT_NUMBER_ROOM], both[DT_NUMBER_ROOM];
    dt_writer_printf(w, "<p class=\"note\">");
    if (m->n >= 0)
        dt_writer_printf(w, "%s pairs. ", dt_html_count(m->n, one));
    if (!isnan(m->gap))
        dt_writer_printf(w,
                         "Modality gap <b>%.3f</b>: the distance between the centres of the two towers' unit "
                         "embeddings, which is at most 2. ",
                         m->gap);
    if (!isnan(m->cosine))
        dt_writer_printf(w, "Mean cosine of matching pairs <b>%.3f</b>. ", m->cosine);
    if (!isnan(m->explained[0]))
        dt_writer_printf(
            w,
            "The plane has %s of the variance: %s across, %s up; what lies close here may lie far "
            "apart in the rest.",
            dt_html_percent(m->explained[0] + m->explained[1], both), dt_html_percent(m->explained[0], one),
            dt_html_percent(m->explained[1], two));
    dt_writer_printf(w, "</p>");
}

void dt_map_write(dt_writer *writer, const dt_embedding_map *map, dt_pictures *pictures)
{
    frame f = {.map = map};
    if (!map->point_count)
        return;
    set_frame(&f);
    dt_writer_printf(writer, "<figure class=\"map\"><figcaption><span class=\"title\" dir=\"auto\">");
    dt_html_text_cut(writer, map->name, TITLE_MOST);
    dt_writer_printf(writer, "</span></figcaption>");
    write_legend(writer, &f);
    dt_writer_printf(
        writer,
        "<div class=\"plot scatter%s%s\" style=\"--shape:%d/%d\" role=\"img\" aria-label=\"map of %zu "
        "images and %zu texts\"",
        map->point_count > 1000 ? " dense" : "", count_of(map, true) > DT_LABELS_MOST ? " many" : "", WIDTH, f.height,
        count_of(map, false), count_of(map, true));
    write_json(writer, "data-points", points_json(&f));
    write_classes(writer, map);
    write_thumbnails(writer, map, pictures);
    dt_writer_printf(writer, "><svg viewBox=\"0 0 %d %d\" aria-hidden=\"true\">", WIDTH, f.height);
    write_marks(writer, &f);
    dt_writer_printf(writer, "</svg>");
    write_names(writer, &f);
    dt_writer_printf(writer, "</div>");
    write_explanation(writer, map);
    dt_writer_printf(writer, "</figure>\n");
}
