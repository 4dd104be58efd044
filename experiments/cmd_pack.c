/* duet pack: images and captions of any origin into a pair store; and a look into one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/clock.h"
#include "data/emoji.h"
#include "data/emoji_captions.h"
#include "data/file.h"
#include "data/json.h"
#include "data/pack.h"
#include "data/pairs.h"
#include "data/png.h"
#include "experiments/commands.h"
#include "experiments/options.h"
#include "experiments/shared_options.h"

enum { CLASSES_BYTES_MAX = 64 << 20, CLASSES_MAX = 1 << 20 };

struct settings {
    const char *out, *from, *split, *classes, *classes_out, *jpeg;
    const char *image_column, *caption_column, *class_column, *weight_column;
    dt_strings templates, extra_columns;
    bool keep_rows, lossless, halve_chroma, strict, bare, replace, list;
    int quality, threads, size;
    int64_t limit, show;
};

/* What the callbacks need to draw progress. */
struct view {
    bool terminal, drawn;
    double started, last;
};

static int pack(const struct settings *s, const char *const *sources, size_t count);
static int look(const struct settings *s, const char *const *stores, size_t count);

/* The command line into *s and the sources. Returns -1 to go on, or the exit status. */
static int read_options(struct settings *s, int argc, char **argv, char ***sources, int *count);

/* What is wrong with them together, or NULL. */
static const char *mistake(const struct settings *s, int count)
{
    bool looking = s->list || s->show >= 0, emoji = !strcmp(s->from, "emoji");
    if (s->classes_out && !emoji)
        return "--classes-out goes with --from emoji";
    if (looking && s->out)
        return "--out does not go with --list or --show";
    if (s->jpeg && s->show < 0)
        return "--jpeg needs --show N";
    if (s->lossless && s->halve_chroma)
        return "--halve-chroma is of JPEG, which --lossless does not make";
    if (!looking && !s->out)
        return "--out FILE.lmdb is missing";
    if (!count && !emoji)
        return "no SOURCE was named";
    return emoji && count > 2 ? "emoji takes a font and an emoji-test.txt at most" : NULL;
}

int dt_cmd_pack(int argc, char **argv)
{
    struct settings s = {.show = -1};
    char **arguments;
    int count, status = read_options(&s, argc, argv, &arguments, &count);
    if (status >= 0)
        return status;
    const char *wrong = mistake(&s, count), *const *sources = (const char *const *)arguments;
    if (wrong) {
        fprintf(stderr, "duet pack: %s; see duet pack --help\n", wrong);
        return DT_EXIT_USAGE;
    }
    bool looking = s.list || s.show >= 0;
    return looking ? look(&s, sources, (size_t)count) : pack(&s, sources, (size_t)count);
}

