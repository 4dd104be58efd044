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

int dt_param_depth(const dt_clip_config *c, const dt_head_config *head, const char *name)
{
    bool text = head->tower == DT_TOWER_TEXT, visual = !strncmp(name, "visual.", 7);
    int blocks = dt_tower_blocks(c, head->tower);
    if (!strncmp(name, "head.", 5))
        return blocks + 2;
    if (visual == text || !strncmp(name, "logit_", 6))
        return -1;
    name += visual ? strlen("visual.") : 0;
    if (!strcmp(name, text ? "text_projection" : "proj"))
        return head->on_embedding ? blocks + 1 : -1;
    if (!strncmp(name, text ? "ln_final." : "ln_post.", text ? 9 : 8))
        return blocks + 1;
    return block_of(c, head->tower, name);
}
