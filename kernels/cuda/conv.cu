/* Convolutions. Those of single pixels are products of matrices (blas.h), and so are those whose kernel steps from patch to
 * patch without overlap, around a copy of x in which each patch is a row. The others are cuDNN's (dnn.h), around which
 * weights change between the checkpoints' order [out, in / groups, kh, kw] and the library's [out, kh, kw, in / groups].
 * What the library refuses runs in plain kernels here. */
#include "kernels/cuda/blas.h"
#include "kernels/cuda/divide.h"
#include "kernels/cuda/dnn.h"
#include "kernels/cuda/notes.h"

#include <new>
#include <stdio.h>

extern "C" {
extern const dt_kernel dt_cuda_conv[];
}

namespace
{

struct convolution {
    dt_convolution form;
    dt_blas *product; /* NULL: it is not one */
    bool patches;     /* the product is of patches, and not of x itself */
    dt_dnn *library;  /* NULL and no product: the plain kernels */
    bool reorder;     /* its order of weights differs from ours, or its type */
    size_t start;     /* of a library's workspace, behind room for patches or a weight */
};

/* ---- Between channels first and channels last, for weights and for patches ---- */

constexpr int TILE = 2048, TILE_MOST = TILE + DT_WARP;

/* `count` matrices [channels, area], in tiles of `rows` by `columns` of one of them, or of `many` that are whole. */
struct matrices {
    int64_t count, channels, area;
    int many, rows, columns;
    dt_divisor<uint32_t> by_rows, by_columns;
};

matrices matrices_of(int64_t count, int64_t channels, int64_t area)
{
    matrices m = {count, channels, area, 1, 1, 1, {}, {}};
    m.columns = (int)(area < TILE ? area : TILE);
    m.rows = TILE / (m.columns | 1); /* the odd pitch: see transpose_kernel */
    if (m.rows > DT_WARP)
        m.rows = m.rows / DT_WARP * DT_WARP;
    if (m.rows < 1)
        m.rows = 1;
    if (m.rows > channels)
        m.rows = (int)channels;
    if (m.rows == channels && m.columns == area && m.rows * (m.columns | 1) < TILE)
        m.many = TILE / (m.rows * (m.columns | 1));
    dt_divide_by(&m.by_rows, m.rows);
    dt_divide_by(&m.by_columns, m.columns);
    return m;
}

/* How the transposed matrices [area, channels] lie: one after another. */
struct packed {
    int64_t area;

    __device__ __forceinline__ int64_t tile(int64_t matrix) const
    {
        return matrix * area;
    }
    /* Channels before those of place k of the matrix that comes g after the tile's first. */
    __device__ __forceinline__ int64_t before(int64_t start, int g, int64_t k) const
    {
        return start + g * area + k;
    }
};

/* Or as patches of an image: matrix (n, i, j), in their order, is rows i kh ... and columns j kw ... of image n. */
struct patches {
    int64_t height, width, y_height, y_width;
    dt_divisor<uint32_t> by_y_height, by_y_width, by_kernel_width;
    int kernel[2];
    struct place {
        int64_t image;
        int i, j;
    };