static int read_options(struct settings *s, int argc, char **argv, char ***sources, int *count)
{
    const dt_option options[] = {
        {"out", 'o', DT_STRING, &s->out, "FILE.lmdb", .help = "the store to write"},
        {"from", 'f', DT_CHOICE, &s->from, "auto|folder|table|webdataset|tar|idx|cifar|emoji",
         .help = "format of the sources; auto looks at the first", .preset = "auto"},
        {"template", 't', DT_STRINGS, &s->templates, "TEXT",
         .help = "caption for images that have only a class, {} being its name (default: a photo of a "
                 "{})"},
        {"classes", 0, DT_STRING, &s->classes, "FILE",
         .help = "file of class names, one a line, in the order of labels"},
        {"image-column", 0, DT_STRING, &s->image_column, "NAME", .help = "table: column of paths"},
        {"caption-column", 0, DT_STRING, &s->caption_column, "NAME", .help = "table: column of captions"},
        {"class-column", 0, DT_STRING, &s->class_column, "NAME", .help = "table: column of classes"},
        {"weight-column", 0, DT_STRING, &s->weight_column, "NAME",
         .help = "table: column of sampling weights"},
        {"extra-column", 0, DT_STRINGS, &s->extra_columns, "NAME",
         .help = "table: column to keep as an attribute"},
        {"keep-rows", 0, DT_FLAG, &s->keep_rows,
         .help =
             "table: a pair for every row, also where rows share their image; otherwise they become one pair "
             "with several captions"},
        {"split", 0, DT_CHOICE, &s->split, "train|validation|validation-cells|validation-objects|test|test-cells|test-objects|all",
         .help = "emoji: which part of them",
         .preset = "all"},
        {"classes-out", 0, DT_STRING, &s->classes_out, "FILE.json",
         .help = "emoji: also write the classes, their prompts and attributes, for duet zeroshot --classes"},
        {"size", 0, DT_INT, &s->size, "PIXELS", .help = "emoji: width and height of the pictures",
         .preset = "72", .least = 1, .most = DT_EMOJI_SIZE_MAX},
        {"lossless", 0, DT_FLAG, &s->lossless,
         .help = "keep every pixel of what is not JPEG already (PNG, raw pixels): it is stored as PNG"},
        {"quality", 'q', DT_INT, &s->quality, "N",
         .help = "without --lossless: quality of the JPEG that it becomes", .preset = "95", .least = 1,
         .most = 100},
        {"halve-chroma", 0, DT_FLAG, &s->halve_chroma, .help = "make that JPEG 4:2:0 instead of 4:4:4"},
        {"limit", 'n', DT_LONG, &s->limit, "N", .help = "stop after so many pairs; 0: all", .preset = "0",
         .most = 0x1p53},
        {"strict", 0, DT_FLAG, &s->strict, .help = "stop at the first image or caption that is unusable"},
        {"bare", 0, DT_FLAG, &s->bare, .help = "take images that have neither caption nor class"},
        {"replace", 0, DT_FLAG, &s->replace, .help = "replace the store that is at FILE.lmdb"},
        DT_THREADS_OPTION('j', s->threads, 64),
        {"list", 'l', DT_FLAG, &s->list, .help = "print what the stores SOURCE hold, as JSON"},
        {"show", 's', DT_LONG, &s->show, "N", .help = "print pair N of the stores SOURCE, counted from 0, as JSON",
         .most = 0x1p53},
        {"jpeg", 0, DT_STRING, &s->jpeg, "FILE",
         .help = "with --show: write the image there instead, as it is stored, JPEG or PNG; -: standard output"},
    };
    const dt_usage usage = {
        "duet pack",
        "SOURCE...",
        "Packs images with their captions or classes into a pair store (--out), or looks into stores "
        "(--list, "
        "--show). A source is a folder of class folders, a CSV, TSV or JSONL table of paths and captions, "
        "WebDataset shards, a tar of class folders, IDX files (MNIST), CIFAR binary files, or, with --from "
        "emoji, nothing or a colour font and an emoji-test.txt. Every image is decoded once; what is "
        "unusable is "
        "listed and left out.",
        options,
        sizeof options / sizeof options[0],
        .least = 0,
        .most = -1,
    };
    return dt_options_parse(&usage, argc, argv, sources, count);
}

static int failed(const dt_error *error)
{
    fprintf(stderr, "duet pack: %s\n", error->message);
    return DT_EXIT_FAILURE;
}

/* ---- packing ---- */

static void clear_line(struct view *view)
{
    if (view->drawn)
        fprintf(stderr, "\r\033[K");
    view->drawn = false;
}

static void on_skipped(void *context, const char *name, const char *reason)
{
    clear_line(context);
    fprintf(stderr, "left out: %s: %s\n", name, reason);
}

/* Redrawn in place on a terminal, a line every few seconds in a pipe. */
static void on_progress(void *context, uint64_t packed, uint64_t skipped)
{
    struct view *view = context;
    double time = dt_now();
    if (time - view->last < (view->terminal ? 0.1 : 5))
        return;
    view->last = time;
    clear_line(view);
    fprintf(stderr, "%llu pairs packed, %llu left out, %.0f pairs/s%s", (unsigned long long)packed,
            (unsigned long long)skipped, (double)packed / (time - view->started), view->terminal ? "" : "\n");
    view->drawn = view->terminal;
}

