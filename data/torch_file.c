#include "data/torch_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "data/pickle.h"
#include "data/zip.h"

enum {
    DEPTH_MAX = 64,        /* dictionaries in dictionaries */
    NAME_SIZE = 1000,      /* of a tensor, with the dictionaries before it */
    CHECKPOINT_LEVELS = 4, /* {"model": {"state_dict": …}} */
};

/* What a class that a pickle asks for means. */
typedef enum role {
    PLAIN, /* passed over */
    ORDERED_DICT,
    TENSOR,
    PARAMETER,
    STORAGE,
    MODULE,
} role;

static const struct {
    const char *name;
    role role;
    dt_st_type type; /* of a STORAGE */
} classes[] = {
    {"__torch__.", MODULE, 0}, /* and whatever follows */
    {"collections.OrderedDict", ORDERED_DICT, 0},
    {"torch._utils._rebuild_tensor_v2", TENSOR, 0},
    {"torch._utils._rebuild_parameter", PARAMETER, 0},
    {"torch._utils._rebuild_parameter_with_state", PARAMETER, 0},
    {"torch.DoubleStorage", STORAGE, DT_ST_F64},
    {"torch.FloatStorage", STORAGE, DT_ST_F32},
    {"torch.HalfStorage", STORAGE, DT_ST_F16},
    {"torch.BFloat16Storage", STORAGE, DT_ST_BF16},
    {"torch.LongStorage", STORAGE, DT_ST_I64},
    {"torch.IntStorage", STORAGE, DT_ST_I32},
    {"torch.ShortStorage", STORAGE, DT_ST_I16},
    {"torch.CharStorage", STORAGE, DT_ST_I8},
    {"torch.ByteStorage", STORAGE, DT_ST_U8},
    {"torch.BoolStorage", STORAGE, DT_ST_BOOL},
    {"torch.storage.UntypedStorage", PLAIN, 0},
    {"torch.Size", PLAIN, 0},
    {"torch.device", PLAIN, 0},
    {"torch.float64", PLAIN, 0},
    {"torch.float32", PLAIN, 0},
    {"torch.float16", PLAIN, 0},
    {"torch.bfloat16", PLAIN, 0},
    {"torch.int64", PLAIN, 0},
    {"torch.int32", PLAIN, 0},
    {"torch.int16", PLAIN, 0},
    {"torch.int8", PLAIN, 0},
    {"torch.uint8", PLAIN, 0},
    {"torch.bool", PLAIN, 0},
    {"torch.jit._pickle.build_intlist", PLAIN, 0},
    {"torch.jit._pickle.build_doublelist", PLAIN, 0},
    {"torch.jit._pickle.build_boollist", PLAIN, 0},
    {"torch.jit._pickle.build_tensorlist", PLAIN, 0},
    {"torch.jit._pickle.restore_type_tag", PLAIN, 0},
};

static int find_class(const char *name)
{
    if (!strncmp(name, classes[0].name, strlen(classes[0].name)))
        return 0;
    for (int i = 1; i < (int)(sizeof classes / sizeof classes[0]); i++)
        if (!strcmp(name, classes[i].name))
            return i;
    return -1;
}

struct dt_torch_file {
    size_t count, room;
    dt_st_tensor *tensors; /* names are owned */
    size_t copy_count;
    void **copies; /* room for one a tensor: data that had to be put into row-major order */
};

typedef struct reader {
    dt_torch_file *file;
    const dt_zip *zip;
    const char *folder; /* of the archive, "archive/"; no NUL ends it */
    int folder_size;
    char name[NAME_SIZE];
    size_t steps_left; /* a pickle may mention one dictionary in so many places that a walk through all would not end */
    size_t bytes_left; /* for copies, of which many can be asked for of one storage */
    dt_error *error;
} reader;

/* ---- tensors ---- */

static bool is_object(const dt_pickle_value *value, role wanted)
{
    return value->kind == DT_PICKLE_OBJECT && classes[value->object.global].role == wanted;
}

