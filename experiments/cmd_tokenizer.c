/* duet tokenizer: learn a vocabulary from captions; turn text into ids and back. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/bpe_train.h"
#include "data/file.h"
#include "data/nearest.h"
#include "data/pairs.h"
#include "data/tokenizer.h"
#include "experiments/commands.h"
#include "experiments/options.h"

enum { CONTEXT_MOST = 65536 };

static int train(int argc, char **argv);
static int encode(int argc, char **argv);
static int decode(int argc, char **argv);

static const struct action {
    const char *name;
    int (*run)(int argc, char **argv);
} actions[] = {{"train", train}, {"encode", encode}, {"decode", decode}};

enum { ACTIONS = sizeof actions / sizeof actions[0] };

int dt_cmd_tokenizer(int argc, char **argv)
{
    for (int i = 0; argc > 1 && i < ACTIONS; i++)
        if (!strcmp(argv[1], actions[i].name))
            return actions[i].run(argc - 1, argv + 1);
    const dt_usage usage = {"duet tokenizer", "train|encode|decode ...",
                            "The byte-pair tokenizer of CLIP. `train` learns a vocabulary from captions, "
                            "`encode` turns text into "
                            "ids, `decode` turns ids into text; duet tokenizer ACTION --help says more.",
                            .least = 1, .most = -1};
    char **words;
    int count, status = dt_options_parse(&usage, argc, argv, &words, &count);
    if (status >= 0)
        return status;
    dt_nearest near = {.word = words[0]};
    for (int i = 0; i < ACTIONS; i++)
        dt_nearest_try(&near, actions[i].name);
    fprintf(stderr, "duet tokenizer: unknown action '%s'; ", words[0]);
    if (near.best)
        fprintf(stderr, "did you mean %s?\n", near.best);
    else
        fprintf(stderr, "expected train, encode or decode\n");
    return DT_EXIT_USAGE;
}

static int failed(const char *action, const dt_error *error)
{
    fprintf(stderr, "duet tokenizer %s: %s\n", action, error->message);
    return DT_EXIT_FAILURE;
}

/* Calls `each` with every line of a file, its end included; "-" is the standard input. */
static bool read_lines(const char *path,
                       bool (*each)(void *context, const char *line, size_t length, dt_error *),
                       void *context, dt_error *error)
{
    bool standard = !strcmp(path, "-"), good = true;
    const char *name = standard ? "standard input" : path;
    FILE *file = standard ? stdin : fopen(path, "r");
    if (!file)
        return dt_fail(error, "cannot open %s: %s", path, strerror(errno));
    char *line = NULL;
    size_t room = 0, number = 0;
    ssize_t length;
    errno = 0;
    while (good && (length = getline(&line, &room, file)) >= 0) {
        number++;
        good = each(context, line, (size_t)length, error) || dt_fail_prefix(error, "%s:%zu", name, number);
        errno = 0;
    }
    if (good && (ferror(file) || errno))
        good = dt_fail(error, "cannot read %s: %s", name, strerror(errno));
    free(line);
    if (!standard)
        fclose(file);
    return good;
}

static bool count_line(void *trainer, const char *line, size_t length, dt_error *error)
{
    return dt_bpe_trainer_add(trainer, line, length, error);
}

static bool count_store(dt_bpe_trainer *trainer, const char *path, dt_error *error)
{
    dt_pairs *pairs = dt_pairs_open(path, error);
    bool good = pairs;
    uint64_t count = pairs ? dt_pairs_count(pairs) : 0;
    for (uint64_t index = 0; good && index < count; index++) {
        dt_pair pair;
        good = dt_pairs_get(pairs, index, &pair, error);
        for (size_t i = 0; good && i < pair.caption_count; i++) {
            size_t length;
            const char *caption = dt_pair_caption(&pair, i, &length);
            good = dt_bpe_trainer_add(trainer, caption, length, error) ||
                   dt_fail_prefix(error, "%s: caption %zu of pair %llu", path, i, (unsigned long long)index);
        }
    }
    dt_pairs_close(pairs);
    return good;
}

static bool is_store(const char *path)
{
    size_t length = strlen(path);
    return dt_is_directory(path) || (length > 5 && !strcmp(path + length - 5, ".lmdb"));
}

static bool count_files(dt_bpe_trainer *trainer, char **paths, int count, dt_error *error)
{
    for (int i = 0; i < count; i++)
        if (!(is_store(paths[i]) ? count_store(trainer, paths[i], error)
                                 : read_lines(paths[i], count_line, trainer, error)))
            return false;
    return true;
}

static int train(int argc, char **argv)
{
    int merges;
    const char *out;
    const dt_option options[] = {
        {"merges", 'm', DT_INT, &merges, "N", .help = "merges to learn; the vocabulary has 514 tokens more",
         .preset = "48894", .least = 0, .most = 1048000},
        {"out", 'o', DT_STRING, &out, "FILE", "the tokenizer.json to write", .required = true},
    };
    const dt_usage usage = {
        "duet tokenizer train",
        "FILE...",
        "Learns a vocabulary from captions and writes it as a tokenizer.json, which Hugging Face's "
        "tokenizers read too. A FILE holds one caption a line, or is a pair store (NAME.lmdb); - "
        "is the standard input.",
        options,
        sizeof options / sizeof options[0],
        .least = 1,
        .most = -1};
    char **paths;
    int count, status = dt_options_parse(&usage, argc, argv, &paths, &count);
    if (status >= 0)
        return status;
    dt_error error;
    dt_bpe_trainer *trainer = dt_bpe_trainer_new(&error);
    dt_tokenizer *tokenizer = NULL;
    if (trainer && count_files(trainer, paths, count, &error))
        tokenizer = dt_bpe_trainer_finish(trainer, merges, &error);
    dt_bpe_trainer_free(trainer);
    bool good = tokenizer && dt_tokenizer_save(tokenizer, out, &error);
    if (good)
        fprintf(stderr, "%s: %d tokens, fingerprint %016llx\n", out, dt_tokenizer_vocab_size(tokenizer),
                (unsigned long long)dt_tokenizer_fingerprint(tokenizer));
    dt_tokenizer_free(tokenizer);
    return good ? DT_EXIT_GOOD : failed("train", &error);
}

