#include "experiments/options.h"
#include "tests/tap.h"

typedef struct values {
    int batch;
    int64_t seed;
    size_t cache;
    double rate;
    const char *out, *device;
    bool quiet, fast;
    dt_strings set, templates;
} values;

static dt_error error;
static values v;
static char **arguments;
static int count;

static const dt_option options[] = {
    {"batch-size", 'b', DT_INT, &v.batch, "N", "pairs in a step", "256", .least = 1, .most = 4096},
    {"seed", 0, DT_LONG, &v.seed, "N", "seed of every random choice", .preset = "1"},
    {"cache", 0, DT_SIZE, &v.cache, "BYTES", "memory for decoded images", .preset = "64M"},
    {"learning-rate", 0, DT_FLOAT, &v.rate, "RATE",
     "peak learning rate, which the schedule reaches after the warm-up and leaves along half a cosine wave",
     "5e-4", .least = 1e-9, .most = 10},
    {"out", 'o', DT_STRING, &v.out, "DIR", "where to write", .required = true},
    {"device", 0, DT_CHOICE, &v.device, "auto|cpu|cuda", "where to compute", .preset = "auto"},
    {"quiet", 'q', DT_FLAG, &v.quiet, .help = "no progress"},
    {"fast", 'f', DT_FLAG, &v.fast, .help = "less care"},
    {"template", 0, DT_STRINGS, &v.templates, "TEXT", "caption of a class", .preset = "a {}"},
    {"set", 0, DT_STRINGS, &v.set, "KEY=VALUE", .help = "override the config"},
};
static const dt_usage usage = {
    "duet test", "STORE SOURCE...", "Tests.", options, sizeof options / sizeof options[0], 1, 3};

/* Parses a line split at spaces. */
static dt_options_outcome parse(const char *line)
{
    static char copy[4096];
    static char *argv[512];
    int argc = 1;
    v = (values){0};
    error.message[0] = 0;
    snprintf(copy, sizeof copy, "%s", line);
    argv[0] = copy;
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    return dt_options_read(&usage, argc, argv, &arguments, &count, &error);
}

static void refused(const char *line, const char *message)
{
    dt_options_outcome outcome = parse(line);
    bool good = outcome == DT_OPTIONS_WRONG && strcmp(error.message, message) == 0;
    if (!ok(good, "refuses: %s", line))
        printf("# got: %s\n", error.message);
}

static void values_are_read(void)
{
    ok(parse("-o runs/a store") == DT_OPTIONS_RUN, "the least that is good");
    ok(v.batch == 256 && v.seed == 1 && v.cache == 64 << 20 && v.rate == 5e-4, "defaults of numbers");
    ok(!strcmp(v.device, "auto") && !v.quiet && v.set.count == 0, "defaults of words");
    ok(v.templates.count == 1 && !strcmp(v.templates.items[0], "a {}"),
       "a repeated option has a default too");
    ok(count == 1 && !strcmp(arguments[0], "store"), "one positional");

    parse("a --batch-size 7 --seed=-9223372036854775808 b --cache 3G -qf --out=x=y --learning-rate 1e-3 "
          "--device "
          "cuda --set a=1 --set=b.c= -- --quiet");
    ok(v.batch == 7 && v.seed == INT64_MIN && v.cache == (size_t)3 << 30 && v.rate == 1e-3, "numbers");
    ok(!strcmp(v.out, "x=y") && !strcmp(v.device, "cuda") && v.quiet && v.fast, "words and flags");
    ok(v.set.count == 2 && !strcmp(v.set.items[0], "a=1") && !strcmp(v.set.items[1], "b.c="), "repeated");
    ok(count == 3 && !strcmp(arguments[0], "a") && !strcmp(arguments[1], "b") &&
           !strcmp(arguments[2], "--quiet"),
       "positionals among options, and after --");

    parse("-o x s --template=1 --template=2");
    ok(v.templates.count == 2 && !strcmp(v.templates.items[0], "1"), "which what is given replaces");
    ok(parse("-b32 -qoX - ") == DT_OPTIONS_RUN && v.batch == 32 && v.quiet && !strcmp(v.out, "X"), "letters");
    ok(count == 1 && !strcmp(arguments[0], "-"), "a single dash is a positional");
    ok(parse("--seed -5 -o x y") == DT_OPTIONS_RUN && v.seed == -5, "a negative number is a value");
    ok(parse("--out=--quiet y") == DT_OPTIONS_RUN && !strcmp(v.out, "--quiet"),
       "an option's name after = is a value");
}