/* The arguments that a tensor is made of; NULL where the value is no tensor. */
static const dt_pickle_list *tensor_arguments(const dt_pickle_value *value)
{
    if (is_object(value, PARAMETER)) {
        const dt_pickle_list *arguments = &value->object.argument->list;
        if (!arguments->count)
            return NULL;
        value = arguments->items[0];
    }
    return is_object(value, TENSOR) ? &value->object.argument->list : NULL;
}

/* The bytes of a storage and its elements, from ("storage", class, key, device, elements). */
static const uint8_t *find_storage(reader *r, const dt_pickle_value *value, dt_st_type *type, size_t *elements)
{
    const dt_pickle_value *id = value->kind == DT_PICKLE_PERSISTENT ? value->object.argument : NULL;
    dt_pickle_value **part = id && id->kind == DT_PICKLE_TUPLE && id->list.count == 5 ? id->list.items : NULL;
    if (!part || !dt_pickle_is(part[0], "storage") || part[1]->kind != DT_PICKLE_GLOBAL || part[2]->kind != DT_PICKLE_TEXT ||
        part[4]->kind != DT_PICKLE_INTEGER || classes[part[1]->global].role != STORAGE) {
        dt_fail(r->error, "its storage is not one of torch's typed storages");
        return NULL;
    }
    char name[300];
    dt_pickle_text key = part[2]->text;
    int size =
        snprintf(name, sizeof name, "%.*sdata/%.*s", r->folder_size, r->folder, key.size < 60 ? (int)key.size : 60, key.chars);
    const dt_zip_entry *entry = key.size <= 60 ? dt_zip_find(r->zip, name, (size_t)size) : NULL;
    size_t bytes;
    *type = classes[part[1]->global].type;
    if (!entry)
        dt_fail(r->error, "there is no %s in the archive", name);
    else if (!entry->stored)
        dt_fail(r->error, "%s is packed or encrypted, expected it stored as torch.save does", name);
    else if (part[4]->integer < 0 || __builtin_mul_overflow((uint64_t)part[4]->integer, dt_st_type_size(*type), &bytes) ||
             bytes > entry->size)
        dt_fail(r->error, "%s has %zu bytes, too few for %lld elements of %s", name, entry->size, (long long)part[4]->integer,
                dt_st_type_name(*type));
    else {
        *elements = (size_t)part[4]->integer;
        return entry->data;
    }
    return NULL;
}

/* A tuple of `count` numbers that are not negative. */
static bool read_numbers(const dt_pickle_value *value, int64_t *numbers, int count)
{
    if (value->kind != DT_PICKLE_TUPLE || value->list.count != (size_t)count)
        return false;
    for (int i = 0; i < count; i++) {
        const dt_pickle_value *item = value->list.items[i];
        if (item->kind != DT_PICKLE_INTEGER || item->integer < 0)
            return false;
        numbers[i] = item->integer;
    }
    return true;
}

/* Whether the elements, dimensions taken in the order of their strides, follow one another without holes. `order`: the
 * dimensions, the one of the widest stride first. */
