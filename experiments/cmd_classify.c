/* duet classify: what a trained model calls pictures and texts that carry no label. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/file.h"
#include "data/pairs.h"
#include "eval/lines.h"
#include "eval/head.h"
#include "eval/predict.h"
#include "eval/named_lists.h"
#include "eval/origin.h"
#include "eval/texts.h"
#include "experiments/commands.h"
#include "experiments/device.h"
#include "experiments/load.h"
#include "experiments/options.h"
#include "experiments/print.h"
#include "experiments/progress.h"
#include "experiments/shared_options.h"

enum {
    NAME_COLUMNS = 48,   /* longer names push their line to the right */
    CLASS_COLUMNS = 32,
};

typedef struct settings {
    const char *weights, *classes, *templates;
    dt_strings template_list, text_list;
    char **words; /* files, or data */
    size_t word_count;
    bool json, quiet;
    int top, batch, threads;
    dt_device_options device;
} settings;

/* Everything that is open, and what the samples being named are. */
typedef struct work {
    const settings *s;
    const dt_backend *backend;
    dt_classes *classes;
    dt_texts templates;
    dt_model *model;
    dt_dataset *data; /* NULL: files or texts */
    dt_predictor *predictor;
    dt_progress progress;
    size_t name_columns, class_columns;
    const char *const *files; /* of the samples, or */
    const char *const *texts; /* themselves; both NULL: pairs of the data's store */
    bool refused;             /* something was */
} work;

static int classify(const settings *s);
static const char *mistake(const settings *s);

static const char summary[] =
    "Names pictures, or texts, with a trained model. A model of duet finetune names what its classifier was "
    "trained for: pictures, given as JPEG and PNG files, a folder of them or a pair store (NAME.lmdb); or texts, "
    "given with --text or as files with one a line (- is the standard input). With --classes any model with both "
    "towers names pictures by these classes' prompts. What cannot be read is told and passed over; the exit "
    "status is then 1.";

int dt_cmd_classify(int argc, char **argv)
{
    settings s = {0};
    const dt_option options[] = {
        DT_WEIGHTS_OPTION(s.weights, true),
        {"classes", 'c', DT_STRING, &s.classes, "FILE|NAMES",
         .help = "name pictures by prompts of these classes: a .json file, a text file with one name a line, or "
                 "names with commas between"},
        DT_TEMPLATE_OPTIONS(s.template_list, s.templates),
        {"text", 'x', DT_STRINGS, &s.text_list, "TEXT", .help = "name this text"},
        {"top", 'k', DT_INT, &s.top, "N",
         .help = "classes to tell for each (default: 3 for files and --text, 1 for a folder, a store or lines)",
         .least = 1, .most = 1000},
        DT_JSON_OPTION(s.json, ", one object a line"),
        DT_BATCH_OPTION(s.batch, "32", ", which are told together"),
        DT_THREADS_OPTION(0, s.threads, 1024),
        DT_DEVICE_OPTIONS(s.device),
        DT_QUIET_OPTION('q', s.quiet),
    };
    const dt_usage usage = {.command = "duet classify",
                            .positionals = "[DATA | FILE...]",
                            .summary = summary,
                            .options = options,
                            .count = sizeof options / sizeof options[0],
                            .most = -1};
    int count, status = dt_options_parse(&usage, argc, argv, &s.words, &count);
    if (status >= 0)
        return status;
    s.word_count = (size_t)count;
    const char *wrong = mistake(&s);
    if (!wrong)
        return classify(&s);
    fprintf(stderr, "duet classify: %s\n", wrong);
    return DT_EXIT_USAGE;
}

static const char *mistake(const settings *s)
{
    if (!s->word_count && !s->text_list.count)
        return "nothing to name; give picture files, a folder, a pair store or --text";
    if (s->word_count && s->text_list.count)
        return "--text and files do not go together";
    for (size_t i = 0; i < s->text_list.count; i++)
        if (!strcmp(s->text_list.items[i], "-"))
            return "--text - would name a dash; - alone, without --text, names the lines of the standard input";
    if (s->text_list.count && s->classes)
        return "--classes names pictures; --text is for a classifier of texts";
    if (s->template_list.count && s->templates)
        return "--template and --templates do not go together";
    bool templates = s->template_list.count || s->templates;
    return templates && !s->classes ? "templates are for the names of --classes" : NULL;
}

