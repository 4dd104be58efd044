#include "data/safetensors.h"

#include <stdint.h>

#include "data/file.h"
#include "data/npy.h"
#include "tests/tap.h"

static dt_error error;
static const char *path;

/* Writes a file from a header and so many bytes of data, and says whether it opens. */
static bool opens(const char *header, size_t data_size)
{
    size_t length = strlen(header);
    uint8_t *bytes = calloc(1, 8 + length + data_size + 1);
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)((uint64_t)length >> 8 * i);
    memcpy(bytes + 8, header, length);
    dt_file_write(path, bytes, 8 + length + data_size, &error);
    free(bytes);
    dt_safetensors *file = dt_safetensors_open(path, &error);
    dt_safetensors_close(file);
    return file != NULL;
}

static void refused(const char *header, size_t data_size, const char *message)
{
    bool good = !opens(header, data_size) && strncmp(error.message, path, strlen(path)) == 0 &&
                strcmp(error.message + strlen(path) + 2, message) == 0;
    if (!ok(good, "%s", message))
        printf("# got: %s\n", error.message);
}

#define A "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"

static void hostile_files(void)
{
    ok(opens("{" A "}", 8), "a good file opens");
    ok(opens("{}   ", 0), "an empty file, padded, opens");
    ok(opens("{" A ",\"b\":{\"dtype\":\"U8\",\"shape\":[0,3],\"data_offsets\":[0,0]}}", 8),
       "an empty tensor");
    refused("{" A, 8, "header:1:53: '}' expected near end of file");
    refused("[]", 0, "the header is an array, expected an object");
    refused("{" A "," A "}", 8, "header:1:57: duplicate object key near '\"a\"'");
    refused("{" A "}", 9, "the tensors take 8 bytes, the file holds 9");
    refused("{" A "}", 7, "tensor \"a\": its offsets 0 to 8 lie outside the 7 bytes of data");
    refused("{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8,
            "tensor \"b\" begins at byte 4 of the data, expected 8 (tensors overlap)");
    refused("{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[12,16]}}", 16,
            "tensor \"b\" begins at byte 12 of the data, expected 8 (there is a hole)");
    refused("{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2,
            "tensor \"a\": has dtype F8_E4M3, which is not supported (F64 F32 F16 BF16 I64 I32 I16 I8 U8 "
            "BOOL are)");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
            "tensor \"a\": its offsets span 4 bytes, its shape takes 8");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,2],\"data_offsets\":[0,0]}}", 0,
            "tensor \"a\": its shape is too large");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0,
            "tensor \"a\": its shape is too large");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8,
            "tensor \"a\": dimension 0 is not a count");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
            "tensor \"a\": has 9 dimensions, expected at most 8");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4,
            "tensor \"a\": its offsets -4 to 0 lie outside the 4 bytes of data");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4,
            "tensor \"a\": data_offsets is not a pair of integers");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4,
            "tensor \"a\": its header: data_offsets: required, but missing");
    refused("{\"__metadata__\":{\"n\":1}}", 0, "__metadata__ \"n\" is an integer, expected a string");
    refused("{\"__metadata__\":7}", 0, "__metadata__ is an integer, expected an object");

    const uint8_t vast[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '{', '}'};
    dt_file_write(path, vast, sizeof vast, NULL);
    ok(!dt_safetensors_open(path, &error) && strstr(error.message, "cut short"), "a vast header: %s",
       error.message);
    dt_file_write(path, vast, 3, NULL);
    ok(!dt_safetensors_open(path, &error) && strstr(error.message, "3 bytes are too few"), "three bytes");
    dt_file_write(path, vast, 0, NULL);
    ok(!dt_safetensors_open(path, &error) && strstr(error.message, "0 bytes are too few"), "an empty file");
}

static const float floats[6] = {1, -2, 3.5f, 0, 5, 1e-30f};
static const int64_t longs[2] = {-7, 2147483647}, wide[1] = {2147483648};
static const uint16_t half[7] = {0x3c00, 0xc000, 0x0001, 0x7bff, 0x7c00, 0x8000, 0x03ff};
static const uint16_t brain[2] = {0x3f80, 0xc040};
static const int8_t bytes[3] = {-1, 0, 127};
static const double doubles[1] = {0.1};
static const dt_st_tensor tensors[] = {
    {"b\xc3\xa9.\"q\"", DT_ST_I8, 1, {3}, bytes, 0, 0},
    {"half", DT_ST_F16, 1, {7}, half, 0, 0},
    {"w", DT_ST_F32, 2, {2, 3}, floats, 0, 0},
    {"labels", DT_ST_I64, 1, {2}, longs, 0, 0},
    {"brain", DT_ST_BF16, 2, {1, 2}, brain, 0, 0},
    {"scalar", DT_ST_F64, 0, {0}, doubles, 0, 0},
    {"wide", DT_ST_I64, 1, {1}, wide, 0, 0},
    {"none", DT_ST_F32, 2, {0, 5}, NULL, 0, 0},
};

