/* Reading vision_cfg: which tower it describes, and its sizes. */
#include "eval/config_fields.h"

#include <string.h>

typedef struct source {
    const char *file, *path; /* for messages */
    bool quick_gelu;
} source;

static bool read_ints(const json_t *array, const source *from, const char *key, int most, int *values, int *count,
                      dt_error *error)
{
    return dt_config_ints(array, from->file, from->path, key, most, values, DT_RESNET_STAGES, count, error);
}

enum { WIDTH_MOST = 65536, BLOCKS_MOST = 1024, SIZE_MOST = 8192 };

/* ---- Transformers ---- */

static bool settle_vit(const dt_transformer_fields *f, const source *from, const char *pool, dt_vit_config *v, dt_error *error)
{
    if (v->patch_size > v->image_size)
        return dt_fail(error, "%s: %s: a patch of %d pixels does not fit into an image of %d", from->file, from->path,
                       v->patch_size, v->image_size);
    v->pool = !strcmp(pool, "tok") ? DT_POOL_CLASS : !strcmp(pool, "avg") ? DT_POOL_MEAN : DT_POOL_PROBE;
    return dt_transformer_settle(f, from->quick_gelu, false, from->file, from->path, &v->transformer, error);
}

/* The fields of open_clip's own ViT, for CLIP's and SigLIP's kinds alike; what is absent is as open_clip has it. */
static bool read_transformer(const json_t *json, const source *from, const char *pools, dt_transformer_fields f,
                             const char *pool, dt_vit_config *v, dt_error *error)
{
    v->image_size = 224;
    v->patch_size = 16;
    const dt_json_field fields[] = {
        {"tower", DT_JSON_STRING, NULL, .required = false},
        {"image_size", DT_JSON_INT, &v->image_size, .least = 1, .most = SIZE_MOST},
        {"patch_size", DT_JSON_INT, &v->patch_size, .least = 1, .most = SIZE_MOST},
        {"width", DT_JSON_INT, &f.width, .least = 1, .most = WIDTH_MOST},
        {"layers", DT_JSON_INT, &f.layers, .least = 1, .most = BLOCKS_MOST},
        {"heads", DT_JSON_INT, &f.heads, .least = 1, .most = WIDTH_MOST},
        {"head_width", DT_JSON_INT, &f.head_width, .least = 1, .most = WIDTH_MOST},
        {"mlp_ratio", DT_JSON_DOUBLE, &f.mlp_ratio, .least = 0.01, .most = 64},
        {"pool_type", DT_JSON_STRING, &pool, .choices = pools},
        {"no_ln_pre", DT_JSON_BOOL, &v->no_norm_before, .required = false},
        {"final_ln_after_pool", DT_JSON_BOOL, &v->norm_after_pool, .required = false},
        {"act_kwargs", DT_JSON_OBJECT, &f.act_kwargs, .required = false},
        {"norm_kwargs", DT_JSON_OBJECT, &f.norm_kwargs, .required = false},
    };
    return dt_json_read(json, from->file, from->path, fields, sizeof fields / sizeof *fields, error) &&
           settle_vit(&f, from, pool, v, error);
}

static const dt_transformer_fields defaults = {.width = 768, .layers = 12, .head_width = 64, .mlp_ratio = 4, .norm_eps = 1e-5};

static bool read_vit(const json_t *json, const source *from, dt_clip_config *c, dt_error *error)
{
    c->vision = DT_VISION_VIT;
    return read_transformer(json, from, "tok|avg", defaults, "tok", &c->vit, error);
}

static void make_siglip(dt_clip_config *c)
{
    c->vision = DT_VISION_VIT;
    c->image_projection = DT_PROJECT_NONE;
    c->vit = (dt_vit_config){.no_class_token = true, .patch_bias = true, .no_norm_before = true};
}

/* The same fields for a tower of SigLIP's, of any size. */
static bool read_siglip(const json_t *json, const source *from, dt_clip_config *c, dt_error *error)
{
    dt_transformer_fields f = defaults;
    f.norm_eps = 1e-6;
    make_siglip(c);
    return read_transformer(json, from, "map|avg", f, "map", &c->vit, error);
}

