#include "kernels/cpu/onednn.h"

#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <stdlib.h>

void dt_onednn_version(int *major, int *minor, int *patch)
{
    const dnnl_version_t *version = dnnl_version();
    *major = version->major, *minor = version->minor, *patch = version->patch;
}

bool dt_sgemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
              const float *b, int64_t ldb, float beta, float *c, int64_t ldc)
{
    return dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, alpha, a, lda, b, ldb, beta, c, ldc) ==
           dnnl_success;
}

enum { X, WEIGHT, Y, TENSORS };

/* A tensor. The library may want the weight in another layout than ours: a reorder then stands between. */
typedef struct slot {
    dnnl_memory_t ours, theirs; /* `ours` is NULL where the layouts are the same */
    dnnl_primitive_t reorder;
    size_t offset; /* of `theirs` in the workspace, when reordered */
} slot;

struct dt_onednn_conv {
    dt_onednn_kind kind;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t primitive;
    dnnl_memory_t scratch;
    slot slot[TENSORS];
    size_t scratch_offset, workspace;
};

/* A memory layout, and the window of a convolution as the library counts it (dilation 0 is none). */
typedef struct layout {
    dnnl_memory_desc_t desc;
} layout;

typedef struct window {
    dnnl_dims_t stride, dilation, padding;
} window;

/* ---- What differs between the versions ---- */

#if DNNL_VERSION_MAJOR < 3

typedef const dnnl_memory_desc_t *layout_ref;

static layout_ref ref(const layout *l)
{
    return &l->desc;
}

static bool layout_make(layout *l, int rank, const dnnl_dims_t dims, dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_init_by_tag(&l->desc, rank, dims, dnnl_f32, tag) == dnnl_success;
}

static void layout_free(layout *l)
{
    (void)l; /* a plain value in this version */
}

static dnnl_status_t describe(dnnl_primitive_desc_t *pd, dt_onednn_kind kind, const layout l[TENSORS],
                              const window *w, dnnl_engine_t engine, const_dnnl_primitive_desc_t hint,
                              const_dnnl_primitive_attr_t attr)
{
    layout_ref x = ref(&l[X]), weight = ref(&l[WEIGHT]), y = ref(&l[Y]);
    dnnl_convolution_desc_t d;
    dnnl_status_t status;
    if (kind == DT_ONEDNN_FORWARD)
        status = dnnl_dilated_convolution_forward_desc_init(&d, dnnl_forward_training,
                                                            dnnl_convolution_direct, x, weight, NULL, y,
                                                            w->stride, w->dilation, w->padding, w->padding);
    else if (kind == DT_ONEDNN_INPUT_GRAD)
        status = dnnl_dilated_convolution_backward_data_desc_init(
            &d, dnnl_convolution_direct, x, weight, y, w->stride, w->dilation, w->padding, w->padding);
    else
        status = dnnl_dilated_convolution_backward_weights_desc_init(
            &d, dnnl_convolution_direct, x, weight, NULL, y, w->stride, w->dilation, w->padding, w->padding);
    return status == dnnl_success ? dnnl_primitive_desc_create(pd, &d, attr, engine, hint) : status;
}

#else

typedef const_dnnl_memory_desc_t layout_ref;

static layout_ref ref(const layout *l)
{
    return l->desc;
}

static bool layout_make(layout *l, int rank, const dnnl_dims_t dims, dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_create_with_tag(&l->desc, rank, dims, dnnl_f32, tag) == dnnl_success;
}

static void layout_free(layout *l)
{
    dnnl_memory_desc_destroy(l->desc);
}

static dnnl_status_t describe(dnnl_primitive_desc_t *pd, dt_onednn_kind kind, const layout l[TENSORS],
                              const window *w, dnnl_engine_t engine, const_dnnl_primitive_desc_t hint,
                              const_dnnl_primitive_attr_t attr)
{
    layout_ref x = ref(&l[X]), weight = ref(&l[WEIGHT]), y = ref(&l[Y]);
    if (kind == DT_ONEDNN_FORWARD)
        return dnnl_convolution_forward_primitive_desc_create(
            pd, engine, dnnl_forward_training, dnnl_convolution_direct, x, weight, NULL, y, w->stride,
            w->dilation, w->padding, w->padding, attr);
    if (kind == DT_ONEDNN_INPUT_GRAD)
        return dnnl_convolution_backward_data_primitive_desc_create(pd, engine, dnnl_convolution_direct, x,
                                                                    weight, y, w->stride, w->dilation,
                                                                    w->padding, w->padding, hint, attr);
    return dnnl_convolution_backward_weights_primitive_desc_create(pd, engine, dnnl_convolution_direct, x,
                                                                   weight, NULL, y, w->stride, w->dilation,
                                                                   w->padding, w->padding, hint, attr);
}