/* What the tensors become as floats and integers. */
static void copying(const dt_safetensors *file)
{
    const float brains[2] = {1, -3}, tenth = 0.1f;
    float got[7];
    const dt_st_tensor *w = dt_safetensors_need(file, "w", &error);
    ok(w->rank == 2 && w->count == 6 && w->size == 24 && dt_st_to_float(w, got, &error), "shape");
    near("float32", got, floats, 6, 0);
    const float halves[7] = {1, -2, 0x1p-24f, 65504, INFINITY, -0.f, 1023 * 0x1p-24f};
    dt_st_to_float(dt_safetensors_find(file, "half"), got, &error);
    ok(!memcmp(got, halves, sizeof halves), "float16 widens exactly, subnormals, infinity and -0 too");
    dt_st_to_float(dt_safetensors_find(file, "brain"), got, &error);
    near("bfloat16", got, brains, 2, 0);
    dt_st_to_float(dt_safetensors_find(file, "scalar"), got, &error);
    near("float64", got, &tenth, 1, 0);
    ok(dt_st_to_float(dt_safetensors_find(file, "none"), got, &error), "an empty tensor");
    int32_t integers[3];
    ok(dt_st_to_int32(dt_safetensors_find(file, "labels"), integers, &error) && integers[0] == -7 &&
           integers[1] == INT32_MAX,
       "int64 narrows");
    ok(dt_st_to_int32(dt_safetensors_find(file, tensors[0].name), integers, &error) && integers[0] == -1 &&
           integers[2] == 127,
       "int8");
    ok(!dt_st_to_int32(dt_safetensors_find(file, "wide"), integers, &error) &&
           strstr(error.message, "element 0 is 2147483648"),
       "out of range: %s", error.message);
    ok(!dt_st_to_float(dt_safetensors_find(file, "wide"), got, &error) && strstr(error.message, "dtype I64"),
       "type");
    ok(!dt_st_to_int32(w, integers, &error) && strstr(error.message, "dtype F32"), "type");
    ok(!dt_st_has_shape(w, 2, (const int64_t[]){3, 2}, &error) &&
           !strcmp(error.message, "tensor \"w\" has shape [2, 3], expected [3, 2]") &&
           dt_st_has_shape(w, 2, (const int64_t[]){2, 3}, &error),
       "shapes are compared");
    ok(!dt_safetensors_need(file, "labls", &error) && strstr(error.message, "the nearest is \"labels\""),
       "a missing name: %s", error.message);
}

static void writing(void)
{
    const dt_st_meta meta[] = {{"format", "pt"}, {"step", "12"}};
    ok(dt_safetensors_write(path, tensors, 8, meta, 2, &error), "writes %s", error.message);
    dt_safetensors *file = dt_safetensors_open(path, &error);
    if (!ok(file && dt_safetensors_count(file) == 8, "reads back %s", error.message))
        return;
    ok(!strcmp(dt_safetensors_meta(file, "step"), "12") && !dt_safetensors_meta(file, "x"), "metadata");
    bool aligned = true;
    for (size_t i = 0; i < 8; i++) {
        const dt_st_tensor *t = dt_safetensors_at(file, i);
        aligned = aligned && (uintptr_t)t->data % dt_st_type_size(t->type) == 0;
    }
    ok(aligned && !dt_safetensors_at(file, 8), "every tensor is aligned to its element");
    ok(!strcmp(dt_safetensors_at(file, 0)->name, "labels") &&
           !strcmp(dt_safetensors_at(file, 7)->name, tensors[0].name),
       "wide types first, order kept");

    copying(file);
    dt_safetensors_close(file);

    const dt_st_tensor twice[] = {tensors[2], tensors[2]};
    ok(!dt_safetensors_write(path, twice, 2, NULL, 0, &error) &&
           strstr(error.message, "two tensors are called \"w\""),
       "equal names are refused");
    const dt_st_tensor vast = {"v", DT_ST_F32, 2, {INT64_MAX, 8}, floats, 0, 0};
    ok(!dt_safetensors_write(path, &vast, 1, NULL, 0, &error) && says(error.message, "tensor \"v\": "), "a vast shape is refused");
    const dt_st_tensor bad = {"\xff", DT_ST_F32, 1, {1}, floats, 0, 0};
    ok(!dt_safetensors_write(path, &bad, 1, NULL, 0, &error) && says(error.message, "its name is not UTF-8"), "a name that is not UTF-8 is refused");
    file = dt_safetensors_open(path, &error);
    ok(file && dt_safetensors_count(file) == 8, "and the old file stays");
    dt_safetensors_close(file);
}

