/* The one option parser: a table in, typed values and a help page out.
 *
 *     struct { int batch; int64_t seed; const char *out; bool quiet; } o = {0};
 *     const dt_option options[] = {
 *         {"batch-size", 'b', DT_INT, &o.batch, "N", "pairs in a step", "256", .least = 1, .most = 4096},
 *         {"seed", 0, DT_LONG, &o.seed, "N", "seed of every random choice", .preset = "1"},
 *         {"out", 'o', DT_STRING, &o.out, "DIR", "where to write", .required = true},
 *         {"quiet", 'q', DT_FLAG, &o.quiet, .help = "no progress on the terminal"},
 *     };      (the last field given is named, so that the compiler does not ask for the rest)
 *     const dt_usage usage = {"duet pack", "STORE SOURCE...", "Packs images into a store.",
 *                             options, sizeof options / sizeof options[0], .least = 2, .most = -1};
 *     char **arguments;
 *     int count, status = dt_options_parse(&usage, argc, argv, &arguments, &count);
 *     if (status >= 0)
 *         return status;
 *
 * Exit statuses of the program: 0 good, 1 failure, 2 wrong usage. */
#ifndef DUET_EXPERIMENTS_OPTIONS_H
#define DUET_EXPERIMENTS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "data/error.h"

enum { DT_EXIT_GOOD = 0, DT_EXIT_FAILURE = 1, DT_EXIT_USAGE = 2 };

/* With the type that target points to. */
typedef enum dt_option_kind {
    DT_FLAG,    /* bool: true when given; takes no value */
    DT_INT,     /* int */
    DT_LONG,    /* int64_t, as for seeds */
    DT_SIZE,    /* size_t, with an optional K, M, G or T: powers of 1024 */
    DT_FLOAT,   /* double, finite */
    DT_STRING,  /* const char *, borrowed from argv or from the table */
    DT_CHOICE,  /* const char *, one of the words in `argument`: "auto|cpu|cuda" */
    DT_STRINGS, /* dt_strings: may be repeated; given once, its preset is gone */
} dt_option_kind;

/* The values of a repeated option, in order, borrowed from argv. */
typedef struct dt_strings {
    const char *items[256];
    size_t count;
} dt_strings;

typedef struct dt_option {
    const char *name; /* long name, without the dashes */
    char letter;      /* short name, or 0 */
    dt_option_kind kind;
    void *target;         /* see dt_option_kind */
    const char *argument; /* what help calls the value: "N", "FILE", "auto|cpu|cuda"; NULL for a flag */
    const char *help;     /* one sentence, no full stop */
    const char *preset;   /* the default as text, parsed into target first, so that help cannot lie;
                             NULL leaves target as the caller set it */
    double least, most;   /* range of a number, inclusive; both 0: any; most < least: no upper end */
    bool required;
} dt_option;

typedef struct dt_usage {
    const char *command;     /* "duet pack" */
    const char *positionals; /* how help writes them: "STORE SOURCE..."; NULL for none */
    const char *summary;     /* what the command does: one or more sentences */
    const dt_option *options;
    size_t count;
    int least, most; /* how many positionals; most -1: any number */
} dt_usage;

/* Reads argv[1..argc-1]. Options and positionals may mix; `--` ends the options; `-` alone is a positional.
 * A number that starts with a dash is taken as a value, an option of the table is not (write --key=--value).
 * *positionals points into argv, which is rearranged.
 * Prints help to stdout (--help, -h) or one line to stderr. Returns -1 to go on, or the exit status. */
int dt_options_parse(const dt_usage *usage, int argc, char **argv, char ***positionals, int *count);

/* The same without printing. DT_OPTIONS_HELP as soon as --help is met; DT_OPTIONS_WRONG with the message. */
typedef enum { DT_OPTIONS_RUN, DT_OPTIONS_HELP, DT_OPTIONS_WRONG } dt_options_outcome;
dt_options_outcome dt_options_read(const dt_usage *usage, int argc, char **argv, char ***positionals,
                                   int *count, dt_error *error);

/* The page that --help prints: usage, summary, one entry an option, wrapped at 100 columns. */
void dt_options_help(const dt_usage *usage, FILE *out);

#endif
