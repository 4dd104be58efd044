/* duet retrieve: images and captions found by each other, and images for typed texts and for pictures. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/pairs.h"
#include "eval/captions.h"
#include "eval/features.h"
#include "eval/findings.h"
#include "eval/origin.h"
#include "eval/report/gallery_page.h"
#include "eval/texts.h"
#include "experiments/commands.h"
#include "experiments/device.h"
#include "experiments/load.h"
#include "experiments/options.h"
#include "experiments/print.h"
#include "experiments/progress.h"
#include "experiments/shared_options.h"

enum { NAME_ROOM = 320 };

typedef struct settings {
    const char *weights, *data, *queries, *gallery, *name, *out, *cache;
    dt_strings query_list, image_list;
    bool texts, interactive, no_cache, json, quiet;
    int captions, top, batch, threads;
    dt_device_options device;
} settings;

/* Everything that is open. */
typedef struct work {
    const settings *s;
    const dt_backend *backend;
    dt_dataset *data;
    dt_model *model;
    dt_features images;
    dt_captions captions; /* all of the data's */
    dt_texts lines;       /* of --queries */
    dt_query *queries;
    char (*names)[NAME_ROOM]; /* of those that are images of the data */
    float *rows;              /* [count, dim] the queries' embeddings */
    dt_query_found *found;
    size_t count, dim;
    dt_score scores[DT_RETRIEVAL_SCORES];
    size_t score_count, caption_count; /* captions that were ranked */
    json_t *map;                       /* of images and captions; NULL: not wanted */
} work;

static int retrieve(const settings *s);
static const char *mistake(const settings *s);

static const char summary[] = "Finds images and captions by each other. DATA is a pair store (NAME.lmdb) or "
                              "a folder of images. Without a query: R@1, "
                              "R@5, R@10, median and mean rank both ways, between all images and all "
                              "captions of DATA. With queries: the images nearest "
                              "to each, printed, and with --gallery as a page with the pictures. The embeddings of the "
                              "images are kept in RUN/features.";

int dt_cmd_retrieve(int argc, char **argv)
{
    settings s = {0};
    const dt_option options[] = {
        DT_WEIGHTS_OPTION(s.weights, true),
        DT_QUERY_OPTIONS(s.query_list, s.queries),
        {"image", 'm', DT_STRINGS, &s.image_list, "FILE|INDEX",
         .help = "find images like a picture: a JPEG or PNG file (with a / where its name is a number), or "
                 "an image of DATA by its "
                 "number"},
        {"texts", 0, DT_FLAG, &s.texts, .help = "find captions for each --image instead"},
        {"interactive", 'i', DT_FLAG, &s.interactive,
         .help = "read texts from the standard input and answer each at once"},
        {"top", 'k', DT_INT, &s.top, "N", "images or captions to find for each query", "5", .least = 1,
         .most = 10000},
        {"captions", 0, DT_INT, &s.captions, "N", "captions of an image that count; 0: all", "0",
         .least = 0, .most = -1},
        {"gallery", 'g', DT_STRING, &s.gallery, "FILE", .help = "write a page with the pictures found, such as found.html"},
        DT_NAME_OPTION(s.name, "DATA's name"),
        DT_FINDINGS_OPTION(s.out),
        DT_JSON_OPTION(s.json, "; with --interactive one object a line"),
        DT_CACHE_OPTIONS(s.cache, s.no_cache, "embeddings", ""),
        DT_BATCH_OPTION(s.batch, "128", ""),
        DT_THREADS_OPTION(0, s.threads, 1024),
        DT_DEVICE_OPTIONS(s.device),
        DT_QUIET_OPTION(0, s.quiet),
    };
    const dt_usage usage = {"duet retrieve", "DATA",   summary, options, sizeof options / sizeof options[0],
                            .least = 1,      .most = 1};
    char **words;
    int count, status = dt_options_parse(&usage, argc, argv, &words, &count);
    if (status >= 0)
        return status;
    s.data = words[0];
    const char *wrong = mistake(&s);
    if (!wrong)
        return retrieve(&s);
    fprintf(stderr, "duet retrieve: %s\n", wrong);
    return DT_EXIT_USAGE;
}

