/* CSV tables: fields, quotes, what separates them, and rows that are malformed. */
#include "data/csv.h"

#include <stdint.h>

#include "tests/tap.h"

static dt_error error;

/* Rows as text: fields between |, rows between \n, a malformed row as "!". */
static bool csv_is(const char *text, size_t size, const char *want)
{
    char got[1024] = "";
    dt_csv csv;
    int found;
    char *exact = malloc(size + !size); /* so that a read beyond the end shows */
    memcpy(exact, text, size);
    dt_csv_start(&csv, exact, size);
    while ((found = dt_csv_next(&csv, &error))) {
        for (size_t i = 0; found > 0 && i < csv.field_count; i++)
            snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", i ? "|" : "", csv.fields[i]);
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s@%zu;", found < 0 ? "!" : "", csv.line);
    }
    dt_csv_end(&csv);
    free(exact);
    if (strcmp(got, want))
        printf("# got %s\n# want %s\n", got, want);
    return !strcmp(got, want);
}

static void tables(void)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"", ""},
        {"\n\r\n\n", ""},
        {"a", "a@1;"},
        {"a,b\nc,d\n", "a|b@1;c|d@2;"},
        {"a,b\r\nc,d\r\n", "a|b@1;c|d@2;"},
        {"\357\273\277a,b\n1,2", "a|b@1;1|2@2;"}, /* a byte order mark */
        {"a,b\n\n,\n", "a|b@1;|@3;"},
        {"a,b\n\"x, \"\"y\"\"\",z\n", "a|b@1;x, \"y\"|z@2;"},
        {"a,b\n\"two\nlines\",z\n1,2\n", "a|b@1;two\nlines|z@2;1|2@4;"},
        {"a,b\nx,\"never closed\n1,2\n3,4", "a|b@1;!@2;1|2@3;3|4@4;"},
        {"a,b\nx,\"closed\"early\n1,\"2\"\n", "a|b@1;!@2;1|2@3;"},
        {"a,b\nx,\"open\ny,\"whole\"\nz,3\n", "a|b@1;!@2;y|whole@3;z|3@4;"},
        {"a,b\n5\" disk,x\"y\"\n", "a|b@1;5\" disk|x\"y\"@2;"},
        {"a,b\n\"\",\"\"\n", "a|b@1;|@2;"},
        {"a,b\n\"\"\"\",\"", "a|b@1;!@2;"},
        {"a\tb\n\"open\tx, y\n\"q\tr\"\tz\n", "a|b@1;\"open|x, y@2;q\tr|z@3;"},
        {"a;b\n1,5;2\n", "a|b@1;1,5|2@2;"},
        {"a,b\nx\ry,z\n", "a|b@1;x\ry|z@2;"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ok(csv_is(cases[i].text, strlen(cases[i].text), cases[i].want), "CSV %zu", i);
    ok(csv_is("a,b\nx\0y,z\n1,2", 13, "a|b@1;!@2;1|2@3;"), "a NUL in a row");
}

/* Bytes that mean something to the parser, at random, in buffers of exact size. */
static void noise(void)
{
    char bytes[64];
    uint32_t state = 7;
    size_t rows = 0;
    for (int round = 0; round < 20000; round++) {
        size_t size = (state >> 9) % sizeof bytes;
        for (size_t i = 0; i < size; i++) {
            state = state * 1664525 + 1013904223;
            bytes[i] = "a,\"\n\r\t;\0b\"\",\"\n"[(state >> 20) % 15];
        }
        char *exact = malloc(size + !size);
        memcpy(exact, bytes, size);
        dt_csv parser;
        dt_csv_start(&parser, exact, size);
        while (dt_csv_next(&parser, NULL))
            rows++;
        dt_csv_end(&parser);
        free(exact);
        state++;
    }
    ok(rows > 20000, "noise is read to its end (%zu rows)", rows);
}

int main(void)
{
    tables();
    noise();
    return done();
}
