/* PyTorch's files: those that it wrote (tests/golden/torch/make.py), and archives that mean harm. */
#include "data/torch_file.h"

#include "data/file.h"
#include "data/tensor_file.h"
#include "tests/make_zip.h"
#include "tests/tap.h"

static dt_error error;

/* ---- files of torch ---- */

static dt_tensor_file *open_golden(const char *name)
{
    char path[100];
    snprintf(path, sizeof path, "tests/golden/torch/%s", name);
    dt_tensor_file *file = dt_tensor_file_open(path, &error);
    ok(file != NULL, "%s opens %s", name, file ? "" : error.message);
    return file;
}

static const dt_st_tensor *find(const dt_tensor_file *file, const char *name)
{
    for (size_t i = 0; i < dt_tensor_file_count(file); i++)
        if (!strcmp(dt_tensor_file_at(file, i)->name, name))
            return dt_tensor_file_at(file, i);
    return NULL;
}

/* Type, shape and numbers of one tensor. */
static void holds(const dt_tensor_file *file, const char *name, dt_st_type type, int rank, const int64_t *shape,
                  const float *want)
{
    const dt_st_tensor *t = find(file, name);
    float got[64];
    int32_t whole[64];
    if (!ok(t && t->type == type && dt_st_has_shape(t, rank, shape, &error) && t->count <= 64, "%s is there", name))
        return;
    bool real = type <= DT_ST_BF16, read = real ? dt_st_to_float(t, got, &error) : dt_st_to_int32(t, whole, &error);
    for (size_t i = 0; !real && i < t->count; i++)
        got[i] = (float)whole[i];
    ok(read, "%s is read", name);
    if (t->count)
        near(name, got, want, t->count, 0);
}

static void state_dict(void)
{
    static const char *const types[] = {"f64", "f32", "f16", "bf16", "i64", "i32", "i16", "i8", "u8"};
    const float six[] = {0, 1, 2, 3, 4, 5}, truths[] = {0, 1, 1, 1, 1, 1}, halves[] = {1.5f, 1.5f}, seven[] = {7};
    const float turned[] = {0, 3, 1, 4, 2, 5};
    float many[24];
    dt_tensor_file *file = open_golden("state.pt");
    if (!file)
        return;
    for (int i = 0; i < 24; i++)
        many[i] = (float)i;
    ok(dt_tensor_file_count(file) == 16 && !dt_tensor_file_at(file, 16), "all tensors");
    ok(!strcmp(dt_tensor_file_at(file, 0)->name, "f64") && !strcmp(dt_tensor_file_at(file, 15)->name, "channels_last"),
       "in the order of the dictionary");
    for (int i = 0; i < 9; i++)
        holds(file, types[i], (dt_st_type)i, 2, (const int64_t[]){2, 3}, six);
    holds(file, "bool", DT_ST_BOOL, 2, (const int64_t[]){2, 3}, truths);
    holds(file, "row", DT_ST_F32, 1, (const int64_t[]){3}, six + 3);
    holds(file, "parameter", DT_ST_F32, 1, (const int64_t[]){2}, halves);
    holds(file, "scalar", DT_ST_I64, 0, NULL, seven);
    holds(file, "empty", DT_ST_F32, 2, (const int64_t[]){0, 3}, NULL);
    holds(file, "transposed", DT_ST_F32, 2, (const int64_t[]){3, 2}, turned);
    holds(file, "channels_last", DT_ST_F32, 4, (const int64_t[]){1, 2, 3, 4}, many);
    const dt_st_tensor *whole = find(file, "f32"), *row = find(file, "row");
    ok(whole && row && (const char *)row->data == (const char *)whole->data + 12, "a shared storage is not copied");
    dt_tensor_file_release(file, find(file, "transposed"));
    dt_tensor_file_release(file, whole);
    holds(file, "transposed", DT_ST_F32, 2, (const int64_t[]){3, 2}, turned);
    ok(!dt_tensor_file_meta(file, "format") && strstr(dt_tensor_file_path(file), "state.pt"), "path, and no metadata");
    dt_tensor_file_close(file);
}