static const char *mistake(const settings *s)
{
    bool queries = s->query_list.count || s->queries;
    if (s->texts && (!s->image_list.count || queries))
        return s->image_list.count
                   ? "--texts finds captions for pictures; --query and --queries do not go with it"
                   : "--texts finds captions for pictures; give --image";
    if (s->texts && (s->out || s->gallery))
        return "--texts finds captions; --out and --gallery hold images";
    if (s->interactive && (queries || s->image_list.count || s->out))
        return "--interactive reads its queries; --query, --queries, --image and --out do not go with it";
    if (s->gallery && !queries && !s->image_list.count && !s->interactive)
        return "--gallery shows what queries found; give --query or --image";
    return s->cache && s->no_cache ? "--cache and --no-cache do not go together" : NULL;
}

/* ---- Queries ---- */

/* A number is an image of the data, anything else a file. */
static bool read_image_query(work *w, const char *word, dt_query *query, char *name, dt_error *error)
{
    *query = (dt_query){DT_QUERY_FILE, word, 0};
    if (!*word || word[strspn(word, "0123456789")])
        return true;
    char text[256];
    errno = 0;
    unsigned long long index = strtoull(word, NULL, 10);
    if (errno || index >= dt_dataset_count(w->data))
        return dt_fail(error, "%s has no image %s; expected 0 to %zu", w->s->data, word,
                       dt_dataset_count(w->data) - 1);
    if (!dt_dataset_describe(w->data, (size_t)index, text, sizeof text, error))
        return false;
    snprintf(name, NAME_ROOM, dt_caption_check(text, NULL) ? "image %llu: %s" : "image %llu", index, text);
    *query = (dt_query){DT_QUERY_IMAGE, name, (size_t)index};
    return true;
}

static bool gather_queries(work *w, dt_error *error)
{
    const settings *s = w->s;
    if (s->queries && !dt_texts_load(&w->lines, s->queries, true, error))
        return false;
    size_t most = s->query_list.count + w->lines.count + s->image_list.count;
    w->queries = calloc(most + 1, sizeof *w->queries);
    w->names = calloc(most + 1, sizeof *w->names);
    w->found = calloc(most + 1, sizeof *w->found);
    if (!w->queries || !w->names || !w->found)
        return dt_fail(error, "no memory for %zu queries", most);
    for (size_t i = 0; i < s->query_list.count; i++) {
        if (!dt_caption_check(s->query_list.items[i], error))
            return dt_fail_prefix(error, "query %zu", i + 1);
        w->queries[w->count++].text = s->query_list.items[i];
    }
    for (size_t i = 0; i < w->lines.count; i++)
        w->queries[w->count++].text = w->lines.items[i];
    for (size_t i = 0; i < s->image_list.count; i++, w->count++)
        if (!read_image_query(w, s->image_list.items[i], &w->queries[w->count], w->names[w->count], error))
            return false;
    return true;
}

static int batch_for(const work *w, size_t count)
{
    return count < (size_t)w->s->batch ? (int)count : w->s->batch;
}

static bool embed_texts(work *w, const char *const *texts, size_t count, float *rows, dt_error *error)
{
    dt_encoder *encoder = dt_text_encoder_new(w->model, w->backend, batch_for(w, count), error);
    bool good = encoder && dt_embed_texts(w->model, encoder, texts, count, rows,
                                          dt_terminal_progress(w->s->quiet), error);
    dt_encoder_free(encoder);
    return good;
}

/* The texts come first among the queries. */
static bool embed_text_queries(work *w, dt_error *error)
{
    size_t count = 0;
    const char **texts = calloc(w->count + 1, sizeof *texts);
    for (; texts && count < w->count && w->queries[count].kind == DT_QUERY_TEXT; count++)
        texts[count] = w->queries[count].text;
    bool good = texts ? !count || embed_texts(w, texts, count, w->rows, error) : dt_fail(error, "no memory");
    free(texts);
    return good;
}

