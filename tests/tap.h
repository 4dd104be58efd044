/* The one test helper: Test Anything Protocol for C, read by prove.
 *
 *     int main(void) { ok(1 + 1 == 2, "adds"); near("x", got, want, n, 1e-6); return done(); }
 *
 * Each check prints one line; a failed one says where and what. done() prints the plan and returns the exit
 * status. Fixtures: golden("clip-vit/config.json") gives the path of a reference file, from ../shared/golden
 * where it is, else from tests/golden, else NULL; the caller then says skip("clip-vit", "..."). Files of its own
 * a program has in its scratch folder: put_text("a.csv", "a,b\n"), in("a.lmdb"). */
#ifndef DUET_TESTS_TAP_H
#define DUET_TESTS_TAP_H

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int tap_count, tap_failed;
static char tap_scratch[512];

#define ok(condition, ...) tap_ok(!!(condition), __FILE__, __LINE__, #condition, __VA_ARGS__)
/* Element-wise |got - want| <= tolerance; NaN never passes. Prints the worst element when it fails. */
#define near(name, got, want, n, tolerance) tap_near(__FILE__, __LINE__, name, got, want, n, tolerance)

__attribute__((format(printf, 5, 6))) static inline bool tap_ok(bool good, const char *file, int line,
                                                                const char *text, const char *format, ...)
{
    char name[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    for (char *c = name; *c; c++)
        if (*c == '#' || *c == '\n')
            *c = ' ';
    printf("%sok %d - %s\n", good ? "" : "not ", ++tap_count, name);
    if (!good) {
        tap_failed++;
        printf("# %s:%d: %s\n", file, line, text);
    }
    fflush(stdout);
    return good;
}

static inline bool tap_near(const char *file, int line, const char *name, const float *got, const float *want,
                            size_t n, double tolerance)
{
    size_t worst = 0;
    double most = -1;
    for (size_t i = 0; i < n; i++) {
        double difference = fabs((double)got[i] - want[i]);
        if (!(difference <= most)) { /* a NaN is worse than anything and stays the worst */
            most = difference, worst = i;
            if (difference != difference)
                break;
        }
    }
    bool good = n > 0 && most <= tolerance;
    tap_ok(good, file, line, "values agree", "%s within %.2g (worst %.2g of %zu)", name, tolerance, most, n);
    if (!good && n)
        printf("# at %zu: got %.9g, want %.9g\n", worst, got[worst], want[worst]);
    return good;
}

/* The larger of two errors; a NaN is larger than anything, and stays. */
static inline double larger(double worst, double error)
{
    return error <= worst || isnan(worst) ? worst : error;
}

/* A case that cannot run here, said by name: counted as passed, listed by prove as skipped. */
static inline void skip(const char *name, const char *why)
{
    printf("ok %d - %s # SKIP %s\n", ++tap_count, name, why);
    fflush(stdout);
}

/* Path of a reference file, or NULL. Four results stay valid at a time. */
static inline const char *golden(const char *name)
{
    static char paths[4][512];
    static int next;
    static const char *const roots[] = {"../shared/golden", "tests/golden"};
    for (int i = 0; i < 2; i++) {
        char *path = paths[next & 3];
        snprintf(path, sizeof paths[0], "%s/%s", roots[i], name);
        if (access(path, R_OK) == 0) {
            next++;
            return path;
        }
    }
    return NULL;
}

/* Whether a message has this part. Says what it was where it has not. */
static inline bool says(const char *message, const char *part)
{
    bool found = message && strstr(message, part);
    if (!found)
        printf("# sought '%s', found '%s'\n", part, message ? message : "nothing");
    return found;
}

/* The folder for this program's files, below the system's temporary directory. done() removes it and all that is in it. */
static inline const char *scratch(void)
{
    const char *base = getenv("TMPDIR");
    if (*tap_scratch)
        return tap_scratch;
    snprintf(tap_scratch, sizeof tap_scratch, "%s/duet-test-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(tap_scratch)) {
        printf("Bail out! cannot make %s\n", tap_scratch);
        exit(1);
    }
    return tap_scratch;
}

/* The path of a file there. 64 results stay valid at a time. */
static inline char *in(const char *name)
{
    static char paths[64][700];
    static int next;
    char *path = paths[next++ & 63];
    snprintf(path, sizeof paths[0], "%s/%s", scratch(), name);
    return path;
}

/* Writes a file there, and gives its path. */
static inline char *put(const char *name, const void *bytes, size_t size)
{
    char *path = in(name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file)) {
        printf("Bail out! cannot write %s\n", path);
        exit(1);
    }
    return path;
}

static inline char *put_text(const char *name, const char *text)
{
    return put(name, text, strlen(text));
}

static inline int done(void)
{
    char remove[600];
    snprintf(remove, sizeof remove, "rm -rf '%s'", tap_scratch);
    if (*tap_scratch)
        ok(system(remove) == 0, "removes its files");
    printf("1..%d\n", tap_count);
    return tap_failed || !tap_count ? 1 : 0;
}

#endif
