/* Between float32 and bfloat16. */
#include "kernels/cuda/convert.h"

namespace
{

/* Blocks beside each other share a row. fours: addresses allow four at a time. */
template <class From, class To>
__global__ void convert_kernel(const From *x, int64_t rows, int64_t width, int64_t stride, bool fours, To *y)
{
    for (int64_t row = blockIdx.y; row < rows; row += gridDim.y) {
        const From *from = x + row * width;
        To *to = y + row * stride;
        for (int64_t i = dt_thread() * 4; i < width; i += dt_threads() * 4)
            if (fours && i + 4 <= width) {
                float four[4];
                dt_load4(from, i, four);
                dt_store4(to, i, four);
            } else {
                for (int64_t k = i; k < i + 4 && k < width; k++)
                    dt_store(to, k, dt_load(from, k));
            }
    }
}

} // namespace

void dt_cuda_convert_rows(void *to, dt_dtype to_type, int64_t stride, const void *from, dt_dtype from_type, int64_t rows,
                          int64_t width)
{
    const int64_t most = 65535; /* blocks that a grid can have below each other */
    const dim3 grid(dt_grid(width, 4 * DT_BLOCK), (unsigned)(rows < most ? rows : most));
    bool fours = dt_aligned4(from, from_type) && dt_aligned4(to, to_type) && (rows == 1 || (width % 4 == 0 && stride % 4 == 0));
    dt_by_type(from_type, [&](auto source) {
        dt_by_type(to_type, [&](auto result) {
            using From = decltype(source);
            using To = decltype(result);
            DT_LAUNCH((convert_kernel<From, To>), grid, DT_BLOCK, 0, (const From *)from, rows, width, stride, fours, (To *)to);
        });
    });
}

void dt_cuda_convert(void *to, dt_dtype to_type, const void *from, dt_dtype from_type, int64_t count)
{
    dt_cuda_convert_rows(to, to_type, count, from, from_type, 1, count);
}