static bool embed_files(work *w, dt_error *error)
{
    dt_encoder *encoder = NULL;
    bool good = true;
    for (size_t q = 0; good && q < w->count; q++) {
        if (w->queries[q].kind != DT_QUERY_FILE)
            continue;
        encoder = encoder ? encoder : dt_image_encoder_new(w->model, w->backend, 1, error);
        good = encoder && dt_embed_file(w->queries[q].text, w->model, encoder, w->rows + q * w->dim, error);
    }
    dt_encoder_free(encoder);
    return good;
}

/* ---- Embeddings of the data ---- */

static bool embed_images(work *w, dt_error *error)
{
    const settings *s = w->s;
    char *cache = s->no_cache ? NULL : s->cache ? strdup(s->cache) : dt_features_folder(s->weights);
    const dt_features_options options = {.layer = DT_LAYER_EMBEDDING,
                                         .cache = cache,
                                         .weights = s->weights,
                                         .backend = w->backend,
                                         .batch = s->batch,
                                         .threads = s->threads,
                                         .progress = dt_terminal_progress(s->quiet)};
    bool good = dt_features_of(&w->images, w->model, w->data, &options, error);
    free(cache);
    if (good && *w->images.note)
        fprintf(stderr, "duet retrieve: note: %s\n", w->images.note);
    for (size_t q = 0; good && q < w->count; q++)
        if (w->queries[q].kind == DT_QUERY_IMAGE)
            memcpy(w->rows + q * w->dim, w->images.rows + w->queries[q].image * w->dim,
                   w->dim * sizeof *w->rows);
    return good;
}

static dt_searched searched(const work *w)
{
    return (dt_searched){.data = w->data, .images = w->images.rows, .dim = w->dim, .captions = &w->captions};
}

/* ---- What was asked for ---- */

/* What to call the figures. */
static const char *name_of(const settings *s, char *stem, size_t size)
{
    return s->name ? s->name : dt_dataset_stem(s->data, stem, size);
}

static bool rank_captions(work *w, dt_error *error)
{
    dt_retrieval found;
    char stem[256];
    if (!dt_captions_retrieve(w->data, w->images.rows, w->model, w->backend, w->s->batch,
                              (size_t)w->s->captions, true, dt_terminal_progress(w->s->quiet), &found,
                              &w->caption_count, name_of(w->s, stem, sizeof stem),
                              w->s->out || w->s->json ? &w->map : NULL, error))
        return false;
    dt_retrieval_scores(&found, w->scores, &w->score_count);
    return true;
}

static bool find_captions(work *w, dt_error *error)
{
    dt_caption_index index;
    if (!dt_caption_index_make(&w->captions, &index, error))
        return false;
    const dt_searched in = searched(w);
    float *texts = calloc(index.count * w->dim, sizeof *texts);
    bool good = texts || dt_fail(error, "no memory for the embeddings of %zu captions", index.count);
    good = good && embed_texts(w, index.texts, index.count, texts, error) &&
           dt_queries_caption(&in, &index, texts, w->queries, w->count, w->rows, (size_t)w->s->top, w->found,
                              error);
    free(texts);
    dt_caption_index_free(&index);
    return good;
}

static bool find_images(work *w, dt_error *error)
{
    const dt_searched in = searched(w);
    return dt_queries_answer(&in, w->queries, w->count, w->rows, (size_t)w->s->top, w->found, error);
}

static bool append(json_t *list, const work *w, const dt_query_found *found)
{
    return json_array_append_new(list, dt_query_json(found, w->s->data)) == 0;
}