static bool is_dense(const dt_st_tensor *tensor, const int64_t *strides, int *order)
{
    for (int i = 0; i < tensor->rank; i++) {
        int at = i;
        for (; at > 0 && strides[order[at - 1]] < strides[i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    int64_t expected = 1;
    for (int i = tensor->rank - 1; i >= 0; i--) {
        int side = order[i];
        if (tensor->shape[side] != 1 && strides[side] != expected)
            return false;
        expected *= tensor->shape[side];
    }
    return true;
}

static bool is_row_major(const dt_st_tensor *tensor, const int64_t *strides)
{
    int64_t expected = 1;
    for (int i = tensor->rank - 1; i >= 0; i--) {
        if (tensor->shape[i] != 1 && strides[i] != expected)
            return false;
        expected *= tensor->shape[i];
    }
    return true;
}

/* Replaces the data by a row-major copy. */
static bool copy_in_order(reader *r, dt_st_tensor *tensor, const int64_t *strides)
{
    if (tensor->size > r->bytes_left)
        return dt_fail(r->error, "its dimensions lie in another order than row by row, and so do those of too many others");
    uint8_t *copy = malloc(tensor->size);
    if (!copy)
        return dt_fail(r->error, "no memory for %zu bytes", tensor->size);
    r->bytes_left -= tensor->size;
    size_t width = dt_st_type_size(tensor->type);
    int64_t index[DT_ST_RANK_MAX] = {0}, from = 0;
    for (size_t i = 0; i < tensor->count; i++) {
        memcpy(copy + i * width, (const uint8_t *)tensor->data + (size_t)from * width, width);
        for (int d = tensor->rank - 1; d >= 0; d--) {
            from += strides[d];
            if (++index[d] < tensor->shape[d])
                break;
            from -= strides[d] * tensor->shape[d];
            index[d] = 0;
        }
    }
    r->file->copies[r->file->copy_count++] = copy;
    tensor->data = copy;
    return true;
}

/* Fills all but the name from (storage, offset, shape, strides, requires_grad, hooks). */
static bool read_tensor(reader *r, dt_st_tensor *tensor, const dt_pickle_list *arguments)
{
    int64_t strides[DT_ST_RANK_MAX];
    int order[DT_ST_RANK_MAX];
    size_t elements;
    dt_pickle_value **a = arguments->items;
    if (arguments->count < 4 || a[1]->kind != DT_PICKLE_INTEGER || a[1]->integer < 0 || a[2]->kind != DT_PICKLE_TUPLE)
        return dt_fail(r->error, "its description is not one of storage, offset, shape and strides");
    if (a[2]->list.count > DT_ST_RANK_MAX)
        return dt_fail(r->error, "has %zu dimensions, expected at most %d", a[2]->list.count, DT_ST_RANK_MAX);
    tensor->rank = (int)a[2]->list.count;
    if (!read_numbers(a[2], tensor->shape, tensor->rank) || !read_numbers(a[3], strides, tensor->rank))
        return dt_fail(r->error, "its shape or strides are not counts");
    if (!(tensor->data = find_storage(r, a[0], &tensor->type, &elements)))
        return false;
    if (!dt_st_measure(tensor))
        return dt_fail(r->error, "its shape is too large");
    for (int i = 0; i < tensor->rank; i++)
        if (tensor->shape[i] == 1) /* such a stride is never taken, and may be anything */
            strides[i] = 0;
    if ((uint64_t)a[1]->integer > elements || tensor->count > elements - (uint64_t)a[1]->integer)
        return dt_fail(r->error, "its %zu elements from %lld on run past its storage of %zu", tensor->count,
                       (long long)a[1]->integer, elements);
    tensor->data = (const uint8_t *)tensor->data + (size_t)a[1]->integer * dt_st_type_size(tensor->type);
    if (!tensor->count || is_row_major(tensor, strides))
        return true;
    if (!is_dense(tensor, strides, order))
        return dt_fail(r->error, "its elements do not lie side by side; store a contiguous() copy of it");
    return copy_in_order(r, tensor, strides);
}

static bool add_tensor(reader *r, const dt_pickle_list *arguments)
{
    dt_torch_file *file = r->file;
    if (file->count == file->room) {
        size_t room = file->room ? 2 * file->room : 256;
        dt_st_tensor *tensors = realloc(file->tensors, room * sizeof *tensors);
        if (tensors)
            file->tensors = tensors;
        void **copies = realloc(file->copies, room * sizeof(void *));
        if (copies)
            file->copies = copies;
        if (!tensors || !copies)
            return dt_fail(r->error, "no memory for %zu tensors", room);
        file->room = room;
    }
    dt_st_tensor tensor = {.name = strdup(r->name)};
    if (!tensor.name)
        return dt_fail(r->error, "no memory");
    file->tensors[file->count++] = tensor;
    return read_tensor(r, &file->tensors[file->count - 1], arguments) || dt_fail_prefix(r->error, "tensor \"%.200s\"", r->name);
}

/* ---- dictionaries ---- */

/* Keys and values of a dictionary, an OrderedDict, or a TorchScript module; NULL for anything else. */
static const dt_pickle_list *entries(const dt_pickle_value *value)
{
    static const dt_pickle_list nothing;
    if (is_object(value, ORDERED_DICT))
        return value->object.items ? &value->object.items->list : &nothing;
    if (is_object(value, MODULE) && value->object.state)
        value = value->object.state;
    return value->kind == DT_PICKLE_DICT ? &value->list : NULL;
}

/* Puts the key behind the names of the dictionaries that it lies in; *length is the name's, before and after. */
static bool extend_name(reader *r, size_t *length, const dt_pickle_value *key)
{
    if (key->kind != DT_PICKLE_TEXT)
        return dt_fail(r->error, "\"%.200s\" has a key that is not a text; is it a state dict?", r->name);
    dt_pickle_text text = key->text;
    if (text.size + 1 >= sizeof r->name - *length)
        return dt_fail(r->error, "a name of more than %d bytes begins with \"%.60s\"", NAME_SIZE - 1, r->name);
    utf8proc_int32_t c;
    for (size_t at = 0; at < text.size;) {
        utf8proc_ssize_t taken = utf8proc_iterate((const uint8_t *)text.chars + at, (utf8proc_ssize_t)(text.size - at), &c);
        if (taken < 1 || c == 0)
            return dt_fail(r->error, "\"%.200s\" has a key that is not UTF-8, or has a NUL in it", r->name);
        at += (size_t)taken;
    }
    if (*length)
        r->name[(*length)++] = '.';
    memcpy(r->name + *length, text.chars, text.size);
    *length += text.size;
    r->name[*length] = 0;
    return true;
}

/* Adds all tensors below a dictionary whose name, of `length` bytes, is in r->name. */
static bool walk(reader *r, dt_pickle_value *dictionary, size_t length, int depth)
{
    const dt_pickle_list *list = entries(dictionary);
    if (dictionary->entered || depth > DEPTH_MAX)
        return dt_fail(r->error, "dictionary \"%.200s\" %s", r->name,
                       dictionary->entered ? "contains itself" : "is nested too deep");
    dictionary->entered = true;
    for (size_t i = 0; i + 1 < list->count; i += 2) {
        dt_pickle_value *value = list->items[i + 1];
        const dt_pickle_list *arguments = tensor_arguments(value);
        size_t longer = length;
        if (!r->steps_left--)
            return dt_fail(r->error, "the same dictionaries are mentioned too many times");
        if (!arguments && !entries(value))
            continue;
        if (!extend_name(r, &longer, list->items[i]))
            return false;
        if (!(arguments ? add_tensor(r, arguments) : walk(r, value, longer, depth + 1)))
            return false;
        r->name[length] = 0;
    }
    dictionary->entered = false;
    return true;
}

/* Training checkpoints have the weights in a dictionary of their own, beside the epoch and the optimizer's state. */
static dt_pickle_value *find_state_dict(dt_pickle_value *root)
{
    static const char *const keys[] = {"state_dict", "model_state_dict", "model"};
    for (int level = 0; level < CHECKPOINT_LEVELS && !is_object(root, MODULE); level++) {
        const dt_pickle_list *list = entries(root);
        dt_pickle_value *inner = NULL;
        for (int k = 0; k < 3 && !inner; k++)
            for (size_t i = 0; list && i + 1 < list->count; i += 2)
                if (dt_pickle_is(list->items[i], keys[k]) && entries(list->items[i + 1]))
                    inner = list->items[i + 1];
        if (!inner)
            break;
        root = inner;
    }
    return root;
}

/* Takes a word off all names, where all of them begin with it. */
static void strip(dt_torch_file *file, const char *prefix)
{
    size_t length = strlen(prefix);
    for (size_t i = 0; i < file->count; i++)
        if (strncmp(file->tensors[i].name, prefix, length))
            return;
    for (size_t i = 0; i < file->count; i++) {
        char *name = (char *)(uintptr_t)file->tensors[i].name;
        memmove(name, name + length, strlen(name + length) + 1);
    }
}

/* torch.nn.DataParallel and torch.compile put a word before every name. */
static void strip_module(dt_torch_file *file)
{
    strip(file, "module.");
    strip(file, "_orig_mod.");
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static bool check_names(const dt_torch_file *file, dt_error *error)
{
    const char **names = malloc((file->count + 1) * sizeof(char *)), *twice = NULL;
    if (!names)
        return dt_fail(error, "no memory for %zu names", file->count);
    for (size_t i = 0; i < file->count; i++)
        names[i] = file->tensors[i].name;
    qsort(names, file->count, sizeof(char *), compare_names);
    for (size_t i = 1; i < file->count && !twice; i++)
        twice = strcmp(names[i - 1], names[i]) ? NULL : names[i];
    free(names);
    return !twice || dt_fail(error, "two tensors are called \"%.200s\"", twice);
}

/* ---- the archive ---- */

/* The pickle is FOLDER/data.pkl, whatever the folder is called. */
static const dt_zip_entry *find_pickle(reader *r)
{
    static const char name[] = "data.pkl";
    size_t length = sizeof name - 1;
    for (size_t i = 0; i < r->zip->count; i++) {
        const dt_zip_entry *entry = &r->zip->entries[i];
        const char *slash = memchr(entry->name, '/', entry->name_size);
        size_t folder = slash ? (size_t)(slash + 1 - entry->name) : 0;
        if (slash && folder <= 200 && entry->name_size == folder + length && !memcmp(slash + 1, name, length)) {
            r->folder = entry->name;
            r->folder_size = (int)folder;
            return entry;
        }
    }
    dt_fail(r->error, "a zip archive without a data.pkl, so not one of PyTorch's");
    return NULL;
}

static bool check_byte_order(reader *r)
{
    char name[300];
    int size = snprintf(name, sizeof name, "%.*sbyteorder", r->folder_size, r->folder);
    const dt_zip_entry *entry = dt_zip_find(r->zip, name, (size_t)size);
    return !entry || (entry->size == 6 && !memcmp(entry->data, "little", 6)) ||
           dt_fail(r->error, "%s is not \"little\"; only little-endian files are read", name);
}

static bool read_pickle(reader *r)
{
    const dt_zip_entry *entry = find_pickle(r);
    if (!entry || !check_byte_order(r))
        return false;
    char name[300];
    snprintf(name, sizeof name, "%.*s", (int)entry->name_size, entry->name);
    if (!entry->stored)
        return dt_fail(r->error, "%s is packed or encrypted, expected it stored as torch.save does", name);
    dt_pickle *pickle = dt_pickle_read(entry->data, entry->size, name, find_class, r->error);
    if (!pickle)
        return false;
    dt_pickle_value *root = find_state_dict(dt_pickle_root(pickle));
    r->steps_left = dt_pickle_count(pickle);
    bool good = entries(root) ? walk(r, root, 0, 0) : dt_fail(r->error, "expected a dictionary of tensors");
    if (good && !r->file->count)
        good = dt_fail(r->error, "there are no tensors in it");
    if (good)
        strip_module(r->file);
    good = good && check_names(r->file, r->error);
    dt_pickle_free(pickle);
    return good || dt_fail_prefix(r->error, "%s", name);
}

dt_torch_file *dt_torch_parse(const void *bytes, size_t size, const char *path, dt_error *error)
{
    dt_zip zip = {0};
    reader r = {.file = calloc(1, sizeof *r.file), .zip = &zip, .bytes_left = size, .error = error};
    bool good = r.file || dt_fail(error, "no memory");
    good = good && dt_zip_read(&zip, bytes, size, error) && read_pickle(&r);
    dt_zip_free(&zip);
    if (good)
        return r.file;
    dt_fail_prefix(error, "%s", path);
    dt_torch_close(r.file);
    return NULL;
}

void dt_torch_close(dt_torch_file *file)
{
    if (!file)
        return;
    for (size_t i = 0; i < file->count; i++)
        free((char *)(uintptr_t)file->tensors[i].name);
    for (size_t i = 0; i < file->copy_count; i++)
        free(file->copies[i]);
    free(file->copies);
    free(file->tensors);
    free(file);
}

const dt_st_tensor *dt_torch_tensors(const dt_torch_file *file, size_t *count)
{
    *count = file->count;
    return file->tensors;
}