#endif

/* ---- Descriptions ---- */

static const dnnl_query_t kept_as[3][TENSORS] = {
    [DT_ONEDNN_FORWARD] = {dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md},
    [DT_ONEDNN_INPUT_GRAD] = {dnnl_query_diff_src_md, dnnl_query_weights_md, dnnl_query_diff_dst_md},
    [DT_ONEDNN_WEIGHT_GRAD] = {dnnl_query_src_md, dnnl_query_diff_weights_md, dnnl_query_diff_dst_md},
};
static const int argument[3][TENSORS] = {
    [DT_ONEDNN_FORWARD] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST},
    [DT_ONEDNN_INPUT_GRAD] = {DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_DST},
    [DT_ONEDNN_WEIGHT_GRAD] = {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST},
};
static const int result[3] = {
    [DT_ONEDNN_FORWARD] = Y, [DT_ONEDNN_INPUT_GRAD] = X, [DT_ONEDNN_WEIGHT_GRAD] = WEIGHT};

/* Of the three tensors: images channels-last; the weight plain, or as the library chooses. */
static bool make_layouts(layout l[TENSORS], const dt_onednn_sizes *s, bool choose)
{
    const dnnl_dims_t x = {s->batch, s->in, s->height, s->width};
    const dnnl_dims_t y = {s->batch, s->out, s->y_height, s->y_width};
    const int64_t g = s->groups, out = s->out, in = s->in, kh = s->kernel[0], kw = s->kernel[1];
    const dnnl_dims_t plain = {out, in, kh, kw}, grouped = {g, out / g, in / g, kh, kw};
    dnnl_format_tag_t tag = g > 1 ? dnnl_goihw : dnnl_oihw;
    if (choose)
        tag = dnnl_format_tag_any;
    return layout_make(&l[X], 4, x, dnnl_nhwc) && layout_make(&l[Y], 4, y, dnnl_nhwc) &&
           layout_make(&l[WEIGHT], g > 1 ? 5 : 4, g > 1 ? grouped : plain, tag);
}

static void free_layouts(layout l[TENSORS])
{
    for (int i = 0; i < TENSORS; i++)
        layout_free(&l[i]);
}

static dnnl_status_t choose_kernel(dnnl_primitive_desc_t *pd, const dt_onednn_conv *c,
                                   const dt_onednn_sizes *s, const layout l[TENSORS])
{
    window w;
    for (int i = 0; i < 2; i++)
        w.stride[i] = s->stride[i], w.dilation[i] = s->dilation[i] - 1, w.padding[i] = s->padding[i];
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t hint = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(&attr);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (status == dnnl_success && c->kind != DT_ONEDNN_FORWARD)
        status = describe(&hint, DT_ONEDNN_FORWARD, l, &w, c->engine, NULL, attr);
    if (status == dnnl_success)
        status = describe(pd, c->kind, l, &w, c->engine, hint, attr);
    dnnl_primitive_desc_destroy(hint);
    dnnl_primitive_attr_destroy(attr);
    return status;
}

/* ---- Building ---- */

static size_t reserve(dt_onednn_conv *c, size_t bytes)
{
    size_t offset = c->workspace;
    c->workspace += (bytes + 63) / 64 * 64;
    return offset;
}

/* The memory objects of tensor i, and the reorder between them when the layouts differ. */
static dnnl_status_t make_slot(dt_onednn_conv *c, int i, layout_ref ours, layout_ref theirs)
{
    slot *s = &c->slot[i];
    dnnl_status_t status = dnnl_memory_create(&s->theirs, theirs, c->engine, DNNL_MEMORY_NONE);
    if (status != dnnl_success || dnnl_memory_desc_equal(ours, theirs))
        return status;
    s->offset = reserve(c, dnnl_memory_desc_get_size(theirs));
    status = dnnl_memory_create(&s->ours, ours, c->engine, DNNL_MEMORY_NONE);
    if (status != dnnl_success)
        return status;
    dnnl_primitive_desc_t pd = NULL;
    const bool out = i == result[c->kind];
    status = dnnl_reorder_primitive_desc_create(&pd, out ? theirs : ours, c->engine, out ? ours : theirs,
                                                c->engine, NULL);
    if (status == dnnl_success)
        status = dnnl_primitive_create(&s->reorder, pd);
    dnnl_primitive_desc_destroy(pd);
    return status;
}