static void others(void)
{
    const float six[] = {0, 1, 2, 3, 4, 5}, one[] = {1}, pair[] = {3, 4}, two[] = {2}, length[] = {77};
    dt_tensor_file *file = open_golden("checkpoint.pt");
    if (file) {
        ok(dt_tensor_file_count(file) == 7, "the state dict alone, %zu tensors", dt_tensor_file_count(file));
        holds(file, "0.weight", DT_ST_F32, 2, (const int64_t[]){3, 2}, six);
        holds(file, "1.num_batches_tracked", DT_ST_I64, 0, NULL, one);
    }
    dt_tensor_file_close(file);
    if ((file = open_golden("script.pt"))) {
        ok(dt_tensor_file_count(file) == 5, "a TorchScript archive, %zu tensors", dt_tensor_file_count(file));
        holds(file, "visual.blocks.0.weight", DT_ST_F32, 2, (const int64_t[]){1, 2}, pair);
        holds(file, "logit_scale", DT_ST_F16, 0, NULL, two);
        holds(file, "context_length", DT_ST_I64, 0, NULL, length);
        ok(find(file, "visual.conv1.weight") != NULL, "names of modules in modules");
    }
    dt_tensor_file_close(file);
    if ((file = dt_tensor_file_open("tests/golden/image/gray.safetensors", &error)))
        ok(dt_tensor_file_count(file) == 3 && find(file, "crop"), "a safetensors file, through the same front");
    dt_tensor_file_close(file);
}

/* ---- pickles by hand ---- */

/* A pickle and its size, for text with NULs in it. */
#define P(text) text, sizeof(text) - 1

#define STORAGE(key, elements) "(U\7storagectorch\nFloatStorage\n" key "U\3cpuK" elements "tQ"
#define TENSOR(storage, offset, shape, strides)                                                                              \
    "ctorch._utils\n_rebuild_tensor_v2\n(" storage "K" offset shape strides "\x89" "ccollections\nOrderedDict\n)RtR"
#define GOOD TENSOR(STORAGE("U\1" "0", "\6"), "\0", "K\2K\3\x86", "K\3K\1\x86")

static dt_torch_file *wrap(const char *pickle, size_t size, bool large)
{
    static const float numbers[6] = {0, 1, 2, 3, 4, 5};
    zip_maker z = {.large = large};
    zip_add(&z, "a/data.pkl", pickle, size);
    zip_add(&z, "a/data/0", numbers, sizeof numbers);
    zip_finish(&z);
    uint8_t *bytes = malloc(z.size); /* of the exact size, so that a sanitizer sees what lies behind it */
    memcpy(bytes, z.bytes, z.size);
    dt_torch_file *file = dt_torch_parse(bytes, z.size, "x.pt", &error);
    zip_discard(&z);
    free(bytes);
    return file;
}

static void accepted(const char *what, const char *pickle, size_t size, bool large)
{
    dt_torch_file *file = wrap(pickle, size, large);
    size_t count = 0;
    ok(file && dt_torch_tensors(file, &count)->rank == 2 && count == 1, "%s %s", what, file ? "" : error.message);
    dt_torch_close(file);
}

static void refused(const char *pickle, size_t size, const char *message)
{
    dt_torch_file *file = wrap(pickle, size, false);
    bool good = !file && !strncmp(error.message, "x.pt: a/data.pkl", 16) && strstr(error.message, message);
    if (!ok(good, "%s", message))
        printf("# got: %s\n", file ? "a file" : error.message);
    dt_torch_close(file);
}

#define ONLY "; Duet reads tensors and plain values only"