/* SigLIP's towers as open_clip names them, after timm. SigLIP 2 and the later ones were converted with GELU's tanh form, which
 * all were trained with; the first ones with the other. */
static const struct {
    const char *name;
    int image_size, patch_size, width, layers, heads;
    double mlp_ratio;
    bool tanh;
} timm[] = {
    {"vit_base_patch32_siglip_256", 256, 32, 768, 12, 12, 4, true},
    {"vit_base_patch16_siglip_224", 224, 16, 768, 12, 12, 4, false},
    {"vit_base_patch16_siglip_256", 256, 16, 768, 12, 12, 4, false},
    {"vit_base_patch16_siglip_384", 384, 16, 768, 12, 12, 4, false},
    {"vit_base_patch16_siglip_512", 512, 16, 768, 12, 12, 4, false},
    {"vit_large_patch16_siglip_256", 256, 16, 1024, 24, 16, 4, false},
    {"vit_large_patch16_siglip_384", 384, 16, 1024, 24, 16, 4, false},
    {"vit_large_patch16_siglip_512", 512, 16, 1024, 24, 16, 4, true},
    {"vit_so400m_patch14_siglip_224", 224, 14, 1152, 27, 16, 3.7362, false},
    {"vit_so400m_patch14_siglip_378", 378, 14, 1152, 27, 16, 3.7362, true},
    {"vit_so400m_patch14_siglip_384", 384, 14, 1152, 27, 16, 3.7362, false},
    {"vit_so400m_patch16_siglip_256", 256, 16, 1152, 27, 16, 3.7362, true},
    {"vit_so400m_patch16_siglip_384", 384, 16, 1152, 27, 16, 3.7362, true},
    {"vit_so400m_patch16_siglip_512", 512, 16, 1152, 27, 16, 3.7362, true},
    {"vit_giantopt_patch16_siglip_256", 256, 16, 1536, 40, 16, 4, true},
    {"vit_giantopt_patch16_siglip_384", 384, 16, 1536, 40, 16, 4, true},
};

enum { TIMM = sizeof timm / sizeof *timm };

static size_t find_timm(const char *name) /* TIMM: none */
{
    size_t i = 0;
    while (i < TIMM && strcmp(timm[i].name, name))
        i++;
    return i;
}

/* A name is known to be in the table. */
static bool read_timm(const json_t *json, const source *from, dt_clip_config *c, dt_error *error)
{
    const char *name = NULL;
    int image_size = 0;
    const dt_json_field fields[] = {
        {"timm_model_name", DT_JSON_STRING, &name, .required = true},
        {"timm_pool", DT_JSON_STRING, NULL, .required = true, .choices = "map"},
        {"timm_proj", DT_JSON_STRING, NULL, .required = true, .choices = "none"},
        {"image_size", DT_JSON_INT, &image_size, .least = 1, .most = SIZE_MOST},
    };
    if (!dt_json_read(json, from->file, from->path, fields, sizeof fields / sizeof *fields, error))
        return false;
    size_t i = find_timm(name);
    if (image_size && image_size != timm[i].image_size)
        return dt_fail(error, "%s: %s.image_size: %d, but %s is for images of %d", from->file, from->path, image_size, name,
                       timm[i].image_size);
    const source plain = {from->file, from->path, false}; /* timm's towers do not know QuickGELU */
    const dt_transformer_fields f = {.width = timm[i].width, .layers = timm[i].layers, .heads = timm[i].heads,
                                     .mlp_ratio = timm[i].mlp_ratio, .norm_eps = 1e-6};
    make_siglip(c);
    c->vit.image_size = timm[i].image_size;
    c->vit.patch_size = timm[i].patch_size;
    if (!settle_vit(&f, &plain, "map", &c->vit, error))
        return false;
    c->vit.transformer.activation = timm[i].tanh ? DT_ACT_GELU_TANH : DT_ACT_GELU;
    return true;
}

/* ---- Residual networks ---- */

static void double_widths(dt_resnet_config *r, int width)
{
    for (int i = 0; i < r->stages; i++)
        r->widths[i] = width << i;
}

