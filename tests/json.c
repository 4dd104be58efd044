#include "data/json.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "data/file.h"
#include "tests/tap.h"

static dt_error error;

static void told(bool failed, const char *message)
{
    if (!ok(failed && strcmp(error.message, message) == 0, "%s", message))
        printf("# got: %s\n", error.message);
    error.message[0] = 0;
}

static json_t *parse(const char *text)
{
    return dt_json_parse(text, strlen(text), "c.json", &error);
}

static void loading(const char *directory)
{
    told(!parse("{\n  \"a\": x\n}"), "c.json:2:8: invalid token near 'x'");
    told(!parse("{\"a\": 1, \"a\": 2}"), "c.json:1:12: duplicate object key near '\"a\"'");
    ok(!parse("") && says(error.message, "'[' or '{' expected near end of file"), "empty text is refused");
    ok(!parse("{\"a\": \"\\u0000\"}") && says(error.message, "c.json:1:14: \\u0000 is not allowed"), "NUL in a string is refused");
    ok(!parse("{\"a\": \"\xff\"}") && says(error.message, "c.json:1:7: unable to decode byte 0xff"), "bad UTF-8 is refused");
    ok(!parse("{} x") && says(error.message, "c.json:1:4: end of file expected"), "text after the value is refused");
    char deep[8192];
    memset(deep, '[', sizeof deep);
    ok(!dt_json_parse(deep, sizeof deep, "deep", &error) && says(error.message, "maximum parsing depth"), "nesting has a limit: %s", error.message);

    char *path = dt_join(directory, "none.json"), message[700];
    snprintf(message, sizeof message, "cannot open %s: No such file or directory", path);
    told(!dt_json_load(path, &error), message);
    told(!dt_json_write("/proc/none.json", json_null(), &error),
         "cannot write /proc/none.json: No such file or directory");
    free(path);

    path = dt_join(directory, "a.json");
    json_t *value =
        parse("{\"z\": 0.1, \"a\": [1, true, null], \"pi\": 3.1415926535897931, \"s\": \"\xc3\xa9\"}");
    ok(dt_json_write(path, value, &error), "writes %s", error.message);
    json_t *back = dt_json_load(path, &error);
    ok(json_equal(value, back), "reads back what it wrote");
    json_decref(back);
    char *text = dt_json_text(value, 0, &error);
    ok(text &&
           !strcmp(text, "{\"z\": 0.10000000000000001, \"a\": [1, true, null], \"pi\": 3.1415926535897931, "
                         "\"s\": \"\xc3\xa9\"}"),
       "keeps the order; 17 digits where 15 lose");
    free(text);
    json_object_del(value, "pi");
    text = dt_json_text(value, 0, &error);
    ok(text && !strncmp(text, "{\"z\": 0.1,", 10), "15 digits where they do");
    free(text);
    json_decref(value);
    json_t *huge = json_real(1.7976931348623157e308);
    text = dt_json_text(huge, 0, &error);
    ok(text && !strcmp(text, "1.7976931348623157e308"),
       "the largest double is written so that it reads back");
    free(text);
    json_decref(huge);
    free(path);
}

static struct {
    int width;
    int64_t seed;
    size_t bytes;
    float rate;
    double beta;
    bool fused;
    const char *name;
    const json_t *inner, *list;
} c;

static const dt_json_field fields[] = {
    {"width", DT_JSON_INT, &c.width, .required = true, .least = 1, .most = 4096},
    {"seed", DT_JSON_INT64, .target = &c.seed},
    {"bytes", DT_JSON_SIZE, .target = &c.bytes},
    {"rate", DT_JSON_FLOAT, &c.rate, .least = 0, .most = 1},
    {"beta", DT_JSON_DOUBLE, .target = &c.beta},
    {"fused", DT_JSON_BOOL, .target = &c.fused},
    {"name", DT_JSON_STRING, &c.name, .choices = "vit|rn"},
    {"inner", DT_JSON_OBJECT, .target = &c.inner},
    {"list", DT_JSON_ARRAY, .target = &c.list},
    {"checked", DT_JSON_INT, .target = NULL},
};

static bool read_text(const char *text, bool strict)
{
    json_t *object = parse(text);
    size_t count = sizeof fields / sizeof fields[0];
    bool good = strict ? dt_json_read(object, "c.json", "model.vision", fields, count, &error)
                       : dt_json_read_known(object, "c.json", "", fields, count, &error);
    if (!good)
        json_decref(object);
    return good; /* a good object stays: its strings are borrowed, and the test is short */
}