/* What encode and decode need for each line. */
typedef struct task {
    const dt_tokenizer *tokenizer;
    int context; /* 0: neither start nor end nor padding */
    int32_t *ids;
    size_t room;
} task;

static bool reserve(task *t, size_t count, dt_error *error)
{
    if (count <= t->room)
        return true;
    int32_t *ids = realloc(t->ids, 2 * count * sizeof *ids);
    if (!ids)
        return dt_fail(error, "out of memory for %zu ids", count);
    t->ids = ids;
    t->room = 2 * count;
    return true;
}

static bool encode_line(void *context, const char *line, size_t length, dt_error *error)
{
    task *t = context;
    size_t count = (size_t)t->context;
    if (!reserve(t, t->context ? count : 256, error))
        return false;
    if (t->context) {
        if (!dt_tokenizer_encode_padded(t->tokenizer, line, length, t->ids, t->context, error))
            return false;
    } else {
        if (!dt_tokenizer_encode(t->tokenizer, line, length, t->ids, t->room, &count, error))
            return false;
        if (count > t->room &&
            (!reserve(t, count, error) ||
             !dt_tokenizer_encode(t->tokenizer, line, length, t->ids, t->room, &count, error)))
            return false;
    }
    for (size_t i = 0; i < count; i++)
        printf(i ? " %d" : "%d", t->ids[i]);
    return putchar('\n') != EOF || dt_fail(error, "cannot write to standard output");
}

/* Numbers with white space between; the line ends in a NUL. */
static bool decode_line(void *context, const char *line, size_t length, dt_error *error)
{
    task *t = context;
    size_t count = 0;
    const char *end = line + length;
    for (char *next; line < end; line = next) {
        errno = 0;
        long id = strtol(line, &next, 10);
        if (next == line && strspn(line, " \t\r\n") == (size_t)(end - line))
            break;
        if (next == line || errno || id < 0 || id > INT32_MAX)
            return dt_fail(error, "expected ids, found '%.*s'", (int)strcspn(line, "\n"), line);
        if (!reserve(t, count + 1, error))
            return false;
        t->ids[count++] = (int32_t)id;
    }
    char *text = dt_tokenizer_decode(t->tokenizer, t->ids, count, &length, error);
    if (!text)
        return false;
    bool good = fwrite(text, 1, length, stdout) == length && putchar('\n') != EOF;
    free(text);
    return good || dt_fail(error, "cannot write to standard output");
}

/* The words of the command line as one line each, or the lines of the standard input. */
static int each_line(const char *action, const char *path, int context, char **words, int count,
                     bool (*each)(void *context, const char *line, size_t length, dt_error *))
{
    dt_error error;
    dt_tokenizer *tokenizer = dt_tokenizer_load(path, &error);
    task t = {.tokenizer = tokenizer, .context = context};
    bool good = tokenizer;
    for (int i = 0; good && i < count; i++)
        good = each(&t, words[i], strlen(words[i]), &error);
    if (good && !count)
        good = read_lines("-", each, &t, &error);
    if (good && fflush(stdout))
        good = dt_fail(&error, "cannot write to standard output");
    free(t.ids);
    dt_tokenizer_free(tokenizer);
    return good ? DT_EXIT_GOOD : failed(action, &error);
}

static const char tokenizer_help[] = "a tokenizer.json, or CLIP's bpe_simple_vocab_16e6.txt.gz";

static int encode(int argc, char **argv)
{
    int context;
    const char *path;
    const dt_option options[] = {
        {"tokenizer", 't', DT_STRING, &path, "FILE", tokenizer_help, .required = true},
        {"context", 'c', DT_INT, &context, "N",
         .help = "ids as a model of N tokens sees them: start, text, end, zeros; 0: those of the text alone", .preset = "0",
         .least = 0, .most = CONTEXT_MOST},
    };
    const dt_usage usage = {
        "duet tokenizer encode",
        "[TEXT...]",
        "Prints the ids of each TEXT, or of each line of the standard input, on one line.",
        options,
        sizeof options / sizeof options[0],
        .least = 0,
        .most = -1};
    char **words;
    int count, status = dt_options_parse(&usage, argc, argv, &words, &count);
    return status >= 0 ? status : each_line("encode", path, context, words, count, encode_line);
}

static int decode(int argc, char **argv)
{
    const char *path;
    const dt_option options[] = {
        {"tokenizer", 't', DT_STRING, &path, "FILE", tokenizer_help, .required = true}};
    const dt_usage usage = {
        "duet tokenizer decode",
        "[IDS...]",
        "Prints the text of each IDS (\"320 1125\"), or of each line of the standard input.",
        options,
        1,
        .least = 0,
        .most = -1};
    char **words;
    int count, status = dt_options_parse(&usage, argc, argv, &words, &count);
    return status >= 0 ? status : each_line("decode", path, 0, words, count, decode_line);
}