/* CLIP's, which open_clip knows by its list of layers. */
static bool read_modified_resnet(const json_t *json, const source *from, dt_clip_config *c, dt_error *error)
{
    const json_t *layers = NULL;
    int width = 64, heads = 0, head_width = 64;
    dt_resnet_config *r = &c->resnet;
    *r = (dt_resnet_config){.image_size = 224, .stem = DT_STEM_DEEP, .bottleneck = true, .antialiased = true,
                            .embed_dim = c->embed_dim};
    const dt_json_field fields[] = {
        {"tower", DT_JSON_STRING, NULL, .required = false},
        {"image_size", DT_JSON_INT, &r->image_size, .least = 1, .most = SIZE_MOST},
        {"layers", DT_JSON_ARRAY, &layers, .required = true},
        {"width", DT_JSON_INT, &width, .least = 2, .most = 4096},
        {"heads", DT_JSON_INT, &heads, .least = 1, .most = WIDTH_MOST},
        {"head_width", DT_JSON_INT, &head_width, .least = 1, .most = WIDTH_MOST},
        {"patch_size", DT_JSON_INT, NULL, .required = false}, /* null in open_clip's, or without effect */
        {"mlp_ratio", DT_JSON_DOUBLE, NULL, .required = false},
    };
    c->vision = DT_VISION_RESIDUAL;
    c->image_projection = DT_PROJECT_NONE;
    if (!dt_json_read(json, from->file, from->path, fields, sizeof fields / sizeof *fields, error) ||
        !read_ints(layers, from, "layers", BLOCKS_MOST, r->blocks, &r->stages, error))
        return false;
    int features = 32 * width;
    r->heads = heads ? heads : features / head_width;
    double_widths(r, width);
    if (r->stages != 4 || width % 2)
        return dt_fail(error, "%s: %s: expected four numbers of layers and an even width, found %d and %d", from->file,
                       from->path, r->stages, width);
    if (!r->heads || features % r->heads)
        return dt_fail(error, "%s: %s: the %d features that are pooled are not a multiple of the %d heads", from->file,
                       from->path, features, r->heads);
    return c->embed_dim ||
           dt_fail(error, "%s: embed_dim is missing: the features that the attention pool ends with", from->file);
}

static bool read_resnet(const json_t *json, const source *from, dt_clip_config *c, dt_error *error)
{
    const json_t *layers = NULL;
    const char *block = "bottleneck";
    int width = 64;
    dt_resnet_config *r = &c->resnet;
    *r = (dt_resnet_config){.image_size = 224, .stem = DT_STEM_LARGE};
    const dt_json_field fields[] = {
        {"tower", DT_JSON_STRING, NULL, .required = true},
        {"image_size", DT_JSON_INT, &r->image_size, .least = 1, .most = SIZE_MOST},
        {"layers", DT_JSON_ARRAY, &layers, .required = true},
        {"block", DT_JSON_STRING, &block, .choices = "basic|bottleneck"},
        {"width", DT_JSON_INT, &width, .least = 1, .most = 4096},
    };
    c->vision = DT_VISION_RESIDUAL;
    if (!dt_json_read(json, from->file, from->path, fields, sizeof fields / sizeof *fields, error) ||
        !read_ints(layers, from, "layers", BLOCKS_MOST, r->blocks, &r->stages, error))
        return false;
    r->bottleneck = !strcmp(block, "bottleneck");
    double_widths(r, width);
    return true;
}

static bool read_residual(const json_t *json, const source *from, dt_clip_config *c, dt_error *error)
{
    const json_t *widths = NULL, *blocks = NULL;
    int block_count;
    dt_resnet_config *r = &c->resnet;
    *r = (dt_resnet_config){.stem = DT_STEM_SMALL, .stem_stride = 1};
    const dt_json_field fields[] = {
        {"tower", DT_JSON_STRING, NULL, .required = true},
        {"image_size", DT_JSON_INT, &r->image_size, .required = true, .least = 1, .most = SIZE_MOST},
        {"widths", DT_JSON_ARRAY, &widths, .required = true},
        {"blocks", DT_JSON_ARRAY, &blocks, .required = true},
        {"stem_stride", DT_JSON_INT, &r->stem_stride, .least = 1, .most = 2},
    };
    c->vision = DT_VISION_RESIDUAL;
    if (!dt_json_read(json, from->file, from->path, fields, sizeof fields / sizeof *fields, error) ||
        !read_ints(widths, from, "widths", WIDTH_MOST, r->widths, &r->stages, error) ||
        !read_ints(blocks, from, "blocks", BLOCKS_MOST, r->blocks, &block_count, error))
        return false;
    return r->stages == block_count || dt_fail(error, "%s: %s: %d widths, but %d numbers of blocks", from->file, from->path,
                                               r->stages, block_count);
}

