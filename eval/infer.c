#include "eval/infer.h"

#include "eval/positions.h"

#include <stdio.h>
#include <string.h>

/* Axis `axis` of a tensor of that rank; 0: it is not there, or of another kind. */
static json_int_t side(const dt_weights *w, const char *name, int rank, int axis)
{
    int i = dt_weights_find(w, name);
    const dt_st_tensor *t = i < 0 ? NULL : dt_weights_at(w, (size_t)i);
    return t && t->rank == rank && t->shape[axis] > 0 && t->shape[axis] < 1 << 24 ? t->shape[axis] : 0;
}

/* How many blocks there are: the least number of which there is no tensor `format`. */
static int blocks(const dt_weights *w, const char *format)
{
    char name[128];
    for (int i = 0;; i++) {
        snprintf(name, sizeof name, "%.*s%d%s", (int)strcspn(format, "*"), format, i, strchr(format, '*') + 1);
        if (dt_weights_find(w, name) < 0)
            return i;
    }
}

/* The side of the grid of positions in a tensor that has one more row; 0: none. */
static int grid(const dt_weights *w, const char *name)
{
    int before, found = dt_position_grid(side(w, name, 2, 0), &before);
    return before == 1 ? found : 0;
}

static json_t *infer_vit(const dt_weights *w)
{
    json_int_t patch = side(w, "visual.conv1.weight", 4, 3);
    return json_pack("{s:I, s:i, s:I, s:I}", "image_size", patch * grid(w, "visual.positional_embedding"), "layers",
                     blocks(w, "visual.transformer.resblocks.*.attn.in_proj_weight"), "width",
                     side(w, "visual.conv1.weight", 4, 0), "patch_size", patch);
}

static json_t *infer_resnet(const dt_weights *w)
{
    enum { REDUCTION = 32 }; /* from the image to what is pooled */
    return json_pack("{s:i, s:[i,i,i,i], s:I}", "image_size", REDUCTION * grid(w, "visual.attnpool.positional_embedding"),
                     "layers", blocks(w, "visual.layer1.*.conv1.weight"), blocks(w, "visual.layer2.*.conv1.weight"),
                     blocks(w, "visual.layer3.*.conv1.weight"), blocks(w, "visual.layer4.*.conv1.weight"), "width",
                     side(w, "visual.layer1.0.conv1.weight", 4, 0));
}

json_t *dt_infer_description(const dt_weights *w, dt_error *error)
{
    static const char *const needed[] = {"text_projection", "positional_embedding", "token_embedding.weight",
                                         "ln_final.weight"};
    bool vit = dt_weights_find(w, "visual.proj") >= 0;
    for (size_t i = 0; i <= sizeof needed / sizeof *needed; i++) {
        const char *name = i ? needed[i - 1] : vit ? "visual.conv1.weight" : "visual.layer1.0.conv1.weight";
        if (dt_weights_find(w, name) < 0) {
            dt_fail(error, "%s: Duet did not write it, nothing beside it describes a model, and none can be inferred without a "
                           "tensor \"%s\"", dt_weights_path(w), name);
            return NULL;
        }
    }
    json_int_t width = side(w, "ln_final.weight", 1, 0);
    json_t *text = json_pack("{s:I, s:I, s:I, s:I, s:i}", "context_length", side(w, "positional_embedding", 2, 0), "vocab_size",
                             side(w, "token_embedding.weight", 2, 0), "width", width, "heads",
                             (json_int_t)(width < 64 ? 1 : width / 64), "layers",
                             blocks(w, "transformer.resblocks.*.attn.in_proj_weight"));
    json_t *json = json_pack("{s:I, s:b, s:o, s:o}", "embed_dim", side(w, "text_projection", 2, 1), "quick_gelu", 1,
                             "vision_cfg", vit ? infer_vit(w) : infer_resnet(w), "text_cfg", text);
    if (!json)
        dt_fail(error, "out of memory");
    return json;
}