/* ---- Telling ---- */

static void complain(work *w, const char *message)
{
    if (w->progress.tell)
        w->progress.tell(w->progress.context, "", 0, 0); /* clears its line */
    fprintf(stderr, "duet classify: %s\n", message);
    w->refused = true;
}

/* Characters; a control character has the place of one. */
static size_t columns_of(const char *text)
{
    size_t columns = 0;
    for (; *text; text++)
        columns += ((unsigned char)*text & 0xC0) != 0x80;
    return columns;
}

static size_t widest(size_t so_far, const char *text, size_t most)
{
    size_t columns = columns_of(text);
    return columns > so_far && columns <= most ? columns : so_far;
}

/* What a name holds may not break the line, nor command the terminal. */
static void print_padded(const char *text, size_t columns)
{
    for (const char *c = text; *c; c++)
        putchar((unsigned char)*c < ' ' || *c == 127 ? ' ' : *c);
    for (size_t at = columns_of(text); at < columns; at++)
        putchar(' ');
}

/* *caption: the first one of a store's image, NULL where there is none. */
static bool caption_of(const work *w, size_t index, const char **caption, dt_error *error)
{
    dt_pair pair;
    *caption = NULL;
    if (w->files || w->texts)
        return true;
    if (!dt_pairs_get(dt_dataset_pairs(w->data), index, &pair, error))
        return false;
    *caption = pair.caption_count ? dt_pair_caption(&pair, 0, NULL) : NULL;
    return true;
}

static void print_line(const work *w, size_t index, const char *caption, const dt_guess *best, size_t count)
{
    if (w->files)
        print_padded(w->files[index], w->name_columns);
    else if (!w->texts)
        printf("%*zu", (int)w->name_columns, index);
    for (size_t i = 0; i < count; i++) {
        printf("%s", i || !w->texts ? "  " : "");
        print_padded(dt_model_class_name(w->model, (size_t)best[i].class), w->class_columns);
        printf("  %5.1f %%", 100 * best[i].probability);
    }
    if (w->texts || caption) {
        printf("  ");
        print_padded(w->texts ? w->texts[index] : caption, 0);
    }
    putchar('\n');
}

/* {"file", "text", or "index" and "caption"; "classes": [{"class", "probability"}, ...]}. */
static json_t *describe(const work *w, size_t index, const char *caption, const dt_guess *best, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        const char *class = dt_model_class_name(w->model, (size_t)best[i].class);
        json_array_append_new(list, json_pack("{s:s, s:f}", "class", class, "probability", best[i].probability));
    }
    if (w->files)
        return json_pack("{s:s, s:o}", "file", w->files[index], "classes", list);
    if (w->texts)
        return json_pack("{s:s, s:o}", "text", w->texts[index], "classes", list);
    return json_pack("{s:I, s:s*, s:o}", "index", (json_int_t)index, "caption", caption, "classes", list);
}

/* The name of a file may be what JSON cannot hold. */
static bool print_object(work *w, size_t index, const char *caption, const dt_guess *best, size_t count,
                         dt_error *error)
{
    json_t *json = describe(w, index, caption, best, count);
    bool good = json && dt_print_json(json, 0, error);
    json_decref(json);
    if (json)
        return good;
    dt_fail(error, "%s: a name that is not UTF-8, which JSON cannot hold",
            w->files ? w->files[index] : w->s->words[0]);
    complain(w, error->message);
    return true;
}

static bool named(void *context, size_t index, const dt_guess *best, size_t count, dt_error *error)
{
    work *w = context;
    const char *caption;
    if (!caption_of(w, index, &caption, error))
        return false;
    if (w->s->json && !print_object(w, index, caption, best, count, error))
        return false;
    if (!w->s->json)
        print_line(w, index, caption, best, count);
    return dt_print_flush(error);
}

static bool refused(void *context, size_t index, const dt_error *why, dt_error *error)
{
    (void)error;
    dt_error full = *why;
    work *w = context;
    if (!w->files)
        dt_fail_prefix(&full, "%s: pair %zu", dt_dataset_path(w->data), index);
    complain(w, full.message);
    return true;
}

/* ---- What there is to name ---- */