/* ---- */

static bool read_pixels(const json_t *json, const source *from, dt_clip_config *c, dt_error *error)
{
    const dt_json_field fields[] = {
        {"tower", DT_JSON_STRING, NULL, .required = true},
        {"image_size", DT_JSON_INT, &c->pixels, .required = true, .least = 1, .most = SIZE_MOST},
    };
    c->vision = DT_VISION_PIXELS;
    return dt_json_read(json, from->file, from->path, fields, sizeof fields / sizeof *fields, error);
}

static bool read_vae(const json_t *json, const source *from, dt_clip_config *c, dt_error *error)
{
    c->vision = DT_VISION_VAE;
    return dt_vae_fields(json, from->file, from->path, &c->vae, error);
}

static bool read_gan(const json_t *json, const source *from, dt_clip_config *c, dt_error *error)
{
    c->vision = DT_VISION_GAN;
    return dt_gan_fields(json, from->file, from->path, &c->gan, error);
}

typedef bool reader(const json_t *json, const source *from, dt_clip_config *c, dt_error *error);

static const struct {
    const char *name;
    reader *read;
} towers[] = {
    {"vit", read_vit}, {"siglip", read_siglip}, {"modified_resnet", read_modified_resnet}, {"resnet", read_resnet},
    {"residual", read_residual}, {"pixels", read_pixels}, {"vae", read_vae}, {"gan", read_gan},
};

/* By "tower"; without it, by the fields that open_clip goes by. NULL: no such tower. */
static reader *reader_of(const json_t *json, const source *from, dt_error *error)
{
    const json_t *tower = json_object_get(json, "tower");
    const json_t *timm_name = json_object_get(json, "timm_model_name");
    const char *name = json_string_value(timm_name);
    char names[128] = "";
    if (!tower || json_is_null(tower)) {
        if (!timm_name || json_is_null(timm_name))
            return json_is_array(json_object_get(json, "layers")) ? read_modified_resnet : read_vit;
        if (!name || find_timm(name) < TIMM) /* what is no string is refused there */
            return read_timm;
        dt_fail(error, "%s: %s.timm_model_name: \"%.100s\" is not supported; of timm's towers there are SigLIP's, such as %s",
                from->file, from->path, name, timm[1].name);
        return NULL;
    }
    for (size_t i = 0; i < sizeof towers / sizeof *towers; i++) {
        if (json_is_string(tower) && !strcmp(towers[i].name, json_string_value(tower)))
            return towers[i].read;
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? "|" : "", towers[i].name);
    }
    const char *found = json_is_string(tower) ? json_string_value(tower) : dt_json_kind_name(tower);
    dt_fail(error, "%s: %s.tower: expected one of %s, found \"%.100s\"", from->file, from->path, names, found);
    return NULL;
}

/* Where a tower ends in the common space without a projection, that space has its width. */
static bool fits(const dt_clip_config *c, const source *from, dt_error *error)
{
    int width = c->vit.transformer.width;
    bool bound = c->vision == DT_VISION_VIT && c->image_projection == DT_PROJECT_NONE && c->embed_dim;
    return !bound || width == c->embed_dim ||
           dt_fail(error, "%s: embed_dim is %d, but %s.width is %d, and this tower has no projection", from->file, c->embed_dim,
                   from->path, width);
}

bool dt_vision_config(const json_t *json, const char *file, const char *path, bool quick_gelu, dt_clip_config *c,
                      dt_error *error)
{
    const source from = {file, path, quick_gelu};
    reader *read = reader_of(json, &from, error);
    json_t *own = read ? dt_own_fields(json, DT_OF_VISION, file, path, error) : NULL;
    bool good = own && read(own, &from, c, error) && fits(c, &from, error);
    json_decref(own);
    return good;
}
