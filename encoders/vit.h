/* The vision transformer (Dosovitskiy et al., 2021): as CLIP has it, with a norm before the blocks, no bias in the patch
 * embedding, and the class token read out; and as SigLIP has it (Zhai et al., 2023), without class token and norm before the
 * blocks, with a bias, and read out by a probe. */
#ifndef DUET_ENCODERS_VIT_H
#define DUET_ENCODERS_VIT_H

#include "encoders/transformer.h"

typedef enum {
    DT_POOL_CLASS, /* the class token */
    DT_POOL_MEAN,  /* the mean of the patches; a class token is left out */
    DT_POOL_PROBE, /* a probe's question to all (attention_pool.h) */
} dt_vit_pool;

typedef struct dt_vit_config {
    int image_size, patch_size; /* pixels; a rest below one patch is dropped */
    dt_transformer_config transformer;
    dt_vit_pool pool;
    bool no_class_token, patch_bias;
    bool no_norm_before;  /* no ln_pre */
    bool norm_after_pool; /* ln_post after the mean instead of before; without effect on the class token */
} dt_vit_config;

/* images [n, size, size, 3], normalised -> features [n, width], before the projection. Parameters:
 * SCOPE.{conv1, class_embedding, positional_embedding, ln_pre, transformer, ln_post, attn_pool}, as far as they are there.
 *
 * The names of a SigLIP tower elsewhere (Q, K, V: parts of width rows each, one after the other in ours):
 *
 *   here, below visual.               open_clip, below visual.trunk. (timm)   Hugging Face, below vision_model.
 *   conv1.{weight, bias}              patch_embed.proj                        embeddings.patch_embedding
 *   positional_embedding [t, w]       pos_embed [1, t, w]                     embeddings.position_embedding.weight
 *   transformer.resblocks.I.          blocks.I.                               encoder.layers.I.
 *     ln_1, ln_2                        norm1, norm2                            layer_norm1, layer_norm2
 *     attn.in_proj_{weight, bias}       attn.qkv                                self_attn.{q_proj, k_proj, v_proj}
 *     attn.out_proj                     attn.proj                               self_attn.out_proj
 *     mlp.{c_fc, c_proj}                mlp.{fc1, fc2}                          mlp.{fc1, fc2}
 *   ln_post                           norm                                    post_layernorm
 *   attn_pool.probe [1, 1, w]         attn_pool.latent [1, 1, w]              head.probe [1, 1, w]
 *   attn_pool.attn.in_proj_{weight,   attn_pool.q (Q) and attn_pool.kv        head.attention.in_proj_{weight, bias}
 *     bias}                             (K, V)
 *   attn_pool.attn.out_proj           attn_pool.proj                          head.attention.out_proj
 *   attn_pool.ln                      attn_pool.norm                          head.layernorm
 *   attn_pool.mlp.{c_fc, c_proj}      attn_pool.mlp.{fc1, fc2}                head.mlp.{fc1, fc2} */
dt_tensor *dt_vit(dt_scope scope, const dt_vit_config *config, dt_tensor *images);

#endif