static bool open_predictor(work *w, size_t samples, size_t top, dt_error *error)
{
    const settings *s = w->s;
    int batch = samples < (size_t)s->batch ? (int)samples : s->batch;
    return (w->predictor = dt_predictor_new(w->model, w->backend, batch, s->top ? (size_t)s->top : top, error));
}

static dt_predict_listener listener(work *w)
{
    return (dt_predict_listener){.named = named, .refused = refused, .context = w, .progress = w->progress};
}

/* A folder, or what is named as a store or a pattern of stores. */
static bool is_data(const char *word)
{
    size_t length = strlen(word);
    return dt_is_directory(word) || (length > 5 && !strcmp(word + length - 5, ".lmdb"));
}

static bool name_pictures(work *w, const dt_pairs *pairs, const dt_image_files *files, size_t top, dt_error *error)
{
    const dt_predict_listener to = listener(w);
    size_t count = (size_t)(files ? files->count : dt_pairs_count(pairs));
    w->files = files ? files->paths : NULL;
    for (size_t i = 0; files && i < count; i++)
        w->name_columns = widest(w->name_columns, files->paths[i], NAME_COLUMNS);
    if (!files)
        w->name_columns = (size_t)snprintf(NULL, 0, "%zu", count - 1);
    return open_predictor(w, count, top, error) &&
           dt_predict_images(w->predictor, pairs, files, w->s->threads, &to, error);
}

static bool name_data(work *w, dt_error *error)
{
    return (w->data = dt_dataset_open(w->s->words[0], error)) &&
           name_pictures(w, dt_dataset_pairs(w->data), dt_dataset_files(w->data), 1, error);
}

static bool name_files(work *w, dt_error *error)
{
    const settings *s = w->s;
    const char **paths = calloc(s->word_count, sizeof *paths);
    int32_t *labels = calloc(s->word_count, sizeof *labels);
    dt_image_files files = {paths, labels, 0};
    bool good = (paths && labels) || dt_fail(error, "no memory for %zu files", s->word_count);
    for (size_t i = 0; good && i < s->word_count; i++) {
        paths[files.count++] = s->words[i];
        if (is_data(s->words[i]))
            good = dt_fail(error, "%s: expected picture files, or one folder or store alone", s->words[i]);
    }
    good = good && name_pictures(w, NULL, &files, 3, error);
    free(paths);
    free(labels);
    return good;
}

/* ---- Texts ---- */

static bool name_texts(work *w, const char *const *texts, size_t count, dt_error *error)
{
    const dt_predict_listener to = listener(w);
    w->texts = texts;
    return dt_predict_texts(w->predictor, texts, count, &to, error);
}

static bool name_given_texts(work *w, dt_error *error)
{
    const dt_strings *list = &w->s->text_list;
    const char *texts[sizeof list->items / sizeof list->items[0]];
    size_t count = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (dt_caption_check(list->items[i], error))
            texts[count++] = list->items[i];
        else {
            dt_fail_prefix(error, "text %zu", i + 1);
            complain(w, error->message);
        }
    }
    return !count || (open_predictor(w, count, 3, error) && name_texts(w, texts, count, error));
}

/* Up to `most` lines; what is no text is told and passed over. */
static bool gather(work *w, dt_lines *lines, char **texts, size_t most, size_t *count, dt_error *error)
{
    const char *text;
    for (*count = 0; *count < most;) {
        if (!dt_lines_next(lines, &text, error))
            complain(w, error->message);
        else if (!text)
            break;
        else if (!(texts[(*count)++] = strdup(text)))
            return dt_fail(error, "no memory");
    }
    return true;
}

static bool open_lines(dt_lines *lines, const char *path, dt_error *error)
{
    if (is_data(path))
        return dt_fail(error, "%s: the model is a classifier of texts; expected a file with one a line", path);
    return dt_lines_open(lines, path, error);
}

static bool name_lines(work *w, const char *path, char **texts, size_t most, dt_error *error)
{
    dt_lines lines = {0};
    size_t count = 0;
    bool good = true, open = open_lines(&lines, path, error);
    if (!open)
        complain(w, error->message);
    do {
        good = !open || (gather(w, &lines, texts, most, &count, error) &&
                         name_texts(w, (const char *const *)texts, count, error));
        for (size_t i = 0; i < count; i++)
            free(texts[i]);
    } while (good && count);
    dt_lines_close(&lines);
    return good;
}

