#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/nearest.h"
#include "experiments/commands.h"
#include "experiments/options.h"
#include "experiments/version.h"

typedef struct command {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
} command;

/* In the order of `duet --help`. */
static const command commands[] = {
    {"pack", "packs images and captions into a pair store", dt_cmd_pack},
    {"tokenizer", "learns a byte-pair vocabulary, or shows what it makes of texts", dt_cmd_tokenizer},
    {"pretrain", "trains an image and a text tower together on packed pairs", dt_cmd_pretrain},
    {"vae", "trains variational autoencoders", dt_cmd_vae},
    {"gan", "trains generators against discriminators, or draws with one", dt_cmd_gan},
    {"probe", "trains and tests a linear classifier on a model's frozen features", dt_cmd_probe},
    {"finetune", "trains a classifier on one tower of a model", dt_cmd_finetune},
    {"zeroshot", "names images, finds images and captions for each other", dt_cmd_zeroshot},
    {"classify", "names pictures or texts that carry no label", dt_cmd_classify},
    {"retrieve", "finds images and captions by each other, and images for texts or pictures", dt_cmd_retrieve},
    {"evaluate", "runs many evaluations by one file, into one table", dt_cmd_evaluate},
    {"distance", "measures how far generated pictures are from real ones", dt_cmd_distance},
    {"embed", "writes embeddings of images and texts to a file", dt_cmd_embed},
    {"convert", "reads weights of others, or for another image size, and writes Duet's own", dt_cmd_convert},
    {"export", "writes a model as transformers or open_clip load it", dt_cmd_export},
    {"report", "writes a run's curves, figures and pictures as one page", dt_cmd_report},
    {"bench", "measures training and encoding speed of a model here", dt_cmd_bench},
    {"devices", "lists what can be computed on here", dt_cmd_devices},
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

/* Where another process, or our own loader, takes a core for a moment, OpenMP's threads wait for one another at the end of
 * every loop. GNU's library then spins for milliseconds before it sleeps, which can cost ten times the work itself; 3,000
 * rounds are a few dozen microseconds. It reads the setting when it is loaded, so the program starts itself once more. */
static void wait_gently(char **argv)
{
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT") || setenv("GOMP_SPINCOUNT", "3000", 1))
        return;
    execv("/proc/self/exe", argv); /* comes back only where there is no /proc: then it waits as it would have */
}

/* What was printed must have arrived: a full disk is a failure of any command. */
static int finish(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    if (status == DT_EXIT_GOOD)
        perror("duet: cannot write to standard output");
    return status == DT_EXIT_GOOD ? DT_EXIT_FAILURE : status;
}

/* OMP_NUM_THREADS may say any number; buffers and decoding threads are made for each. */
static void bound_threads(void)
{
    enum { THREADS_MAX = 1024 };
    if (omp_get_max_threads() > THREADS_MAX)
        omp_set_num_threads(THREADS_MAX);
}

int main(int argc, char **argv)
{
    wait_gently(argv);
    bound_threads();
    signal(SIGXFSZ, SIG_IGN); /* a file-size limit is then reported like a full disk */
    if (argc < 2) {
        fprintf(stderr, "duet: no command; see duet --help\n");
        return DT_EXIT_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0)
        help();
    else if (strcmp(word, "--version") == 0)
        printf("duet %s\n", DT_VERSION);
    else {
        for (const command *c = commands; c->name; c++)
            if (strcmp(c->name, word) == 0)
                return finish(c->run(argc - 1, argv + 1));
        return unknown(word);
    }
    return finish(DT_EXIT_GOOD);
}
