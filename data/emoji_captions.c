#include "data/emoji_captions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/json.h"

void dt_emoji_class_of(const dt_emoji_table *table, int cell, dt_emoji_class *out)
{
    const dt_emoji_role *role = &table->roles[cell / DT_EMOJI_CELLS];
    int tone = cell % DT_EMOJI_TONES;
    out->role = role->name;
    out->gender = dt_emoji_gender_names[cell / DT_EMOJI_TONES % DT_EMOJI_GENDERS];
    out->tone = dt_emoji_tone_names[tone];
    const char *tail = role->neutral + role->word;
    if (role->has_word)
        tail += strlen("person");
    snprintf(out->prompt, sizeof out->prompt, "%.*s%s%s%s%s%s%s", role->word, role->neutral, out->gender,
             role->has_word ? "" : " ", tail, tone ? ": " : "", tone ? out->tone : "",
             tone ? " skin tone" : "");
}

dt_emoji_class *dt_emoji_classes(const dt_emoji_table *table, int *count, dt_error *error)
{
    *count = table->role_count * DT_EMOJI_CELLS;
    dt_emoji_class *classes = calloc((size_t)*count + 1, sizeof *classes);
    if (!classes)
        dt_fail(error, "no memory for %d classes of emoji", *count);
    for (int i = 0; classes && i < *count; i++)
        dt_emoji_class_of(table, i, &classes[i]);
    return classes;
}

bool dt_emoji_classes_write(const dt_emoji_table *table, const char *path, dt_error *error)
{
    json_t *list = json_array(), *root = json_pack("{s:o}", "classes", list);
    bool good = root;
    for (int i = 0; good && i < table->role_count * DT_EMOJI_CELLS; i++) {
        dt_emoji_class c;
        dt_emoji_class_of(table, i, &c);
        good = !json_array_append_new(list,
                                      json_pack("{s:s, s:{s:s, s:s, s:s}}", "prompt", c.prompt, "attributes",
                                                "role", c.role, "gender", c.gender, "tone", c.tone));
    }
    good = good ? dt_json_write(path, root, error) : dt_fail(error, "%s: no memory for the classes", path);
    json_decref(root);
    return good;
}

int dt_emoji_captions(const dt_emoji_table *table, const dt_emoji *emoji,
                      char captions[DT_EMOJI_CAPTIONS][DT_EMOJI_TEXT])
{
    if (emoji->cell >= 0 && !emoji->turned) {
        dt_emoji_class c;
        dt_emoji_class_of(table, emoji->cell, &c);
        memcpy(captions[0], c.prompt, sizeof c.prompt);
        snprintf(captions[1], DT_EMOJI_TEXT, "%s", emoji->name);
        return strcmp(captions[0], captions[1]) ? 2 : 1;
    }
    snprintf(captions[0], DT_EMOJI_TEXT, "%s", emoji->name);
    if (!*emoji->subgroup)
        return 1;
    snprintf(captions[1], DT_EMOJI_TEXT, "%s, %s", emoji->name, emoji->subgroup);
    for (char *dash = captions[1] + strlen(emoji->name); (dash = strchr(dash, '-'));)
        *dash = ' ';
    return 2;
}

char *dt_emoji_extra(const dt_emoji_table *table, const dt_emoji *emoji, dt_error *error)
{
    char codes[DT_EMOJI_CODES * 8] = "";
    for (int i = 0, at = 0; i < emoji->code_count; i++)
        at += snprintf(codes + at, sizeof codes - (size_t)at, "%s%04X", i ? " " : "",
                       (unsigned)emoji->codes[i]);
    dt_emoji_class c = {.role = NULL};
    if (emoji->cell >= 0)
        dt_emoji_class_of(table, emoji->cell, &c);
    json_t *extra = json_pack("{s:s, s:s, s:s, s:s, s:s?, s:s?, s:s?}", "name", emoji->name, "codepoints",
                              codes, "group", emoji->group, "subgroup", emoji->subgroup, "role", c.role,
                              "gender", c.gender, "tone", c.tone);
    char *text = extra ? dt_json_text(extra, 0, error) : NULL;
    if (!extra)
        dt_fail(error, "%s: no memory for its description", emoji->name);
    json_decref(extra);
    return text;
}
