#include "data/safetensors.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    dt_error error = {""};
    dt_safetensors *file = dt_safetensors_parse(bytes, size, "input", &error);
    if (!file) {
        fuzz_message(&error);
        return 0;
    }
    dt_safetensors_meta(file, "format");
    for (size_t i = 0; i < dt_safetensors_count(file); i++) {
        const dt_st_tensor *tensor = dt_safetensors_at(file, i);
        if (dt_safetensors_find(file, tensor->name) != tensor)
            abort();
        fuzz_tensor(tensor);
    }
    dt_safetensors_close(file);
    return 0;
}
