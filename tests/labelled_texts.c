/* Tables of texts with classes: CSV, TSV and JSONL, and what is wrong with them, by file and line. */
#include "data/labelled_texts.h"

#include "tests/tap.h"

/* Three rows: "one" b, "two, and \"more\"" a, "three" b. */
static void reads(const char *name, const char *text, const char *what)
{
    dt_error error = {""};
    dt_labelled_texts t;
    bool good = dt_labelled_texts_load(&t, put_text(name, text), &error);
    good = ok(good && t.count == 3 && t.class_count == 2, "%s: three texts of two classes %s", what, error.message) &&
           ok(!strcmp(t.texts[0], "one") && !strcmp(t.texts[1], "two, and \"more\"") && !strcmp(t.texts[2], "three"),
              "%s: the texts", what) &&
           ok(!strcmp(t.classes[0], "a") && !strcmp(t.classes[1], "b"), "%s: classes sorted by name", what) &&
           ok(t.labels[0] == 1 && t.labels[1] == 0 && t.labels[2] == 1, "%s: and their numbers", what);
    dt_labelled_texts_free(&t);
    ok(!t.texts && !t.classes && !t.count && !t.class_count, "%s: freed", what);
    dt_labelled_texts_free(&t);
}

/* `message` is what follows the file's path. */
static void refused_bytes(const char *name, const char *text, size_t size, const char *message, const char *what)
{
    dt_error error = {""};
    dt_labelled_texts t;
    const char *path = put(name, text, size);
    bool good = dt_labelled_texts_load(&t, path, &error);
    size_t length = strlen(path);
    if (!ok(!good && !strncmp(error.message, path, length) && !strncmp(error.message + length, message, strlen(message)) &&
                !strchr(error.message, '\n'),
            "%s: FILE%s", what, message))
        printf("# got: %s\n", error.message);
    dt_labelled_texts_free(&t);
}

static void refused(const char *name, const char *text, const char *message, const char *what)
{
    refused_bytes(name, text, strlen(text), message, what);
}

static void wrong(void)
{
    refused("a.csv", "", " is empty", "an empty file");
    refused("a.csv", "text,label\n", " has no rows", "a header alone");
    refused("a.jsonl", "", " has no rows", "an empty JSONL file");
    refused("a.jsonl", "\n  \n\n", " has no rows", "blank lines alone");
    refused("a.csv", "words,label\none,b\n", ": no column of texts, such as 'text', is in its first line", "no texts");
    refused("a.csv", "text,kind of\none,b\n", ": no column of classes, such as 'label', is in its first line", "no classes");
    refused("a.csv", "text,label\none,b\ntwo\n", ":3: there is no class", "a short row");
    refused("a.csv", "text,label\none,b\n\n\ntwo,\n", ":5: there is no class", "an empty class after blank lines");
    refused("a.csv", "label,text\nb,one\na,\n", ":3: ", "an empty text");
    refused("a.csv", "text,label\n\"one\ntwo\",b\nthree,  \n", ":4: there is no class", "a blank class after a field of two lines");
    refused("a.csv", "text,label\none,b\n\"two,a\n", ":3: the quote that opens field 1 is not closed", "an open quote");
    refused("a.csv", "text,label\none,b\nt\xff,a\n", ":3: ", "a text that is not UTF-8");
    refused("a.csv", "text,label\none,b\nt,\xc0\xaf\n", ":3: ", "a class that is not UTF-8");
    refused_bytes("a.csv", "text,label\none,b\nt\0o,a\n", 23, ":3: field 1 holds a NUL byte", "a NUL");
    refused("a.jsonl", "{\"text\": \"one\", \"label\": \"b\"}\n[1]\n", ":2: expected a JSON object: it is none", "a list");
    refused("a.jsonl", "{\"text\": \"one\", \"label\": \"b\"}\n\n{\"text\": \n", ":3: expected a JSON object: ", "no JSON");
    refused("a.jsonl", "{\"text\": \"one\"}\n", ":1: there is no class", "JSONL without a class");
    refused("a.jsonl", "{\"label\": \"one\"}\n", ":1: there is no text", "JSONL without a text");
    refused("a.jsonl", "{\"text\": 3, \"label\": \"one\"}\n", ":1: there is no text", "a text that is a number");
    refused("a.jsonl", "{\"text\": \"one\", \"label\": {}}\n", ":1: ", "a class that is an object");
    refused("a.jsonl", "{\"text\": \"one\", \"label\": 1.5}\n", ":1: ", "a class that is a fraction");

    dt_error error = {""};
    dt_labelled_texts t;
    ok(!dt_labelled_texts_load(&t, "no/such.csv", &error) && strstr(error.message, "no/such.csv"), "no file: %s", error.message);
    dt_labelled_texts_free(&t);
}

int main(void)
{
    reads("t.csv", "text,label\none,b\n\"two, and \"\"more\"\"\",a\nthree,b\n", "CSV");
    reads("t.csv", "\xef\xbb\xbfid,Label,Caption\r\n1, b ,  one \r\n2,a,\"two, and \"\"more\"\"\"\r\n3,b,three", "CSV of another make");
    reads("t.csv", "class;text\nb;one\na;two, and \"more\"\nb;three\n", "semicolons");
    reads("t.tsv", "caption\tcategory\none\tb\n\ntwo, and \"more\"\ta\nthree\tb\n", "TSV");
    reads("t.JSONL", "{\"text\": \"one\", \"label\": \"b\"}\n\n {\"class\": \"a\", \"caption\": \"two, and \\\"more\\\"\"}\r\n"
                     "{\"text\": \"three\", \"label\": \" b\", \"id\": 3}", "JSONL");
    reads("t.ndjson", "{\"text\":\"one\",\"label\":\"b\"}\n{\"text\":\"two, and \\\"more\\\"\",\"label\":\"a\"}\n"
                      "{\"text\":\" three \",\"label\":\"b\"}\n", "NDJSON");

    dt_error error = {""};
    dt_labelled_texts t;
    const char numbers[] = "{\"text\": \"x\", \"label\": 10}\n{\"text\": \"\xc3\xa4\", \"label\": 2}\n{\"text\": \"z\", \"label\": \"2\"}\n";
    bool good = dt_labelled_texts_load(&t, put_text("n.jsonl", numbers), &error);
    ok(good && t.class_count == 2 && !strcmp(t.classes[0], "10") && t.labels[0] == 0 && t.labels[1] == 1 && t.labels[2] == 1,
       "numbers are names of classes, in the order of bytes %s", error.message);
    ok(good && !strcmp(t.texts[1], "\xc3\xa4"), "UTF-8 stays");
    dt_labelled_texts_free(&t);
    wrong();

    static const char *const tables[] = {"a.csv", "b/c.TSV", "x.jsonl", "x.y.ndjson"}, *const others[] = {"a", "csv", "a.csv/b", "a.json", ""};
    for (int i = 0; i < 4; i++)
        ok(dt_is_text_table(tables[i]), "'%s' is named as a table of texts", tables[i]);
    for (int i = 0; i < 5; i++)
        ok(!dt_is_text_table(others[i]), "'%s' is not", others[i]);
    return done();
}
