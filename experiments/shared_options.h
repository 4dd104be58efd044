/* The options that several commands have, for their tables: the same letter, range, default and wording everywhere. Those of the
 * device are in experiments/device.h. `more` is a literal that goes on with the sentence, perhaps "". */
#ifndef DUET_EXPERIMENTS_SHARED_OPTIONS_H
#define DUET_EXPERIMENTS_SHARED_OPTIONS_H

#include "eval/classes.h"
#include "experiments/load.h"
#include "experiments/options.h"

/* ---- Of all that run for long ---- */

#define DT_QUIET_OPTION(letter, target)                                                                                         \
    {                                                                                                                           \
        "quiet", letter, DT_FLAG, &(target), .help = "no word of progress and device; warnings and errors stay"                 \
    }

/* ---- Of trainings ---- */

#define DT_RUN_OPTION(target, argument, more)                                                                                   \
    {                                                                                                                           \
        "out", 'o', DT_STRING, &(target), argument, .help = "folder of the run (default: runs/NAME of NAME.json" more           \
    }
#define DT_CONFIG_OPTIONS(set, restart, example)                                                                                \
    {"set", 's', DT_STRINGS, &(set), "KEY=VALUE", .help = "override a key of the configuration: --set " example},               \
    {                                                                                                                           \
        "restart", 0, DT_FLAG, &(restart), .help = "begin anew where the folder holds a run already"                            \
    }

/* ---- Of what uses a model ---- */

#define DT_WEIGHTS_OPTION(target, must)                                                                                         \
    {                                                                                                                           \
        "weights", 'w', DT_STRING, &(target), "RUN|FILE", .help = DT_WEIGHTS_HELP, .required = must                             \
    }
#define DT_BATCH_OPTION(target, number, more)                                                                                   \
    {                                                                                                                           \
        "batch", 'b', DT_INT, &(target), "N", .help = "samples in a step of an encoder" more, .preset = number, .least = 1,     \
                                              .most = 65536                                                                     \
    }
#define DT_THREADS_OPTION(letter, target, many)                                                                                 \
    {                                                                                                                           \
        "threads", letter, DT_INT, &(target), "N", .help = "threads that decode images; 0: one a processor", .preset = "0",     \
                                                   .most = many                                                                 \
    }
#define DT_CACHE_OPTIONS(target, none, what, more)                                                                              \
    {"cache", 0, DT_STRING, &(target), "DIR", .help = "keep " what " here instead of RUN/features"},                            \
    {                                                                                                                           \
        "no-cache", 0, DT_FLAG, &(none), .help = "neither keep " what " nor use kept ones" more                                 \
    }
#define DT_TEMPLATE_OPTIONS(texts, file)                                                                                        \
    {"template", 't', DT_STRINGS, &(texts), "TEXT",                                                                             \
     .help = "prompt with {} for the class name (default: \"" DT_DEFAULT_TEMPLATE "\")"},                                       \
    {                                                                                                                           \
        "templates", 0, DT_STRING, &(file), "FILE",                                                                             \
            .help = "prompts of a file, one a line, or of a list in a .json file (FILE.json#NAME for one of several)"           \
    }
#define DT_QUERY_OPTIONS(texts, file)                                                                                           \
    {"query", 'q', DT_STRINGS, &(texts), "TEXT", .help = "find images for a text"},                                             \
    {                                                                                                                           \
        "queries", 0, DT_STRING, &(file), "FILE", .help = "find images for each line of a file; -: standard input"              \
    }

/* ---- Of what is found ---- */

#define DT_NAME_OPTION(target, otherwise)                                                                                       \
    {                                                                                                                           \
        "name", 0, DT_STRING, &(target), "TEXT", .help = "what to call the figures (default: " otherwise ")"                    \
    }
#define DT_FINDINGS_OPTION(target)                                                                                              \
    {                                                                                                                           \
        "out", 'o', DT_STRING, &(target), "FILE", .help = "also put what was found into this JSON file, for the report"         \
    }
#define DT_JSON_OPTION(target, more)                                                                                            \
    {                                                                                                                           \
        "json", 0, DT_FLAG, &(target), .help = "print JSON instead of text" more                                                \
    }

#endif