static void programs(void)
{
    accepted("a dictionary of one tensor", P("\x80\2}U\1w" GOOD "s."), false);
    accepted("the same in a ZIP64 archive", P("\x80\2}U\1w" GOOD "s."), true);
    refused(P("\x80\2}U\1wcos\nsystem\nU\2lstRs."), "byte 6 (GLOBAL): asks for os.system" ONLY);
    refused(P("\x80\4}\x8c\1w\x8c\x0a" "__builtin_\x8c\4eval\x93."), "byte 24 (STACK_GLOBAL): asks for __builtin_.eval" ONLY);
    refused(P("\x80\2}U\1wcsome.module\nThing\n)\x81s."), "asks for some.module.Thing" ONLY);
    refused(P("\x80\2ctorch.storage\n_load_from_bytes\n."), "asks for torch.storage._load_from_bytes" ONLY);
    refused(P("\x80\2cnumpy\nndarray\n."), "asks for numpy.ndarray" ONLY);
    refused(P("\x80\2(U\2idios\nsystem\n."), "byte 7 (INST): Duet reads tensors and plain values only");
    refused(P("\x80\2}C\1x."), "byte 3 (SHORT_BINBYTES)");
    refused(P("\x80\2}\xff."), "byte 3 (no opcode)");
    refused(P("\x80\6}."), "(PROTO): protocol 6, expected 2 to 5");
    refused(P("}."), "is not a pickle of protocol 2 to 5");
    refused(P(""), "is not a pickle");
    refused(P("\x80\2}"), "is cut short: it has no STOP");
    refused(P("\x80\2}X\xff\xff\xff\x7fw"), "a text of 2147483647 bytes runs past the end");
    refused(P("\x80\2}\x8d\xff\xff\xff\xff\xff\xff\xff\xffw"), "a text of 18446744073709551615 bytes");
    refused(P("\x80\2J\1\2"), "(BININT): the pickle is cut short");
    refused(P("\x80\2\x8a\x09" "123456789."), "an integer of 9 bytes does not fit");
    refused(P("\x80\4\x95\xff\0\0\0\0\0\0\0}."), "a frame of 255 bytes runs past the end");
    refused(P("\x80\2cos"), "the pickle is cut short");
    refused(P("\x80\2\x86."), "(TUPLE2): needs 2 values, the stack has 0");
    refused(P("\x80\2}(\x86."), "needs 2 values, the stack has 0");
    refused(P("\x80\2t."), "there is no mark");
    refused(P("\x80\2(."), "0 values and 1 marks are left");
    refused(P("\x80\2NN."), "2 values and 0 marks are left");
    refused(P("\x80\2h\5."), "there is no memo 5");
    refused(P("\x80\2}r\xff\xff\xff\xff."), "memo 4294967295 is out of range");
    refused(P("\x80\2NK\1a."), "what it appends to is not a list");
    refused(P("\x80\2]K\1K\1s."), "what it sets items of is not a dictionary");
    refused(P("\x80\2}(K\1u."), "a key has no value");
    refused(P("\x80\2NN\x93."), "the name of a class is not a text");
    refused(P("\x80\2N)R."), "expected a class and a tuple");
    refused(P("\x80\2}}b."), "what it gives a state to is not an object");
}

static void dictionaries(void)
{
    refused(P("\x80\2]."), "expected a dictionary of tensors");
    refused(P("\x80\2(t."), "expected a dictionary of tensors");
    refused(P("\x80\2}U\1wK\1s."), "there are no tensors in it");
    refused(P("\x80\2}K\1" GOOD "s."), "has a key that is not a text");
    refused(P("\x80\2}U\2\xc3(" GOOD "s."), "has a key that is not UTF-8");
    refused(P("\x80\2}U\2w\0" GOOD "s."), "has a NUL in it");
    refused(P("\x80\2}U\1w" GOOD "sU\1w" GOOD "s."), "two tensors are called \"w\"");
    refused(P("\x80\2}q\0U\4selfh\0s."), "dictionary \"self\" contains itself");
    refused(P("\x80\2}q\0U\5modelh\0s."), "dictionary \"model\" contains itself");

    /* Each dictionary holds the one before twice: 2^40 ways to the innermost. All are popped, and kept by the memo. */
    char bomb[1000] = "\x80\2}q\0000";
    size_t size = 6;
    for (char i = 1; i <= 40; i++, size += 16)
        memcpy(bomb + size, (char[]){'}', 'q', i, 'U', 1, 'a', 'h', i - 1, 's', 'U', 1, 'b', 'h', i - 1, 's', '0'}, 16);
    memcpy(bomb + size, "h\50.", 3);
    refused(bomb, size + 3, "the same dictionaries are mentioned too many times");

    char deep[2000] = "\x80\2";
    size = 2;
    for (int i = 0; i < 100; i++)
        memcpy(deep + size, "}U\1d", 4), size += 4;
    deep[size++] = '}';
    memset(deep + size, 's', 100), size += 100;
    deep[size++] = '.';
    refused(deep, size, "is nested too deep");

    char *marks = malloc(10000000);
    memset(marks, '(', 10000000);
    marks[0] = (char)0x80, marks[1] = 2;
    refused(marks, 10000000, "values are nested more than 1000 deep");
    memset(marks + 2, 'N', 9999998);
    refused(marks, 10000000, "there are more than 8388608 values");
    free(marks);
}