static dnnl_status_t build(dt_onednn_conv *c, const dt_onednn_sizes *sizes)
{
    layout asked[TENSORS] = {0}, ours[TENSORS] = {0};
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = dnnl_out_of_memory;
    if (make_layouts(asked, sizes, true) && make_layouts(ours, sizes, false))
        status = choose_kernel(&pd, c, sizes, asked);
    for (int i = 0; status == dnnl_success && i < TENSORS; i++)
        status = make_slot(c, i, ref(&ours[i]), dnnl_primitive_desc_query_md(pd, kept_as[c->kind][i], 0));
    if (status == dnnl_success) {
        layout_ref scratch = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
        c->scratch_offset = reserve(c, dnnl_memory_desc_get_size(scratch) + 1); /* never no memory at all */
        status = dnnl_memory_create(&c->scratch, scratch, c->engine, DNNL_MEMORY_NONE);
    }
    if (status == dnnl_success)
        status = dnnl_primitive_create(&c->primitive, pd);
    dnnl_primitive_desc_destroy(pd);
    free_layouts(asked);
    free_layouts(ours);
    return status;
}

static const char *reason(dnnl_status_t status)
{
    switch (status) {
    case dnnl_unimplemented:
        return "it has no kernel for this combination of sizes";
    case dnnl_invalid_arguments:
        return "it holds that the sizes do not fit together";
    case dnnl_out_of_memory:
        return "out of memory";
    default:
        return "internal error";
    }
}

dt_onednn_conv *dt_onednn_conv_new(dt_onednn_kind kind, const dt_onednn_sizes *sizes, char *message,
                                   size_t length)
{
    dt_onednn_conv *c = calloc(1, sizeof *c);
    if (!c) {
        snprintf(message, length, "out of memory while planning");
        return NULL;
    }
    c->kind = kind;
    if (dnnl_engine_create(&c->engine, dnnl_cpu, 0) != dnnl_success ||
        dnnl_stream_create(&c->stream, c->engine, dnnl_stream_default_flags) != dnnl_success) {
        snprintf(message, length, "oneDNN cannot use this CPU: is the library built for it?");
        dt_onednn_conv_free(c);
        return NULL;
    }
    dnnl_status_t status = build(c, sizes);
    if (status != dnnl_success) {
        snprintf(message, length, "oneDNN refuses: %s", reason(status));
        dt_onednn_conv_free(c);
        return NULL;
    }
    return c;
}

size_t dt_onednn_conv_workspace(const dt_onednn_conv *conv)
{
    return conv->workspace;
}

/* ---- Running ---- */

static bool reorder(dt_onednn_conv *c, const slot *s, dnnl_memory_t from, dnnl_memory_t to)
{
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    return dnnl_primitive_execute(s->reorder, c->stream, 2, arguments) == dnnl_success;
}

bool dt_onednn_conv_run(dt_onednn_conv *c, float *x, float *weight, float *y, void *workspace)
{
    float *const data[TENSORS] = {x, weight, y};
    const int out = result[c->kind];
    bool good =
        dnnl_memory_set_data_handle(c->scratch, (char *)workspace + c->scratch_offset) == dnnl_success;
    dnnl_exec_arg_t arguments[TENSORS + 1] = {{DNNL_ARG_SCRATCHPAD, c->scratch}};
    for (int i = 0; good && i < TENSORS; i++) {
        slot *s = &c->slot[i];
        void *theirs = s->ours ? (char *)workspace + s->offset : (void *)data[i];
        good = dnnl_memory_set_data_handle(s->theirs, theirs) == dnnl_success &&
               (!s->ours || dnnl_memory_set_data_handle(s->ours, data[i]) == dnnl_success);
        if (good && s->ours && i != out)
            good = reorder(c, s, s->ours, s->theirs);
        arguments[i + 1] = (dnnl_exec_arg_t){argument[c->kind][i], s->theirs};
    }
    good = good && dnnl_primitive_execute(c->primitive, c->stream, TENSORS + 1, arguments) == dnnl_success;
    if (good && c->slot[out].ours)
        good = reorder(c, &c->slot[out], c->slot[out].theirs, c->slot[out].ours);
    return dnnl_stream_wait(c->stream) == dnnl_success && good;
}

void dt_onednn_conv_free(dt_onednn_conv *c)
{
    if (!c)
        return;
    for (int i = 0; i < TENSORS; i++) {
        dnnl_primitive_destroy(c->slot[i].reorder);
        dnnl_memory_destroy(c->slot[i].ours);
        dnnl_memory_destroy(c->slot[i].theirs);
    }
    dnnl_memory_destroy(c->scratch);
    dnnl_primitive_destroy(c->primitive);
    dnnl_stream_destroy(c->stream);
    dnnl_engine_destroy(c->engine);
    free(c);
}