/* Files made by the reference implementation: read, written, and read again. */
static void reference(const char *name, const char *tensor, int rank, const int64_t *shape)
{
    const char *source = golden(name);
    if (!source) {
        skip(name, "the reference file is not here");
        return;
    }
    dt_safetensors *file = dt_safetensors_open(source, &error), *copy = NULL;
    if (!ok(file != NULL, "%s opens %s", name, error.message))
        return;
    const dt_st_tensor *t = dt_safetensors_need(file, tensor, &error);
    ok(t && dt_st_has_shape(t, rank, shape, &error), "%s: %s %s", name, tensor, error.message);
    size_t n = dt_safetensors_count(file), same = 0;
    if (dt_safetensors_write(path, dt_safetensors_at(file, 0), n, NULL, 0, &error))
        copy = dt_safetensors_open(path, &error);
    for (size_t i = 0; copy && i < n; i++) {
        const dt_st_tensor *a = dt_safetensors_at(file, i), *b = dt_safetensors_find(copy, a->name);
        same += b && a->type == b->type && a->rank == b->rank && a->size == b->size &&
                !memcmp(a->shape, b->shape, sizeof a->shape) && !memcmp(a->data, b->data, a->size);
    }
    ok(n && same == n, "%s: %zu tensors survive a copy", name, n);
    dt_safetensors_close(copy);
    dt_safetensors_close(file);
}

static void npy(void)
{
    const float grid[6] = {1, 2, 3, 4, 5, 6};
    const int64_t wholes[3] = {-1, 1ll << 40, 3}, shape[] = {2, 3}, three[] = {3}, none[] = {0, 7};
    dt_npy a;
    ok(dt_npy_write_float(path, grid, 2, shape, &error) && dt_npy_read(path, &a, &error), "npy %s",
       error.message);
    ok(a.rank == 2 && a.shape[0] == 2 && a.shape[1] == 3 && !a.int64s, "npy: shape");
    near("npy floats", a.floats, grid, 6, 0);
    dt_npy_free(&a);
    ok(dt_npy_write_int64(path, wholes, 1, three, &error) && dt_npy_read(path, &a, &error) && a.rank == 1 &&
           !memcmp(a.int64s, wholes, sizeof wholes),
       "npy: int64");
    dt_npy_free(&a);
    dt_map map;
    dt_map_open(&map, path, &error);
    const char *want = "{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }";
    ok(!memcmp(map.data + 10, want, strlen(want)) && map.size == 128 + 24 && map.data[127] == '\n',
       "npy: the header is NumPy's, the data aligned to 64");
    uint8_t raw[160];
    memcpy(raw, map.data, map.size);
    dt_map_close(&map);
    dt_file_write(path, raw, 140, &error);
    ok(!dt_npy_read(path, &a, &error) && strstr(error.message, "takes 24 bytes, the file holds 12"),
       "npy: cut short");
    memcpy(strstr((char *)raw + 10, "<i8"), "<f8", 3);
    dt_file_write(path, raw, 152, &error);
    ok(!dt_npy_read(path, &a, &error) && strstr(error.message, "its type is '<f8'"), "npy: another type");
    dt_file_write(path, raw, 9, &error);
    ok(!dt_npy_read(path, &a, &error) && strstr(error.message, "not an .npy file"), "npy: too short");
    ok(dt_npy_write_float(path, NULL, 2, none, &error) && dt_npy_read(path, &a, &error) && a.count == 0,
       "npy: an empty array");
    dt_npy_free(&a);
    ok(dt_npy_write_float(path, grid, 0, NULL, &error) && dt_npy_read(path, &a, &error) && a.count == 1,
       "npy: a scalar");
    dt_npy_free(&a);
}

int main(void)
{
    path = in("x");
    hostile_files();
    writing();
    reference("ops/linear_0.safetensors", "weight", 2, (const int64_t[]){7, 12});
    reference("ops/embedding_0.safetensors", "indices", 2, (const int64_t[]){4, 11});
    npy();
    return done();
}