static void tensors(void)
{
    refused(P("\x80\2}U\1w" TENSOR(STORAGE("U\1" "1", "\6"), "\0", "K\2K\3\x86", "K\3K\1\x86") "s."),
            "tensor \"w\": there is no a/data/1 in the archive");
    refused(P("\x80\2}U\1w" TENSOR(STORAGE("U\1" "0", "\7"), "\0", "K\2K\3\x86", "K\3K\1\x86") "s."),
            "tensor \"w\": a/data/0 has 24 bytes, too few for 7 elements of F32");
    refused(P("\x80\2}U\1w" TENSOR(STORAGE("U\1" "0", "\6"), "\1", "K\2K\3\x86", "K\3K\1\x86") "s."),
            "its 6 elements from 1 on run past its storage of 6");
    refused(P("\x80\2}U\1w" TENSOR(STORAGE("U\1" "0", "\6"), "\0", "K\2K\3\x86", "K\0K\1\x86") "s."),
            "its elements do not lie side by side");
    refused(P("\x80\2}U\1w" TENSOR(STORAGE("U\1" "0", "\6"), "\0", "K\2K\2\x86", "K\3K\1\x86") "s."),
            "its elements do not lie side by side");
    refused(P("\x80\2}U\1w" TENSOR(STORAGE("U\1" "0", "\6"), "\0", "K\2\x85", "K\3K\1\x86") "s."),
            "its shape or strides are not counts");
    refused(P("\x80\2}U\1w" TENSOR(STORAGE("U\1" "0", "\6"), "\0", "J\xff\xff\xff\xff\x85", "K\1\x85") "s."),
            "its shape or strides are not counts");
    refused(P("\x80\2}U\1w" TENSOR(STORAGE("U\1" "0", "\6"), "\0", "\x8a\x08\0\0\0\0\0\0\0\x40K\4\x86", "K\1K\1\x86") "s."),
            "its shape is too large");
    refused(P("\x80\2}U\1w" TENSOR(STORAGE("U\1" "0", "\6"), "\0", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t", ")") "s."),
            "has 9 dimensions, expected at most 8");
    refused(P("\x80\2}U\1w" TENSOR("N", "\0", "K\2K\3\x86", "K\3K\1\x86") "s."), "its storage is not one of torch's");
    refused(P("\x80\2}U\1w" TENSOR("K\1Q", "\0", "K\2K\3\x86", "K\3K\1\x86") "s."), "its storage is not one of torch's");
    refused(P("\x80\2}U\1wctorch._utils\n_rebuild_tensor_v2\n)Rs."), "its description is not one of storage");
    refused(P("\x80\2}U\1wctorch\nComplexFloatStorage\ns."), "asks for torch.ComplexFloatStorage");
    accepted("a stride that is never taken may be anything",
             P("\x80\2}U\1w" TENSOR(STORAGE("U\1" "0", "\6"), "\0", "K\1K\6\x86",
                                       "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fK\1\x86") "s."),
             false);
    refused(P("\x80\2}U\1w" TENSOR(STORAGE("U\1" "0", "\6"), "\0", "K\2K\3\x86", "K\1K\2\x86") "q\1sU\1vh\1sU\1uh\1s"
              "U\1th\1sU\1sh\1sU\1rh\1sU\1ph\1sU\1oh\1sU\1nh\1sU\1mh\1sU\1lh\1sU\1kh\1sU\1jh\1sU\1ih\1sU\1hh\1sU\1gh\1s"
              "U\1fh\1sU\1eh\1sU\1dh\1sU\1ch\1sU\1bh\1sU\1ah\1sU\1zh\1sU\1yh\1sU\1xh\1sU\1Ah\1sU\1Bh\1sU\1Ch\1s."),
            "and so do those of too many others");
}

/* ---- archives ---- */

static void archive_refused(zip_maker *z, const char *message)
{
    uint8_t *bytes = malloc(z->size + 1);
    memcpy(bytes, z->bytes, z->size);
    dt_torch_file *file = dt_torch_parse(bytes, z->size, "x.pt", &error);
    if (!ok(!file && strstr(error.message, message), "%s", message))
        printf("# got: %s\n", file ? "a file" : error.message);
    dt_torch_close(file);
    free(bytes);
    zip_discard(z);
}

static const char good_pickle[] = "\x80\2}U\1w" GOOD "s.";

static zip_maker good_zip(bool large)
{
    zip_maker z = {.large = large};
    zip_add(&z, "a/data.pkl", P(good_pickle));
    zip_add(&z, "a/data/0", (float[6]){0}, 24);
    zip_finish(&z);
    return z;
}

static void archives(void)
{
    zip_maker z = good_zip(false);
    z.size -= 10;
    archive_refused(&z, "cut short: the record that ends a zip is not there");
    z = good_zip(false);
    z.bytes[z.size - 22 + 16] ^= 0x80; /* where the directory begins */
    archive_refused(&z, "the archive is damaged: no entry of its directory");
    z = good_zip(false);
    z.bytes[z.size - 22 + 19] = 0x7f;
    archive_refused(&z, "runs past byte");
    z = good_zip(false);
    z.bytes[z.size - 22 + 11] = 0xff;
    archive_refused(&z, "cannot hold 65282 entries");
    z = good_zip(false);
    z.bytes[z.size - 22 + 10] = 1;
    archive_refused(&z, "holds more than the 1 entries that it states");
    z = good_zip(false);
    z.bytes[z.central + 46 + 10 + 42] = 0, z.bytes[z.central + 46 + 10 + 43] = 0; /* the place of the second */
    archive_refused(&z, "entry a/data/0: the entry at byte 0 has another name");
    z = good_zip(false);
    z.bytes[z.central + 20 + 3] = z.bytes[z.central + 24 + 3] = 0x7f; /* the size of the first */
    archive_refused(&z, "entry a/data.pkl: its");
    z = good_zip(false);
    z.bytes[z.central + 20] += 10, z.bytes[z.central + 24] += 10;
    archive_refused(&z, "entries a/data.pkl and a/data/0 overlap");
    z = good_zip(false);
    z.bytes[z.central + 24] += 10;
    archive_refused(&z, "entry a/data.pkl: is stored, yet");
    z = good_zip(false);
    z.bytes[z.central + 10] = 8;
    archive_refused(&z, "a/data.pkl is packed or encrypted");
    z = good_zip(false);
    z.bytes[z.central + 46 + 10 + 10] = 8;
    archive_refused(&z, "tensor \"w\": a/data/0 is packed or encrypted");
    z = good_zip(true);
    z.bytes[z.central + 46 + 10] = 2; /* the kind of the extra field */
    archive_refused(&z, "its ZIP64 field is damaged");
    z = good_zip(true);
    z.bytes[z.central + 46 + 10 + 4 + 16 + 7] = 0xff; /* the place of the first, in 64 bits */
    archive_refused(&z, "no entry is at byte");
    z = good_zip(true);
    z.bytes[z.size - 22 - 20 + 15] = 0xff;
    archive_refused(&z, "no ZIP64 record is at byte");

    z = (zip_maker){0};
    zip_add(&z, "a/b", "", 0);
    zip_add(&z, "a/b", "", 0);
    zip_finish(&z);
    archive_refused(&z, "two entries are called a/b");
    z = (zip_maker){0};
    zip_finish(&z);
    archive_refused(&z, "a zip archive without a data.pkl");
    z = (zip_maker){0};
    zip_add(&z, "a/data.pkl", P(good_pickle));
    zip_add(&z, "a/byteorder", "big", 3);
    zip_finish(&z);
    archive_refused(&z, "a/byteorder is not \"little\"");

    /* However much of it is there, or whichever byte is another, it is read or refused in one line. */
    z = good_zip(true);
    for (size_t n = 0; n < z.size; n++) {
        uint8_t *part = malloc(n + 1);
        memcpy(part, z.bytes, n);
        dt_torch_close(dt_torch_parse(part, n, "x.pt", &error));
        free(part);
    }
    for (size_t i = 0; i < 2 * z.size; i++) {
        z.bytes[i / 2] ^= i & 1 ? 0xff : 0x01;
        dt_torch_close(dt_torch_parse(z.bytes, z.size, "x.pt", &error));
        z.bytes[i / 2] ^= i & 1 ? 0xff : 0x01;
    }
    dt_torch_file *file = dt_torch_parse(z.bytes, z.size, "x.pt", &error);
    ok(file != NULL, "prefixes and flipped bytes");
    dt_torch_close(file);
    zip_discard(&z);
}

/* ---- what is not such a file ---- */

static void not_opened(const char *path, const char *message)
{
    dt_tensor_file *file = dt_tensor_file_open(path, &error);
    if (!ok(!file && !strncmp(error.message, path, strlen(path)) && strstr(error.message, message), "%s", message))
        printf("# got: %s\n", file ? "a file" : error.message);
    dt_tensor_file_close(file);
}

static void kinds(void)
{
    const char *path = in("x");
    not_opened("tests/golden/torch/legacy.pt", "PyTorch's format of before version 1.6");
    not_opened("tests/golden/torch/system.pt", "system" ONLY);
    ok(!dt_tensor_file_open("tests/golden/absent.pt", &error) && strstr(error.message, "No such file"), "no file");
    dt_file_write(path, P("\x80\2}."), NULL);
    not_opened(path, "a bare pickle");
    dt_file_write(path, P("version https://git-lfs.github.com/spec/v1\n"), NULL);
    not_opened(path, "a pointer of Git LFS");
    dt_file_write(path, P("Hello, this is text"), NULL);
    not_opened(path, "not a safetensors file");
    dt_file_write(path, P(""), NULL);
    not_opened(path, "0 bytes are too few");
}

int main(void)
{
    state_dict();
    others();
    programs();
    dictionaries();
    tensors();
    archives();
    kinds();
    return done();
}