    __device__ __forceinline__ place tile(int64_t matrix) const
    {
        const int64_t row = matrix / y_width;
        return {row / y_height, (int)(row % y_height), (int)(matrix % y_width)};
    }
    __device__ __forceinline__ int64_t before(place start, int g, int64_t k) const
    {
        const dt_split<uint32_t> j = dt_split_by((uint32_t)(start.j + g), by_y_width);
        const dt_split<uint32_t> i = dt_split_by(start.i + j.over, by_y_height), in = dt_split_by((uint32_t)k, by_kernel_width);
        const int64_t row = (start.image + i.over) * height + (int64_t)i.rest * kernel[0] + in.over;
        return row * width + (int64_t)j.rest * kernel[1] + in.rest;
    }
};

/* Transposes each matrix, from [channels, area] or (BACK) to it. A tile goes through shared memory, with an odd pitch that
 * keeps banks apart, so that both sides are read and written in the order of memory. */
template <bool BACK, class Last, class From, class To>
__global__ void transpose_kernel(const From *from, matrices m, Last last, To *to)
{
    DT_SHARED(float, tile, TILE_MOST);
    const int pitch = m.columns | 1, all = m.many * m.rows * m.columns;
    const int64_t down = (m.channels + m.rows - 1) / m.rows, across = (m.area + m.columns - 1) / m.columns;
    const int64_t tiles = (m.count + m.many - 1) / m.many * down * across;
    for (int64_t t = blockIdx.x; t < tiles; t += gridDim.x) {
        const int64_t row = t / across % down * m.rows, column = t % across * m.columns, matrix = t / across / down * m.many;
        const auto start = last.tile(matrix);
        /* Number i of the tile in the order of one side's memory, moved to (in) or from the other. */
        auto move = [&](int i, bool channels_last, bool in) {
            const dt_split<uint32_t> one = dt_split_by((uint32_t)i, channels_last ? m.by_rows : m.by_columns);
            const dt_split<uint32_t> two = dt_split_by(one.over, channels_last ? m.by_columns : m.by_rows);
            const int r = (int)(channels_last ? one : two).rest, c = (int)(channels_last ? two : one).rest, g = (int)two.over;
            if (matrix + g >= m.count || row + r >= m.channels || column + c >= m.area)
                return;
            const int64_t at = channels_last ? last.before(start, g, column + c) * m.channels + row + r
                                             : ((matrix + g) * m.channels + row + r) * m.area + column + c;
            float *here = tile + (g * m.rows + r) * pitch + c;
            if (in)
                *here = dt_load(from, at);
            else
                dt_store(to, at, *here);
        };
        for (int i = threadIdx.x; i < all; i += DT_BLOCK)
            move(i, BACK, true);
        __syncthreads();
        for (int i = threadIdx.x; i < all; i += DT_BLOCK)
            move(i, !BACK, false);
        __syncthreads();
    }
}

template <bool BACK, class Last, class From, class To>
void transpose(const matrices &m, const Last &last, const From *from, To *to)
{
    int64_t tiles = dt_parts(m.count, m.many) * dt_parts(m.channels, m.rows) * dt_parts(m.area, m.columns);
    DT_LAUNCH((transpose_kernel<BACK, Last, From, To>), dt_grid(tiles, 1), DT_BLOCK, 0, from, m, last, to);
}

matrices weights_of(const dt_convolution *c)
{
    return matrices_of(c->out, c->in / c->groups, c->kernel[0] * c->kernel[1]);
}

matrices patches_of(const dt_convolution *c)
{
    return matrices_of(c->batch * c->y_height * c->y_width, c->in, c->kernel[0] * c->kernel[1]);
}

/* Where patches lie in x. */
patches places_of(const dt_convolution *c)
{
    patches p = {c->height, c->width, c->y_height, c->y_width, {}, {}, {}, {(int)c->kernel[0], (int)c->kernel[1]}};
    dt_divide_by(&p.by_y_height, c->y_height);
    dt_divide_by(&p.by_y_width, c->y_width);
    dt_divide_by(&p.by_kernel_width, c->kernel[1]);
    return p;
}

/* ---- The plain kernels: slow, of any form, weights in the checkpoints' order ---- */

constexpr int64_t FEW = 1024; /* products of a weight's gradient up to which a warp sums them, and not a block */

/* Where in x a place of the kernel lies for place i of y; -1: outside. */
__device__ __forceinline__ int64_t under(const dt_convolution &c, int axis, int64_t i, int64_t k, int64_t length)
{
    int64_t at = i * c.stride[axis] - c.padding[axis] + k * c.dilation[axis];
    return at < length ? at : -1;
}

/* The place of y for which place k of the kernel lies on place `at` of x; -1: none. */
__device__ __forceinline__ int64_t over(const dt_convolution &c, int axis, int64_t at, int64_t k, int64_t y_length)
{
    int64_t moved = at + c.padding[axis] - k * c.dilation[axis];
    return moved >= 0 && moved % c.stride[axis] == 0 && moved / c.stride[axis] < y_length ? moved / c.stride[axis] : -1;
}

/* A thread to an element of y. */
template <class T> __global__ void forward_kernel(dt_convolution c, const T *x, const T *weight, T *y)
{
    const int64_t in = c.in / c.groups, out = c.out / c.groups, area = c.kernel[0] * c.kernel[1];
    for (int64_t at = dt_thread(); at < c.batch * c.y_height * c.y_width * c.out; at += dt_threads()) {
        const int64_t o = at % c.out, pixel = at / c.out, image = pixel / c.y_width / c.y_height * c.height;
        float sum = 0;
        for (int64_t k = 0; k < area; k++) {
            int64_t i = under(c, 0, pixel / c.y_width % c.y_height, k / c.kernel[1], c.height);
            int64_t j = under(c, 1, pixel % c.y_width, k % c.kernel[1], c.width);
            if (i < 0 || j < 0)
                continue;
            int64_t from = ((image + i) * c.width + j) * c.in + o / out * in;
            for (int64_t d = 0; d < in; d++)
                sum += dt_load(x, from + d) * dt_load(weight, (o * in + d) * area + k);
        }
        dt_store(y, at, sum);
    }
}

/* A thread to an element of x. */
template <class T> __global__ void input_grad_kernel(dt_convolution c, const T *y, const T *weight, T *x)
{
    const int64_t in = c.in / c.groups, out = c.out / c.groups, area = c.kernel[0] * c.kernel[1];
    for (int64_t at = dt_thread(); at < c.batch * c.height * c.width * c.in; at += dt_threads()) {
        const int64_t d = at % c.in, pixel = at / c.in, image = pixel / c.width / c.height * c.y_height;
        float sum = 0;
        for (int64_t k = 0; k < area; k++) {
            int64_t i = over(c, 0, pixel / c.width % c.height, k / c.kernel[1], c.y_height);
            int64_t j = over(c, 1, pixel % c.width, k % c.kernel[1], c.y_width);
            if (i < 0 || j < 0)
                continue;
            int64_t first = d / in * out, from = ((image + i) * c.y_width + j) * c.out;
            for (int64_t o = first; o < first + out; o++)
                sum += dt_load(y, from + o) * dt_load(weight, (o * in + d % in) * area + k);
        }
        dt_store(x, at, sum);
    }
}

/* A warp or a whole block to an element of the weight. */
template <int THREADS, class T> __global__ void weight_grad_kernel(dt_convolution c, const T *x, const T *y, float *weight)
{
    DT_SHARED(double, room, DT_BLOCK / DT_WARP);
    const int64_t in = c.in / c.groups, out = c.out / c.groups, area = c.kernel[0] * c.kernel[1];
    for (int64_t at = (int64_t)blockIdx.x * blockDim.y + threadIdx.y; at < c.out * in * area;
         at += (int64_t)gridDim.x * blockDim.y) {
        const int64_t k = at % area, o = at / area / in, d = o / out * in + at / area % in;
        float sum = 0;
        for (int64_t pixel = threadIdx.x; pixel < c.batch * c.y_height * c.y_width; pixel += THREADS) {
            int64_t i = under(c, 0, pixel / c.y_width % c.y_height, k / c.kernel[1], c.height);
            int64_t j = under(c, 1, pixel % c.y_width, k % c.kernel[1], c.width);
            if (i >= 0 && j >= 0)
                sum += dt_load(x, ((pixel / c.y_width / c.y_height * c.height + i) * c.width + j) * c.in + d) *
                       dt_load(y, pixel * c.out + o);
        }
        double total = dt_team_reduce<THREADS>((double)sum, dt_plus<double>(), room);
        if (threadIdx.x == 0)
            weight[at] = (float)total;
    }
}

template <class T> void run_plain(const dt_convolution &c, const T *x, const T *weight, const T *y, void *to)
{
    const int64_t x_count = c.batch * c.height * c.width * c.in, pixels = c.batch * c.y_height * c.y_width,
                  weights = c.out * (c.in / c.groups) * c.kernel[0] * c.kernel[1];
    const dim3 warps(DT_WARP, DT_BLOCK / DT_WARP);
    if (c.kind == DT_DNN_FORWARD)
        DT_LAUNCH(forward_kernel<T>, dt_grid(pixels * c.out, DT_BLOCK), DT_BLOCK, 0, c, x, weight, (T *)to);
    else if (c.kind == DT_DNN_INPUT_GRAD)
        DT_LAUNCH(input_grad_kernel<T>, dt_grid(x_count, DT_BLOCK), DT_BLOCK, 0, c, y, weight, (T *)to);
    else if (pixels <= FEW)
        DT_LAUNCH((weight_grad_kernel<DT_WARP, T>), dt_grid(weights, warps.y), warps, 0, c, x, y, (float *)to);
    else
        DT_LAUNCH((weight_grad_kernel<DT_BLOCK, T>), dt_grid(weights, 1), DT_BLOCK, 0, c, x, y, (float *)to);
}

/* ---- The three ops ---- */

dt_convolution form_of(const dt_preparation *p, dt_dnn_kind kind, const dt_tensor *x, const dt_tensor *weight,
                       const dt_tensor *y)
{
    const dt_conv_form *f = (const dt_conv_form *)p->node->attributes;
    const int64_t *of_x = x->shape.dim, *of_y = y->shape.dim;
    dt_convolution c = {kind, of_x[0], of_x[1], of_x[2], of_x[3], of_y[1], of_y[2], of_y[3], f->groups};
    for (int i = 0; i < 2; i++) {
        c.kernel[i] = weight->shape.dim[2 + i];
        c.stride[i] = f->stride[i];
        c.padding[i] = f->padding[i];
        c.dilation[i] = f->dilation[i];
    }
    c.from = c.to = p->node->input[0]->dtype;
    c.tf32 = p->precision == DT_TF32;
    return c;
}

/* The convolution as one product, with y [pixels, out], x [pixels, in] and weight [out, in]; false: it is none. */
bool product_of(const dt_convolution *c, dt_product *p)
{
    for (int i = 0; i < 2; i++)
        if (c->kernel[i] > 1 || c->stride[i] > 1 || c->padding[i])
            return false;
    const int64_t pixels = c->batch * c->height * c->width;
    *p = {};
    p->in = p->out = c->from;
    p->tf32 = c->tf32;
    p->scale = 1;
    if (c->kind == DT_DNN_FORWARD)
        p->rows = pixels, p->columns = c->out, p->depth = c->in, p->transpose_b = true;
    else if (c->kind == DT_DNN_INPUT_GRAD)
        p->rows = pixels, p->columns = c->in, p->depth = c->out;
    else
        p->rows = c->out, p->columns = c->in, p->depth = pixels, p->transpose_a = true, p->out = DT_F32;
    return c->groups == 1;
}

/* The same for patches [pixels of y, in, kh, kw] in x's place: the weight [out, in, kh, kw] is met as it is. A kernel does not
 * overlap with its neighbour's where it steps by its own size, or has no neighbour. */
bool patches_product_of(const dt_convolution *c, dt_product *p)
{
    const int64_t y_length[2] = {c->y_height, c->y_width}, length[2] = {c->height, c->width}, most = 1 << 30;
    for (int i = 0; i < 2; i++) {
        if (c->padding[i] || (c->dilation[i] > 1 && c->kernel[i] > 1) || (c->stride[i] != c->kernel[i] && y_length[i] > 1))
            return false;
        if (length[i] > most)
            return false;
    }
    if (c->groups > 1 || c->kernel[0] * c->kernel[1] > most)
        return false;
    dt_convolution flat = *c; /* one pixel for each patch, with the patch's numbers as channels */
    flat.height = c->y_height;
    flat.width = c->y_width;
    flat.in = c->in * c->kernel[0] * c->kernel[1];
    for (int i = 0; i < 2; i++)
        flat.kernel[i] = flat.stride[i] = flat.dilation[i] = 1;
    return product_of(&flat, p);
}

/* The libraries' plans, and the workspace. False: none is there, for which refusal gives the reason. */
bool settle(convolution *c, dt_dtype weight, size_t *workspace, char *refusal)
{
    const dt_convolution *form = &c->form;
    dt_product product;
    matrices room = {};
    if (product_of(form, &product))
        c->product = dt_blas_new(&product, refusal);
    else if ((c->patches = patches_product_of(form, &product)))
        c->product = dt_blas_new(&product, refusal);
    if (!c->product)
        c->library = dt_dnn_new(form, refusal);
    if (c->library)
        room = weights_of(form);
    else if (c->product && c->patches)
        room = patches_of(form);
    c->reorder = (room.channels > 1 && room.area > 1) || weight != form->from;
    c->start = dt_room((size_t)(room.count * room.channels * room.area) * dt_dtype_size(form->from));
    *workspace = c->start + (c->product ? dt_blas_workspace(c->product) : c->library ? dt_dnn_workspace(c->library) : 0);
    return c->product || c->library;
}

/* cuDNN gives a weight gradient in the type of its inputs, and it is wanted in float32. */
bool prepare(dt_preparation *p, dt_dnn_kind kind, const dt_tensor *x, const dt_tensor *weight, const dt_tensor *y)
{
    convolution *c = new (std::nothrow) convolution();
    if (!c) {
        snprintf(p->message, sizeof p->message, "out of memory while planning");
        return false;
    }
    char refusal[DT_MESSAGE] = "", note[2 * DT_MESSAGE];
    c->form = form_of(p, kind, x, weight, y);
    if (!settle(c, weight->dtype, &p->workspace, refusal)) {
        snprintf(note, sizeof note, "%s; own kernels, which are much slower", refusal);
        dt_cuda_note(p->node, note);
    }
    p->state = c;
    return true;
}

void release(void *state)
{
    convolution *c = (convolution *)state;
    if (c) {
        dt_blas_free(c->product);
        dt_dnn_free(c->library);
    }
    delete c;
}

/* As the library wants its operands; parameters, and what is seen of them, lie packed. */
constexpr size_t LIBRARY_BYTES = 16;

void run_product(const convolution *c, void *x, void *weight, void *y, const dt_call *call)
{
    void *workspace = (char *)call->workspace + c->start;
    if (c->form.kind == DT_DNN_FORWARD)
        dt_blas_run(c->product, x, weight, NULL, NULL, y, workspace, call);
    else if (c->form.kind == DT_DNN_INPUT_GRAD)
        dt_blas_run(c->product, y, weight, NULL, NULL, x, workspace, call);
    else
        dt_blas_run(c->product, y, x, NULL, NULL, weight, workspace, call);
}

template <class T> void run_patches(const convolution *c, void *x, void *weight, void *y, const dt_call *call)
{
    const dt_convolution *f = &c->form;
    const bool margin = f->y_height * f->kernel[0] < f->height || f->y_width * f->kernel[1] < f->width;
    if (f->kind != DT_DNN_INPUT_GRAD)
        transpose<true>(patches_of(f), places_of(f), (const T *)x, (T *)call->workspace);
    run_product(c, call->workspace, weight, y, call);
    if (f->kind != DT_DNN_INPUT_GRAD || call->fault[0])
        return;
    if (margin)
        cudaMemsetAsync(x, 0, sizeof(T) * (size_t)(f->batch * f->height * f->width * f->in), dt_cuda_stream());
    transpose<false>(patches_of(f), places_of(f), (const T *)call->workspace, (T *)x);
}

template <class T> void run_as(const convolution *c, void *x, void *weight, void *y, const dt_call *call)
{
    const dt_convolution *form = &c->form;
    if (c->library && !(dt_aligned(x, LIBRARY_BYTES) && dt_aligned(y, LIBRARY_BYTES)))
        dt_cuda_note(call->node, "a view that is not aligned to 16 bytes; own kernels, which are much slower");
    if (!c->library || !dt_aligned(x, LIBRARY_BYTES) || !dt_aligned(y, LIBRARY_BYTES)) {
        run_plain(*form, (const T *)x, (const T *)weight, (const T *)y, call->out[0]);
        return;
    }
    const int64_t area = form->kernel[0] * form->kernel[1];
    const bool apart = c->reorder || !dt_aligned(weight, LIBRARY_BYTES);
    void *ordered = apart ? call->workspace : weight;
    if (apart && form->kind != DT_DNN_WEIGHT_GRAD)
        transpose<false>(weights_of(form), packed{area}, (const T *)weight, (T *)ordered);
    dt_dnn_run(c->library, x, ordered, y, (char *)call->workspace + c->start, call);
    if (apart && form->kind == DT_DNN_WEIGHT_GRAD)
        transpose<true>(weights_of(form), packed{area}, (const T *)ordered, (float *)weight);
}

void run(const dt_call *call, void *x, void *weight, void *y)
{
    const convolution *c = (const convolution *)call->state;
    dt_by_type(c->form.from, [&](auto zero) {
        if (c->product && c->patches)
            run_patches<decltype(zero)>(c, x, weight, y, call);
        else if (c->product)
            run_product(c, x, weight, y, call);
        else
            run_as<decltype(zero)>(c, x, weight, y, call);
    });
    dt_cuda_check(call, call->node->op->name);
}

bool prepare_conv(dt_preparation *p)
{
    return prepare(p, DT_DNN_FORWARD, p->node->input[0], p->node->input[1], &p->node->output[0]);
}

bool prepare_input_grad(dt_preparation *p)
{
    return prepare(p, DT_DNN_INPUT_GRAD, &p->node->output[0], p->node->input[1], p->node->input[0]);
}

bool prepare_weight_grad(dt_preparation *p)
{
    return prepare(p, DT_DNN_WEIGHT_GRAD, p->node->input[0], &p->node->output[0], p->node->input[1]);
}

void run_conv(const dt_call *call)
{
    run(call, call->in[0], call->in[1], call->out[0]);
}

void run_input_grad(const dt_call *call)
{
    run(call, call->out[0], call->in[1], call->in[0]);
}

void run_weight_grad(const dt_call *call)
{
    run(call, call->in[0], call->out[0], call->in[1]);
}

} // namespace

const dt_kernel dt_cuda_conv[] = {
    {&dt_op_conv, run_conv, prepare_conv, release, DT_NARROW_PRODUCT_SAME, 3, 1},
    {&dt_op_conv_input_grad, run_input_grad, prepare_input_grad, release, DT_NARROW_PRODUCT_SAME, 3, 1},
    {&dt_op_conv_weight_grad, run_weight_grad, prepare_weight_grad, release, DT_NARROW_PRODUCT, 3, 0},
    {}};