static void wrong_usage(void)
{
    refused("--out x s --batch-sise 3", "unknown option --batch-sise; did you mean --batch-size?");
    refused("--out x s --batch 3", "unknown option --batch; did you mean --batch-size?");
    refused("--out x s --zzzzzz=3", "unknown option --zzzzzz");
    refused("-o x s -z", "unknown option -z");
    refused("-o x s -b", "-b needs a value (N)");
    refused("s --out --quiet",
            "--out needs a value (DIR), found --quiet; write --out=--quiet if that is the value");
    refused("-o x s --quiet=1", "--quiet takes no value (found '1')");
    refused("-o x s -b 1x", "-b: expected an integer, found '1x'");
    refused("-o x s -b=", "-b: expected an integer, found '='");
    refused("-o x s --batch-size=", "--batch-size: expected an integer, found ''");
    refused("-o x s -b 0", "-b: 0 is out of range (1 to 4096)");
    refused("-o x s -b 4294967297", "-b: 4294967297 does not fit in 32 bits");
    refused("-o x s --seed 9223372036854775808", "--seed: 9223372036854775808 does not fit in 64 bits");
    refused("-o x s --cache -1", "--cache: expected a size such as 4096, 64M or 2G, found '-1'");
    refused("-o x s --cache 1MB", "--cache: expected a size such as 4096, 64M or 2G, found '1MB'");
    refused("-o x s --cache 99999999999G", "--cache: 99999999999G is too large");
    refused("-o x s --learning-rate nan", "--learning-rate: expected a number, found 'nan'");
    refused("-o x s --learning-rate 11", "--learning-rate: 11 is out of range (1e-09 to 10)");
    refused("-o x s --device gpu", "--device: expected one of auto|cpu|cuda, found 'gpu'");
    refused("-o x s --device cpu|cuda", "--device: expected one of auto|cpu|cuda, found 'cpu|cuda'");
    refused("s", "--out DIR is missing");
    refused("-o x", "expected at least 1 argument (STORE SOURCE...), found 0");
    refused("-o x 1 2 3 4", "unexpected argument '4'");

    char line[4096] = "-o x s";
    for (int i = 0; i < 257; i++)
        strcat(line, " --set=a");
    refused(line, "--set: given more than 256 times");
}

static void help(void)
{
    ok(parse("--bogus --help") == DT_OPTIONS_WRONG, "the first mistake is told");
    ok(parse("--help --bogus") == DT_OPTIONS_HELP && parse("-qh") == DT_OPTIONS_HELP, "help by both names");
    char *page = NULL;
    size_t size = 0, entries = 0, longest = 0;
    FILE *out = open_memstream(&page, &size);
    dt_options_help(&usage, out);
    fclose(out);
    for (size_t i = 0; i < usage.count; i++) {
        char name[64];
        snprintf(name, sizeof name, "--%s", options[i].name);
        entries += strstr(page, name) != NULL;
    }
    for (char *line = strtok(page, "\n"); line; line = strtok(NULL, "\n"))
        longest = strlen(line) > longest ? strlen(line) : longest;
    ok(entries == usage.count, "every option is on the help page");
    ok(longest <= 100, "no line is longer than 100 columns (%zu)", longest);
    free(page);
}

int main(void)
{
    values_are_read();
    wrong_usage();
    help();
    return done();
}