/* One name a line; empty lines at the end are none. The lines point into *text, which the caller frees. */
static bool read_classes(const char *path, char **text, const char ***names, size_t *count, dt_error *error)
{
    size_t size;
    *names = NULL;
    *count = 0;
    if (!(*text = dt_file_read(path, CLASSES_BYTES_MAX, &size, error)))
        return false;
    if (strlen(*text) != size)
        return dt_fail(error, "%s holds a NUL byte, expected a class name a line", path);
    while (size && strchr("\r\n", (*text)[size - 1]))
        (*text)[--size] = 0;
    size_t lines = size > 0;
    for (size_t i = 0; i < size; i++)
        lines += (*text)[i] == '\n';
    if (!lines || lines > CLASSES_MAX)
        return dt_fail(error, "%s has %zu lines, expected 1 to %d", path, lines, CLASSES_MAX);
    if (!(*names = calloc(lines, sizeof **names)))
        return dt_fail(error, "no memory for %zu classes", lines);
    for (char *line = *text, *end; *count < lines; line = end + 1) {
        end = line + strcspn(line, "\n");
        *end = 0;
        size_t length = strlen(line);
        if (length && line[length - 1] == '\r')
            line[length - 1] = 0;
        (*names)[(*count)++] = line;
        if (!*line)
            return dt_fail(error, "%s line %zu is empty, expected a class name", path, *count);
    }
    return true;
}

static dt_source *open_source(const struct settings *s, const char *const *sources, size_t count,
                              dt_error *error)
{
    const dt_source_options options = {
        .image_column = s->image_column,
        .caption_column = s->caption_column,
        .class_column = s->class_column,
        .weight_column = s->weight_column,
        .extra_columns = s->extra_columns.items,
        .extra_column_count = s->extra_columns.count,
        .keep_rows = s->keep_rows,
    };
    if (!strcmp(s->from, "emoji"))
        return dt_emoji_source_open(count > 0 ? sources[0] : NULL, count > 1 ? sources[1] : NULL, s->split,
                                    s->size, error);
    return dt_source_open(s->from, sources, count, &options, error);
}

/* The classes of the emoji in `source`, where --classes-out asks for them. */
static bool write_classes(const struct settings *s, const dt_source *source, dt_error *error)
{
    return !s->classes_out || dt_emoji_classes_write(dt_emoji_source_table(source), s->classes_out, error);
}

static void print_summary(const struct settings *s, const dt_pack_summary *summary, double seconds)
{
    printf("%s: %llu pairs, %llu captions, %zu classes, %.1f MB of pictures, %.1f s; %llu left out\n", s->out,
           (unsigned long long)summary->packed, (unsigned long long)summary->captions, summary->class_count,
           (double)summary->jpeg_bytes / 1e6, seconds, (unsigned long long)summary->skipped);
}

/* The folder that a file is to lie in. */
static bool make_folder_of(const char *path, dt_error *error)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    char *folder = slash > path ? strndup(path, (size_t)(slash - path)) : NULL;
    if (slash > path && !folder)
        return dt_fail(error, "out of memory");
    bool good = !folder || dt_make_directories(folder, error);
    free(folder);
    return good;
}

