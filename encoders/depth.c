#include "encoders/depth.h"

#include <stdio.h>
#include <string.h>

int dt_tower_blocks(const dt_clip_config *c, dt_tower tower)
{
    if (tower == DT_TOWER_TEXT)
        return c->text.transformer.layers;
    if (c->vision == DT_VISION_VIT)
        return c->vit.transformer.layers;
    int blocks = 0;
    for (int i = 0; c->vision == DT_VISION_RESIDUAL && i < c->resnet.stages; i++)
        blocks += c->resnet.blocks[i];
    return blocks;
}

/* The block that a name within the tower belongs to, from 1; 0: none. */
static int block_of(const dt_clip_config *c, dt_tower tower, const char *name)
{
    int stage = 0, block = 0, before = 0;
    if (tower == DT_TOWER_IMAGE && c->vision == DT_VISION_RESIDUAL) {
        if (sscanf(name, "layer%d.%d.", &stage, &block) != 2)
            return 0;
        for (int i = 0; i < stage - 1; i++)
            before += c->resnet.blocks[i];
        return before + block + 1;
    }
    return sscanf(name, "transformer.resblocks.%d.", &block) == 1 ? block + 1 : 0;
}

static bool begins(const char *name, const char *with)
{
    return !strncmp(name, with, strlen(with));
}

static bool ends_tower(const char *name)
{
    static const char *const ends[] = {"ln_final.", "ln_post.", "attnpool.", "attn_pool."};
    bool found = false;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        found = found || begins(name, ends[i]);
    return found;
}

int dt_param_depth(const dt_clip_config *c, const dt_head_config *head, const char *name)
{
    bool own = begins(name, "encoder.") || begins(name, "discriminator."); /* a VAE's or GAN's, not cut into blocks */
    bool text = head->tower == DT_TOWER_TEXT, visual = own || begins(name, "visual.");
    int blocks = dt_tower_blocks(c, head->tower);
    if (begins(name, "head."))
        return blocks + 2;
    if (visual == text || begins(name, "logit_"))
        return -1;
    if (own)
        return 0;
    name += visual ? strlen("visual.") : 0;
    if (begins(name, text ? "text_projection" : "proj"))
        return head->on_embedding ? blocks + 1 : -1;
    return ends_tower(name) ? blocks + 1 : block_of(c, head->tower, name);
}
