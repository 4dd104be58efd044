/* What the fuzz targets share. A target reads bytes as one of the readers would read a file; any crash, leak, sanitizer's report or
 * broken promise is a finding. `make fuzz` runs them all. */
#ifndef DUET_TESTS_FUZZ_H
#define DUET_TESTS_FUZZ_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "data/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* A refusal says why, in one line. */
static inline void fuzz_message(const dt_error *error)
{
    size_t length = strnlen(error->message, sizeof error->message);
    if (!length || length == sizeof error->message || strchr(error->message, '\n'))
        abort();
}

/* Reads every byte of a tensor, so that a sanitizer sees one that is not there. */
static inline void fuzz_tensor(const dt_st_tensor *tensor)
{
    const volatile uint8_t *data = tensor->data;
    dt_st_tensor again = *tensor;
    if (!tensor->name || !dt_st_measure(&again) || again.size != tensor->size || again.count != tensor->count)
        abort();
    for (size_t i = 0; i < tensor->size; i++)
        (void)data[i];
}

#endif
