/* A small trained tokenizer, to be changed and damaged. */
#ifndef DUET_TESTS_SMALL_TOKENIZER_H
#define DUET_TESTS_SMALL_TOKENIZER_H

#include "data/bpe_train.h"
#include "data/json.h"
#include "data/tokenizer.h"
#include "tests/tap.h"

/* The example of Sennrich et al., merged by hand: es 9, est 9, lo 7, then at 6 by id ew, new, newest, low 5
 * ... */
static const char *const words_of_paper[] = {"low low low LOW low", "lower lower", "newest newest newest",
                                             "newest newest newest", "widest widest widest"};

/* Its tokenizer.json. */
static inline json_t *small_json(void)
{
    dt_error error;
    const char *path = in("small.json");
    dt_tokenizer *t = dt_bpe_train(words_of_paper, NULL, 5, 7, &error);
    json_t *root = t && dt_tokenizer_save(t, path, &error) ? dt_json_load(path, &error) : NULL;
    dt_tokenizer_free(t);
    return root;
}

/* Reads `root` as a tokenizer. NULL with the message in *error. */
static inline dt_tokenizer *parse_json(const json_t *root, dt_error *error)
{
    char *text = json_dumps(root, 0);
    dt_tokenizer *t = dt_tokenizer_parse(text, strlen(text), "damaged", error);
    free(text);
    return t;
}

#endif
