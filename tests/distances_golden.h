/* The stored sets of features of tests/golden/distances, and what they are apart. */
#ifndef DUET_TESTS_DISTANCES_GOLDEN_H
#define DUET_TESTS_DISTANCES_GOLDEN_H

#include "data/safetensors.h"
#include "eval/kernel_distance.h"
#include "tests/tap.h"

typedef struct stored_case {
    dt_feature_rows a, b;
    double frechet, kid, cmmd, precision, recall;
} stored_case;

static const char *const stored_names[] = {"full", "few", "steep", "near"};
enum { STORED_CASES = 4 };

static inline dt_safetensors *stored_open(void)
{
    dt_error error;
    const char *path = golden("distances/distances.safetensors");
    dt_safetensors *file = path ? dt_safetensors_open(path, &error) : NULL;
    if (!file)
        skip("stored distances", path ? error.message : "no distances/distances.safetensors");
    return file;
}

/* Borrowed from the file, whose tensors are aligned. */
static inline const void *stored(const dt_safetensors *file, const char *name, const char *part, dt_feature_rows *rows)
{
    char key[64];
    snprintf(key, sizeof key, "%s%s", name, part);
    const dt_st_tensor *t = dt_safetensors_find(file, key);
    if (!t) {
        printf("Bail out! no tensor %s\n", key);
        exit(1);
    }
    if (rows)
        *rows = (dt_feature_rows){t->data, (size_t)t->shape[0], (size_t)t->shape[1]};
    return t->data;
}

static inline stored_case stored_read(const dt_safetensors *file, const char *name)
{
    stored_case c;
    stored(file, name, ".a", &c.a);
    stored(file, name, ".b", &c.b);
    const double *v = stored(file, name, ".values", NULL);
    c.frechet = v[0], c.kid = v[1], c.cmmd = v[2], c.precision = v[3], c.recall = v[4];
    return c;
}

/* |got - want| within a share of `scale`. */
static inline void close_to(const char *name, const char *what, double got, double want, double scale, double tolerance)
{
    if (!ok(fabs(got - want) <= tolerance * scale, "%s: %s within %.0e of %.3g", name, what, tolerance, scale))
        printf("# got %.17g, want %.17g\n", got, want);
}

/* That a call failed, in one line that has this part. */
static inline void refuse(const dt_error *error, const char *name, bool good, const char *part)
{
    bool right = !good && strstr(error->message, part);
    ok(right && !strchr(error->message, '\n'), "%s is refused", name);
    if (!right)
        printf("# said: %s\n", good ? "nothing" : error->message);
}

#endif