static bool report_json(const work *w, dt_error *error)
{
    const settings *s = w->s;
    char stem[256];
    json_t *answers = json_array();
    bool good = true;
    for (size_t q = 0; q < w->count; q++)
        good &= append(answers, w, &w->found[q]);
    json_t *json =
        json_pack("{s:s, s:s, s:I, s:I, s:o, s:o}", "weights", s->weights, "data", s->data, "images",
                  (json_int_t)w->images.count, "captions", (json_int_t)w->caption_count, "figures",
                  dt_scores_json(w->scores, w->score_count, name_of(s, stem, sizeof stem)), s->texts ? "texts" : "galleries", answers);
    dt_device_note(json);
    dt_load_note(json, w->model);
    if (json && w->map)
        good &= json_object_set_new(json, "maps", json_pack("[O]", w->map)) == 0;
    good = (good && json) || dt_fail(error, "no memory for the results, or a name that is not UTF-8");
    good = good && (!s->json || dt_print_json(json, 2, error)) &&
           dt_print_flush(error) &&
           (!s->out || dt_findings_merge(s->out, json, error));
    json_decref(json);
    return good;
}

static bool write_gallery(const work *w, const dt_query_found *found, size_t count, dt_error *error)
{
    const settings *s = w->s;
    char stem[256], title[300];
    if (!s->gallery || !count)
        return true;
    snprintf(title, sizeof title, "Found in %s", name_of(s, stem, sizeof stem));
    if (!dt_gallery_page_write(s->gallery, title, w->data, found, count, error))
        return false;
    if (!s->json)
        printf("\ngallery: %s\n", s->gallery);
    return true;
}

static bool report(const work *w, dt_error *error)
{
    if (!w->s->json && !w->count) {
        printf("%s: %zu images, %zu captions\n\n", w->s->data, w->images.count, w->caption_count);
        dt_print_scores(w->scores, w->score_count);
    }
    for (size_t q = 0; !w->s->json && q < w->count; q++) {
        printf("%s", q ? "\n" : "");
        dt_print_query(&w->found[q], w->data);
    }
    if (!w->s->json)
        dt_device_print_note();
    if (!dt_print_flush(error))
        return false;
    return ((!w->s->json && !w->s->out) || report_json(w, error)) && write_gallery(w, w->found, w->count, error) &&
           dt_print_flush(error);
}

/* ---- One query after the other ---- */

/* Answers that are kept for the page. */
typedef struct session {
    dt_query_found *found;
    size_t count, room;
} session;

static bool keep(session *all, dt_query_found *found, dt_error *error)
{
    if (all->count == all->room) {
        all->room = all->room ? 2 * all->room : 16;
        dt_query_found *more = realloc(all->found, all->room * sizeof *more);
        if (!more)
            return dt_fail(error, "no memory for %zu queries", all->room);
        all->found = more;
    }
    if (!(found->query = strdup(found->query)))
        return dt_fail(error, "no memory");
    all->found[all->count++] = *found;
    return true;
}

static void forget(session *all)
{
    for (size_t i = 0; i < all->count; i++)
        free((char *)all->found[i].query);
    dt_queries_free(all->found, all->count);
    free(all->found);
}

static bool print_answer(const work *w, const dt_query_found *found, dt_error *error)
{
    if (w->s->json) {
        json_t *json = dt_query_json(found, w->s->data);
        bool good = json ? dt_print_json(json, 0, error) : dt_fail(error, "no memory");
        json_decref(json);
        return good;
    }
    dt_print_query(found, w->data);
    return true;
}

static bool answer_line(work *w, dt_encoder *encoder, const char *line, session *all, dt_error *error)
{
    const dt_searched in = searched(w);
    const dt_query query = {DT_QUERY_TEXT, line, 0};
    dt_query_found found;
    if (!dt_encode_texts(w->model, encoder, &line, 1, w->rows, error))
        return false;
    if (!dt_queries_answer(&in, &query, 1, w->rows, (size_t)w->s->top, &found, error))
        return false;
    bool kept = w->s->gallery != NULL; /* for the page at the end; else an answer is done with */
    bool good = print_answer(w, &found, error) &&
                dt_print_flush(error) &&
                (!kept || keep(all, &found, error));
    if (!good || !kept)
        dt_queries_free(&found, 1);
    return good;
}

