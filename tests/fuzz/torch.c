/* PyTorch's archives; and pickles alone, which are wrapped into one, for a mutation rarely leaves a zip whole. */
#include "data/torch_file.h"

#include "tests/fuzz/fuzz.h"
#include "tests/make_zip.h"

static void read_archive(const uint8_t *bytes, size_t size)
{
    size_t count;
    dt_error error = {""};
    dt_torch_file *file = dt_torch_parse(bytes, size, "input", &error);
    if (!file) {
        fuzz_message(&error);
        return;
    }
    const dt_st_tensor *tensors = dt_torch_tensors(file, &count);
    for (size_t i = 0; i < count; i++)
        fuzz_tensor(&tensors[i]);
    dt_torch_close(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size < 2 || bytes[0] != 0x80) {
        read_archive(bytes, size);
        return 0;
    }
    static const uint8_t storage[64];
    zip_maker z = {0};
    zip_add(&z, "archive/data.pkl", bytes, size);
    zip_add(&z, "archive/data/0", storage, sizeof storage);
    zip_add(&z, "archive/data/1", storage, 8);
    zip_finish(&z);
    read_archive(z.bytes, z.size);
    zip_discard(&z);
    return 0;
}
