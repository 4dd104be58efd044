#include <stdio.h>
#include <string.h>

#include "data/nearest.h"
#include "experiments/commands.h"
#include "experiments/options.h"

static const char version[] = "0.1.0";

typedef struct command {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
} command;

/* In the order of `duet --help`. */
static const command commands[] = {
    {"pack", "packs images and captions into a pair store", dt_cmd_pack},
    {"tokenizer", "learns a byte-pair vocabulary, or shows what it makes of texts", dt_cmd_tokenizer},
    {"pretrain", "trains an image and a text tower together on packed pairs", dt_cmd_pretrain},
    {NULL, NULL, NULL},
};

static void help(void)
{
    printf("usage: duet COMMAND [options] [arguments]\n\n"
           "Contrastive training of an image and a text encoder.\n\n");
    for (const command *c = commands; c->name; c++)
        printf("  %-12s%s\n", c->name, c->summary);
    printf("\nduet COMMAND --help says more; duet --version tells the version.\n");
}

static int unknown(const char *word)
{
    dt_nearest near = {.word = word};
    for (const command *c = commands; c->name; c++)
        dt_nearest_try(&near, c->name);
    fprintf(stderr, "duet: unknown %s '%s'", word[0] == '-' ? "option" : "command", word);
    if (near.best)
        fprintf(stderr, "; did you mean %s?", near.best);
    fprintf(stderr, "; see duet --help\n");
    return DT_EXIT_USAGE;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "duet: no command; see duet --help\n");
        return DT_EXIT_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0)
        help();
    else if (strcmp(word, "--version") == 0)
        printf("duet %s\n", version);
    else {
        for (const command *c = commands; c->name; c++)
            if (strcmp(c->name, word) == 0)
                return c->run(argc - 1, argv + 1);
        return unknown(word);
    }
    if (fflush(stdout) != 0) { /* help into a full disk is a failure too */
        perror("duet: cannot write to standard output");
        return DT_EXIT_FAILURE;
    }
    return DT_EXIT_GOOD;
}