/* A line that cannot be a query is told, and the next is read. */
static bool converse(work *w, dt_encoder *encoder, dt_error *error)
{
    session all = {0};
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    bool good = true, prompt = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
    for (size_t number = 1; good; number++) {
        if (prompt)
            fprintf(stderr, "> ");
        if ((length = getline(&line, &room, stdin)) < 0)
            break;
        bool whole = strlen(line) == (size_t)length || dt_fail(error, "a NUL in the text");
        line[strcspn(line, "\r\n")] = 0;
        if (whole && !line[strspn(line, " \t")])
            continue;
        if (whole && dt_caption_check(line, error))
            good = answer_line(w, encoder, line, &all, error);
        else
            fprintf(stderr, "duet retrieve: line %zu: %s\n", number, error->message);
    }
    if (prompt)
        fprintf(stderr, "\n");
    good = good && write_gallery(w, all.found, all.count, error);
    forget(&all);
    free(line);
    return good;
}

/* ---- The order of things: what can be wrong is found before the images are embedded ---- */

static bool check(const work *w, dt_error *error)
{
    const settings *s = w->s;
    if ((!w->count || s->texts) && !s->interactive && !w->captions.count)
        return dt_fail(error, "%s has no captions to find; --query TEXT or --image FILE finds images",
                       s->data);
    bool texts = s->texts || s->interactive || !w->count || w->queries[0].kind == DT_QUERY_TEXT;
    if (texts && !w->model->config.has_text)
        return dt_fail(error, "%s has no text tower; --image FILE finds images for a picture", s->weights);
    return !texts || w->model->tokenizer || dt_no_tokenizer(w->model, error);
}

static bool open_all(work *w, dt_error *error)
{
    const settings *s = w->s;
    size_t cells;
    if (!(w->data = dt_dataset_open(s->data, error)) || !gather_queries(w, error) ||
        !dt_dataset_captions(w->data, 0, &w->captions, error) ||
        !(w->model = dt_load_weights("duet retrieve", s->weights, s->quiet, error)) || !check(w, error) ||
        !(w->backend = dt_device_open(&s->device, dt_device_news(s->quiet), error)))
        return false;
    w->dim = (size_t)w->model->config.embed_dim;
    w->rows = __builtin_mul_overflow(w->count + 1, w->dim, &cells) ? NULL : calloc(cells, sizeof *w->rows);
    return w->rows || dt_fail(error, "no memory for %zu queries", w->count);
}

static bool run(work *w, dt_error *error)
{
    if (!open_all(w, error) || !embed_text_queries(w, error) || !embed_files(w, error))
        return false;
    dt_encoder *encoder = w->s->interactive ? dt_text_encoder_new(w->model, w->backend, 1, error) : NULL;
    bool good = (encoder || !w->s->interactive) && embed_images(w, error);
    if (good && w->s->interactive)
        good = converse(w, encoder, error);
    else if (good)
        good = (!w->count     ? rank_captions
                : w->s->texts ? find_captions
                              : find_images)(w, error) &&
               report(w, error);
    dt_encoder_free(encoder);
    return good;
}

static void close_all(work *w)
{
    if (w->found)
        dt_queries_free(w->found, w->count);
    free(w->found);
    free(w->queries);
    free(w->names);
    free(w->rows);
    json_decref(w->map);
    dt_texts_free(&w->lines);
    dt_captions_free(&w->captions);
    dt_features_free(&w->images);
    dt_model_free(w->model);
    dt_dataset_close(w->data);
}

static int retrieve(const settings *s)
{
    dt_error error;
    work w = {.s = s};
    bool good = run(&w, &error);
    close_all(&w);
    if (!good)
        fprintf(stderr, "duet retrieve: %s\n", error.message);
    return good ? DT_EXIT_GOOD : DT_EXIT_FAILURE;
}
