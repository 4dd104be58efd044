#include "kernels/cuda/notes.h"

#include <stdio.h>

namespace
{

enum { NOTES = 32, ROOM = 2 * DT_MESSAGE };

struct list {
    char text[NOTES][ROOM];
    int count;
} list;

} // namespace

void dt_cuda_note(const dt_node *node, const char *text)
{
    char note[ROOM];
    int length = snprintf(note, sizeof note, "%s", node->op->name);
    for (int i = 0; i < node->inputs && i < 2 && length < ROOM; i++)
        length += snprintf(note + length, (size_t)(ROOM - length), "%s%s", i ? " x " : " of ",
                           dt_shape_text(&node->input[i]->shape).chars);
    if (length < ROOM)
        snprintf(note + length, (size_t)(ROOM - length), " in %s: %s", dt_dtype_name(node->input[0]->dtype), text);
    for (int i = 0; i < list.count; i++)
        if (!strcmp(list.text[i], note))
            return;
    if (list.count < NOTES)
        memcpy(list.text[list.count++], note, sizeof note);
}

const char *dt_cuda_notes(int i)
{
    return i >= 0 && i < list.count ? list.text[i] : NULL;
}