/* A batch of lines at a time; of what somebody types, each line at once. */
static bool name_text_files(work *w, dt_error *error)
{
    const settings *s = w->s;
    size_t most = (size_t)s->batch;
    for (size_t i = 0; i < s->word_count; i++)
        most = !strcmp(s->words[i], "-") && isatty(STDIN_FILENO) ? 1 : most;
    char **texts = calloc(most, sizeof *texts);
    bool good = (texts || dt_fail(error, "no memory for %zu texts", most)) && open_predictor(w, most, 1, error);
    for (size_t i = 0; good && i < s->word_count; i++)
        good = name_lines(w, s->words[i], texts, most, error);
    free(texts);
    return good;
}

/* ---- The order of things ---- */

static bool check_model(const work *w, dt_error *error)
{
    const settings *s = w->s;
    const dt_head_config *head = &w->model->head;
    bool texts = head->classes && head->tower == DT_TOWER_TEXT;
    if (w->classes && texts)
        return dt_fail(error, "%s is a classifier of texts; --classes names pictures", s->weights);
    if (w->classes)
        return true;
    if (!head->classes)
        return dt_fail(error, "%s has no classifier; name classes with --classes, or train one with duet finetune",
                       s->weights);
    if (texts && !w->model->tokenizer)
        return dt_no_tokenizer(w->model, error);
    return texts || !s->text_list.count ||
           dt_fail(error, "%s is a classifier of pictures, not of texts", s->weights);
}

/* The templates of the prompts; whole prompts have none. */
static bool check_templates(work *w, const char *const **templates, size_t *count, dt_error *error)
{
    static const char *const standard[] = {DT_DEFAULT_TEMPLATE};
    const settings *s = w->s;
    if (s->templates && !dt_templates_load(&w->templates, s->templates, error))
        return false;
    *count = s->templates ? w->templates.count : s->template_list.count;
    *templates = s->templates ? (const char *const *)w->templates.items : s->template_list.items;
    if (w->classes->prompts && *count)
        return dt_fail(error, "%s has whole prompts, to which no template applies", w->classes->origin);
    if (!*count) {
        *templates = standard;
        *count = 1;
    }
    for (size_t i = 0; i < *count; i++)
        if (!dt_template_check((*templates)[i], error))
            return false;
    return true;
}

static bool open_model(work *w, dt_error *error)
{
    const settings *s = w->s;
    const char *const *templates = NULL;
    size_t count = 0;
    if (s->classes && (!(w->classes = dt_classes_load(s->classes, error)) ||
                       !check_templates(w, &templates, &count, error)))
        return false;
    if (!(w->model = dt_load_weights("duet classify", s->weights, s->quiet, error)) || !check_model(w, error) ||
        !(w->backend = dt_device_open(&s->device, dt_device_news(s->quiet), error)))
        return false;
    if (w->classes && !dt_model_head_from_classes(&w->model, DT_TOWER_IMAGE, w->classes, templates, count, w->backend, s->batch,
                                                  w->progress, error))
        return dt_fail_prefix(error, "%s", s->weights);
    for (size_t c = 0; c < (size_t)w->model->head.classes; c++)
        w->class_columns = widest(w->class_columns, dt_model_class_name(w->model, c), CLASS_COLUMNS);
    return true;
}

static bool run(work *w, dt_error *error)
{
    const settings *s = w->s;
    if (!open_model(w, error))
        return false;
    if (s->text_list.count)
        return name_given_texts(w, error);
    if (w->model->head.tower == DT_TOWER_TEXT)
        return name_text_files(w, error);
    return s->word_count == 1 && is_data(s->words[0]) ? name_data(w, error) : name_files(w, error);
}

static int classify(const settings *s)
{
    dt_error error;
    work w = {.s = s, .progress = dt_terminal_progress(s->quiet || isatty(STDOUT_FILENO))};
    bool good = run(&w, &error);
    dt_predictor_free(w.predictor);
    dt_dataset_close(w.data);
    dt_model_free(w.model);
    dt_texts_free(&w.templates);
    dt_classes_free(w.classes);
    if (!good)
        complain(&w, error.message);
    return w.refused ? DT_EXIT_FAILURE : DT_EXIT_GOOD;
}