static void reading(void)
{
    json_t *object =
        parse("{\"width\": 7, \"seed\": 9007199254740993, \"bytes\": 5, \"rate\": 1, \"beta\": 0.5,"
              "\"fused\": true, \"name\": \"rn\", \"inner\": {}, \"list\": [], \"checked\": null}");
    c.rate = -1;
    ok(dt_json_read(object, "c.json", "", fields, sizeof fields / sizeof fields[0], &error), "reads: %s",
       error.message);
    ok(c.width == 7 && c.seed == 9007199254740993 && c.bytes == 5 && c.rate == 1 && c.beta == .5, "numbers");
    ok(c.fused && !strcmp(c.name, "rn") && json_is_object(c.inner) && json_is_array(c.list), "the others");
    json_decref(object);

    told(!read_text("{\"width\": \"x\"}", true),
         "c.json: model.vision.width: expected an integer, found a string");
    told(!read_text("{\"width\": \"x\"}", false), "c.json: width: expected an integer, found a string");
    told(!read_text("{\"width\": 1.0}", true),
         "c.json: model.vision.width: expected an integer, found a number with a point or an exponent; write 1");
    told(!read_text("{\"width\": 1e3}", true),
         "c.json: model.vision.width: expected an integer, found a number with a point or an exponent; write 1000");
    told(!read_text("{\"width\": 1.5}", true),
         "c.json: model.vision.width: expected an integer, found a number with a fraction");
    told(!read_text("{\"width\": 1e30}", true), "c.json: model.vision.width: 1e+30 does not fit into an integer");
    told(!read_text("{\"width\": 0}", true), "c.json: model.vision.width: 0 is out of range (1 to 4096)");
    told(!read_text("{}", true), "c.json: model.vision.width: required, but missing");
    told(!read_text("{\"width\": null}", true), "c.json: model.vision.width: required, found null");
    told(!read_text("{\"width\": 1, \"bytes\": -1}", true), "c.json: model.vision.bytes: -1 is negative");
    told(!read_text("{\"width\": 1, \"rate\": 1.5}", true),
         "c.json: model.vision.rate: 1.5 is out of range (0 to 1)");
    told(!read_text("{\"width\": 1, \"checked\": 3000000000}", true),
         "c.json: model.vision.checked: 3000000000 does not fit in 32 bits");
    told(!read_text("{\"width\": 1, \"fused\": 1}", true),
         "c.json: model.vision.fused: expected true or false, found an integer");
    told(!read_text("{\"width\": 1, \"name\": \"vit|rn\"}", true),
         "c.json: model.vision.name: expected one of vit|rn, found \"vit|rn\"");
    told(!read_text("{\"width\": 1, \"inner\": []}", true),
         "c.json: model.vision.inner: expected an object, found an array");
    told(!read_text("[]", true), "c.json: model.vision: expected an object, found an array");
    told(!read_text("{\"widht\": 1}", true),
         "c.json: model.vision.widht: unknown key; did you mean \"width\"?");
    told(!read_text("{\"width\": 1, \"q\": 1}", true), "c.json: model.vision.q: unknown key");
    object = parse("{\"width\": 3, \"q\": 1}");
    ok(dt_json_read_known(object, "c.json", "", fields, 1, &error) && c.width == 3,
       "unknown keys may be allowed");
    json_decref(object);
}

static bool set_is(const char *assignment, const char *want)
{
    json_t *object = parse("{\"a\": {\"b\": 1, \"name\": \"x\"}, \"n\": 2}");
    bool good = dt_json_set(object, NULL, assignment, &error);
    char *text = good ? dt_json_text(object, 0, &error) : NULL;
    bool same = text && strcmp(text, want) == 0;
    if (text && !same)
        printf("# got: %s\n", text);
    free(text);
    json_decref(object);
    return good && same;
}

