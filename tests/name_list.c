/* Lists of class names, and where a text is cut. */
#include "eval/name_list.h"

#include "data/utf8.h"
#include "tests/tap.h"

static dt_error error;

static void numbers(void)
{
    static const char *const names[] = {"cat", "dog", "", "café", "dog"};
    bool twice = false;
    json_t *index = dt_name_index(names, 5, &twice, &error);
    ok(index && twice, "a name that stands there twice");
    ok(dt_name_number(index, "cat") == 0 && dt_name_number(index, "dog") == 1 && dt_name_number(index, "") == 2 &&
           dt_name_number(index, "café") == 3,
       "numbers, of equal names the first");
    ok(dt_name_number(index, "do") == -1 && dt_name_number(index, "caf\xe9") == -1, "a name that is not there");
    json_decref(index);
    index = dt_name_index(names, 4, &twice, &error);
    ok(index && !twice, "each once");
    json_decref(index);
    index = dt_name_index(NULL, 0, NULL, &error);
    ok(index && dt_name_number(index, "cat") == -1, "no names");
    json_decref(index);
}

static void lists(void)
{
    static const char *const names[] = {"a \"cat\"", "café"}, *const bad[] = {"cat", "caf\xe9", "\xff"};
    char *text = dt_names_text(names, 2, &error), *none = dt_names_text(NULL, 0, &error);
    ok(text && !strcmp(text, "[\"a \\\"cat\\\"\", \"café\"]") && none && !strcmp(none, "[]"), "as text");
    free(text);
    free(none);
    ok(!dt_names_text(bad, 3, &error) && strstr(error.message, "the name of class 1, 'caf\\xe9', is not UTF-8"),
       "a name that is not UTF-8 is shown");
    error.message[0] = 0;
    ok(!dt_name_index(bad, 3, NULL, &error) && strstr(error.message, "the name of class 1, 'caf\\xe9', is not UTF-8"),
       "in both");
}

static void cuts(void)
{
    const char *text = "aé€😀b"; /* of 1, 2, 3, 4 and 1 bytes */
    static const size_t want[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};
    size_t right = 0;
    for (size_t most = 0; most < 13; most++)
        right += dt_utf8_cut(text, most) == want[most];
    ok(right == 13 && dt_utf8_cut(text, SIZE_MAX) == 11 && dt_utf8_cut("", 0) == 0, "cut at whole characters");
}

int main(void)
{
    numbers();
    lists();
    cuts();
    return done();
}
