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
    for (int i = 0; c->vision == DT_VISION_RESIDUAL && i < c->residual.stages; i++)
        blocks += c->residual.blocks[i];
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
            before += c->residual.blocks[i];
        return before + block + 1;
    }
    return sscanf(name, "transformer.resblocks.%d.", &block) == 1 ? block + 1 : 0;
}

int dt_param_depth(const dt_clip_config *c, dt_tower tower, const char *name)
{
    static const char *const last[] = {"proj", "ln_post.", "ln_final.", "text_projection"};
    int blocks = dt_tower_blocks(c, tower);
    if (!strncmp(name, "head.", 5))
        return blocks + 2;
    if (!strncmp(name, "logit_", 6) || !strncmp(name, "visual.", 7) != (tower == DT_TOWER_IMAGE))
        return -1;
    if (tower == DT_TOWER_IMAGE)
        name += strlen("visual.");
    for (size_t i = 0; i < sizeof last / sizeof *last; i++)
        if (!strncmp(name, last[i], strlen(last[i])))
            return blocks + 1;
    return block_of(c, tower, name);
}