static void setting(void)
{
    ok(set_is("a.b=[1, 2]", "{\"a\": {\"b\": [1, 2], \"name\": \"x\"}, \"n\": 2}"),
       "sets JSON below an object");
    ok(set_is("n=vit", "{\"a\": {\"b\": 1, \"name\": \"x\"}, \"n\": \"vit\"}"), "sets text");
    ok(set_is("a.name=12", "{\"a\": {\"b\": 1, \"name\": \"12\"}, \"n\": 2}"), "a string stays a string");
    ok(set_is("a.name=\"q\"", "{\"a\": {\"b\": 1, \"name\": \"q\"}, \"n\": 2}"),
       "quoted text loses its quotes");
    ok(set_is("a.name=", "{\"a\": {\"b\": 1, \"name\": \"\"}, \"n\": 2}"), "empty text");
    ok(set_is("a.name=x=y", "{\"a\": {\"b\": 1, \"name\": \"x=y\"}, \"n\": 2}"), "the first = divides");
    ok(set_is("n=1e6", "{\"a\": {\"b\": 1, \"name\": \"x\"}, \"n\": 1000000}"), "a million");
    ok(set_is("n=-1.5E1", "{\"a\": {\"b\": 1, \"name\": \"x\"}, \"n\": -15}"), "an integer with an exponent is one");
    ok(set_is("n=5e-1", "{\"a\": {\"b\": 1, \"name\": \"x\"}, \"n\": 0.5}"), "a fraction with an exponent is none");
    ok(set_is("n=4.0", "{\"a\": {\"b\": 1, \"name\": \"x\"}, \"n\": 4.0}"), "what has a point stays a real number");
    ok(set_is("a.name=1e6", "{\"a\": {\"b\": 1, \"name\": \"1e6\"}, \"n\": 2}"), "and text stays text");
    told(!set_is("n=99999999999999999999", ""),
         "--set: the number 99999999999999999999 is too large (a text that looks like one goes into quotes)");
    told(!set_is("n=1e999", ""), "--set: the number 1e999 is too large (a text that looks like one goes into quotes)");
    ok(set_is("n=\"99999999999999999999\"", "{\"a\": {\"b\": 1, \"name\": \"x\"}, \"n\": \"99999999999999999999\"}") &&
           set_is("a.name=99999999999999999999", "{\"a\": {\"b\": 1, \"name\": \"99999999999999999999\"}, \"n\": 2}") &&
           set_is("n=99999999999999999999a", "{\"a\": {\"b\": 1, \"name\": \"x\"}, \"n\": \"99999999999999999999a\"}"),
       "as text it is good, and so is text that begins so");
    told(!set_is("a.nam=1", ""), "--set a.nam=1: unknown key \"nam\"; did you mean \"name\"?");
    told(!set_is("zzz=1", ""), "--set zzz=1: unknown key \"zzz\"");
    told(!set_is("n.b=1", ""), "--set n.b=1: \"n\" is an integer and has no keys");
    told(!set_is("=1", ""), "--set =1: expected KEY=VALUE or KEY.KEY=VALUE");
    told(!set_is("n", ""), "--set n: expected KEY=VALUE or KEY.KEY=VALUE");
    told(!set_is("n=\xff", ""), "--set: the value '\xff' is not valid UTF-8");

    json_t *object = json_object(), *defaults = parse("{\"a\": {\"b\": {\"c\": 1}}}");
    ok(dt_json_set(object, defaults, "a.b.c=5", &error), "makes the objects that the defaults have");
    char *text = dt_json_text(object, 0, &error);
    ok(!strcmp(text, "{\"a\": {\"b\": {\"c\": 5}}}"), "and sets there: %s", text);
    free(text);
    json_decref(object);
    json_decref(defaults);
}

static void files(const char *directory)
{
    char *deep = dt_join(directory, "a/b//c"), *path = dt_join(deep, "f"), *link = dt_join(directory, "link");
    ok(dt_make_directories(deep, &error) && dt_is_directory(deep), "makes directories");
    ok(dt_make_directories(deep, &error), "twice");
    ok(dt_file_write(path, "old", 3, &error), "writes");
    ok(!dt_make_directories(path, &error) && strstr(error.message, "File exists"), "not over a file");

    dt_writer *writer = dt_writer_open(path, &error);
    dt_writer_printf(writer, "%s %d", "new", 5);
    dt_writer_abort(writer);
    dt_writer_abort(NULL);
    size_t size;
    char *text = dt_file_read(path, 3, &size, &error);
    ok(text && size == 3 && !strcmp(text, "old"), "abort leaves the old file");
    free(text);
    ok(symlink(path, link) == 0 && dt_file_write(link, "via link", 8, &error), "writes through a link");
    dt_map map;
    struct stat about;
    ok(dt_map_open(&map, path, &error) && map.size == 8 && !memcmp(map.data, "via link", 8), "to its target");
    ok(lstat(link, &about) == 0 && S_ISLNK(about.st_mode), "and the link stays");
    dt_map_close(&map);
    dt_map_close(&map);
    ok(!dt_file_read(path, 7, NULL, &error) && strstr(error.message, "larger than the limit of 7 bytes"),
       "limit");
    ok(dt_file_write(path, "", 0, &error) && dt_map_open(&map, path, &error) && map.size == 0 && map.data,
       "an empty file maps");
    dt_map_close(&map);
    ok(!dt_map_open(&map, directory, &error) && strstr(error.message, "is a directory"),
       "a directory does not");
    told(!dt_file_write("/dev/null", "x", 1, &error),
         "cannot write /dev/null: it exists and is not a regular file");
    if (access("/dev/full", W_OK) == 0) {
        char *full = dt_file_read("/dev/full", 100, NULL, &error); /* endless zeros */
        ok(!full && says(error.message, "larger than the limit of 100 bytes"), "an endless file stops at the limit");
    }
    free(deep);
    free(path);
    free(link);
}

int main(void)
{
    const char *directory = scratch();
    loading(directory);
    reading();
    setting();
    files(directory);
    return done();
}
