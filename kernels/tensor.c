#include "kernels/tensor.h"

#include <stdio.h>
#include <string.h>

int64_t dt_span(const dt_shape *shape, int from, int to)
{
    int64_t product = 1;
    for (int i = from; i < to; i++)
        product *= shape->dim[i];
    return product;
}

int64_t dt_count(const dt_shape *shape)
{
    return dt_span(shape, 0, shape->rank);
}

bool dt_same_shape(const dt_shape *a, const dt_shape *b)
{
    return a->rank == b->rank && !memcmp(a->dim, b->dim, sizeof a->dim[0] * (size_t)a->rank);
}

bool dt_shape_valid(const dt_shape *shape)
{
    if (shape->rank < 0 || shape->rank > DT_MAX_RANK)
        return false;
    int64_t count = 1;
    for (int i = 0; i < shape->rank; i++)
        if (shape->dim[i] < 1 || __builtin_mul_overflow(count, shape->dim[i], &count) || count > 1LL << 40)
            return false;
    return true;
}

size_t dt_dtype_size(dt_dtype dtype)
{
    static const size_t size[] = {sizeof(float), sizeof(int32_t), sizeof(uint16_t), sizeof(uint8_t)};
    return size[dtype];
}

const char *dt_dtype_name(dt_dtype dtype)
{
    static const char *const name[] = {"float32", "int32", "bfloat16", "uint8"};
    return name[dtype];
}

dt_text dt_shape_text(const dt_shape *shape)
{
    dt_text text;
    size_t at = (size_t)snprintf(text.chars, sizeof text.chars, "[");
    for (int i = 0; i < shape->rank && i < DT_MAX_RANK; i++)
        at += (size_t)snprintf(text.chars + at, sizeof text.chars - at, "%s%lld", i ? ", " : "",
                               (long long)shape->dim[i]);
    snprintf(text.chars + at, sizeof text.chars - at, "]");
    return text;
}
