#include "eval/report/plot_label.h"

#include <string.h>

/* Pixels of the page; the style's .prompt has the same. */
static const double size = 12, padding = 4, line = 17, gap = 10, gap_up = 8, mark = 7;

/* The plot's widths on a page of 390 pixels and on a wide one. Between, every distance of two marks grows
 * evenly, so that what is apart along an axis at both ends is so throughout. */
static const double widths[] = {358, 700};
enum { WIDTHS = sizeof widths / sizeof widths[0] };

typedef struct box {
    double left, top, right, bottom;
} box;

static bool apart(box a, box b)
{
    return a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
}

/* In pixels; ems of common typefaces, rounded up. */
static double width_of(const char *text)
{
    double ems = 0;
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c >= 0x80 && *c < 0xC0) /* within a character */
            continue;
        ems += *c >= 0xE2                           ? 1.05 /* East Asian and more */
               : *c >= 0x80                         ? 0.72
               : strchr("ijlI.,:;'|!()[] ftr-", *c) ? 0.43
               : strchr("mwMW@%", *c)               ? 1
               : *c >= 'A' && *c <= 'Z'             ? 0.76
                                                    : 0.64;
    }
    return ems * size + 2 * padding;
}

static box box_of(const dt_label *label, dt_label_side side, double shape, double pixels)
{
    double x = label->x * pixels, y = label->y * pixels * shape, width = width_of(label->text);
    switch (side) {
    case DT_LABEL_RIGHT:
        return (box){x + gap, y - line / 2, x + gap + width, y + line / 2};
    case DT_LABEL_LEFT:
        return (box){x - gap - width, y - line / 2, x - gap, y + line / 2};
    case DT_LABEL_ABOVE:
        return (box){x - width / 2, y - gap_up - line, x + width / 2, y - gap_up};
    case DT_LABEL_BELOW:
        return (box){x - width / 2, y + gap_up, x + width / 2, y + gap_up + line};
    default:
        return (box){x, y, x, y};
    }
}

bool dt_labels_overlap(const dt_label *a, const dt_label *b, double shape, double pixels)
{
    return a->side != DT_LABEL_NONE && b->side != DT_LABEL_NONE &&
           !apart(box_of(a, a->side, shape, pixels), box_of(b, b->side, shape, pixels));
}

static bool has_room(const dt_label *labels, size_t count, size_t at, dt_label_side side, double shape, double pixels)
{
    box b = box_of(&labels[at], side, shape, pixels);
    if (b.left < 0 || b.top < 0 || b.right > pixels || b.bottom > pixels * shape)
        return false;
    for (size_t i = 0; i < count; i++) {
        double x = labels[i].x * pixels, y = labels[i].y * pixels * shape;
        if (!apart(b, (box){x - mark, y - mark, x + mark, y + mark}) ||
            (labels[i].side != DT_LABEL_NONE && !apart(b, box_of(&labels[i], labels[i].side, shape, pixels))))
            return false;
    }
    return true;
}

void dt_labels_place(dt_label *labels, size_t count, double shape)
{
    for (size_t i = 0; i < count; i++)
        labels[i].side = DT_LABEL_NONE;
    for (size_t i = 0; i < count; i++)
        for (int side = DT_LABEL_RIGHT; *labels[i].text && side < DT_LABEL_NONE; side++) {
            bool room = true;
            for (int k = 0; k < WIDTHS; k++)
                room = room && has_room(labels, count, i, (dt_label_side)side, shape, widths[k]);
            if (room) {
                labels[i].side = (dt_label_side)side;
                break;
            }
        }
}