static int pack(const struct settings *s, const char *const *sources, size_t count)
{
    dt_error error;
    dt_pack_summary summary;
    char *text = NULL;
    const char **classes = NULL;
    size_t class_count = 0;
    struct view view = {.terminal = isatty(STDERR_FILENO), .started = dt_now(), .last = dt_now()};
    dt_source *source = NULL;
    bool good = !s->classes || read_classes(s->classes, &text, &classes, &class_count, &error);
    good = good && (source = open_source(s, sources, count, &error));
    const dt_pack_options options = {
        .templates = s->templates.items,
        .template_count = s->templates.count,
        .class_names = classes,
        .class_count = class_count,
        .lossless = s->lossless,
        .quality = s->quality,
        .halve_chroma = s->halve_chroma,
        .strict = s->strict,
        .bare = s->bare,
        .replace = s->replace,
        .limit = (uint64_t)s->limit,
        .threads = s->threads,
        .skipped = on_skipped,
        .progress = on_progress,
        .context = &view,
    };
    good = good && make_folder_of(s->out, &error) && make_folder_of(s->classes_out, &error) &&
           write_classes(s, source, &error) &&
           dt_pack(source, s->out, sources, count, &options, &summary, &error);
    clear_line(&view);
    if (source)
        source->close(source);
    free(classes);
    free(text);
    if (!good)
        return failed(&error);
    print_summary(s, &summary, dt_now() - view.started);
    return DT_EXIT_GOOD;
}

/* ---- looking ---- */

static json_t *json_or_question(const char *text)
{
    json_t *value = json_string(text); /* NULL where it is not UTF-8 */
    return value ? value : json_string("?");
}

static bool print_json(json_t *value, dt_error *error)
{
    char *text = dt_json_text(value, 2, error);
    if (text)
        puts(text);
    free(text);
    return text != NULL;
}

static bool print_pair(const dt_pairs *pairs, const dt_pair *pair, uint64_t index, dt_error *error)
{
    json_t *value = json_object(), *captions = json_array();
    for (size_t i = 0; i < pair->caption_count; i++)
        json_array_append_new(captions, json_or_question(dt_pair_caption(pair, i, NULL)));
    json_object_set_new(value, "index", json_integer((json_int_t)index));
    json_object_set_new(value, "width", json_integer(pair->width));
    json_object_set_new(value, "height", json_integer(pair->height));
    json_object_set_new(value, dt_is_png(pair->jpeg, pair->jpeg_size) ? "png_bytes" : "jpeg_bytes",
                        json_integer((json_int_t)pair->jpeg_size));
    if (pair->label >= 0) {
        json_object_set_new(value, "label", json_integer(pair->label));
        json_object_set_new(value, "class",
                            json_or_question(dt_pairs_class_name(pairs, (size_t)pair->label)));
    }
    json_object_set_new(value, "weight", json_real((double)pair->weight));
    json_object_set_new(value, "captions", captions);
    if (pair->extra) {
        json_t *extra = dt_json_parse(pair->extra, pair->extra_size, "extra", NULL);
        json_object_set_new(value, "extra", extra ? extra : json_or_question(pair->extra));
    }
    bool good = print_json(value, error);
    json_decref(value);
    return good;
}

static bool show(const struct settings *s, const dt_pairs *pairs, dt_error *error)
{
    dt_pair pair;
    if (!dt_pairs_get(pairs, (uint64_t)s->show, &pair, error))
        return false;
    if (!s->jpeg)
        return print_pair(pairs, &pair, (uint64_t)s->show, error);
    if (strcmp(s->jpeg, "-"))
        return dt_file_write(s->jpeg, pair.jpeg, pair.jpeg_size, error);
    return fwrite(pair.jpeg, 1, pair.jpeg_size, stdout) == pair.jpeg_size ||
           dt_fail(error, "cannot write to standard output");
}

static int look(const struct settings *s, const char *const *stores, size_t count)
{
    dt_error error;
    dt_pairs *pairs = dt_pairs_open_list(stores, count, &error);
    bool good = pairs != NULL;
    if (good && s->list)
        good = print_json((json_t *)(uintptr_t)dt_pairs_meta(pairs), &error);
    if (good && s->show >= 0)
        good = show(s, pairs, &error);
    if (good && fflush(stdout))
        good = dt_fail(&error, "cannot write to standard output");
    dt_pairs_close(pairs);
    return good ? DT_EXIT_GOOD : failed(&error);
}
