#!/usr/bin/env python3
"""Makes the fixtures of tests/convert.c: tiny randomly initialised models, as transformers and open_clip save them, and what they
answer. Needs torch, transformers and open_clip_torch. Usage: make.py TOKENIZER.json, of 520 tokens (duet tokenizer train
--merges 6)."""
import json, math, os, sys
import torch
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel
import open_clip
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg, resize_pos_embed
from safetensors.torch import save_file

here = os.path.dirname(os.path.abspath(__file__))
torch.manual_seed(4)


def pixels(size):
    """Two images, the same numbers that the test makes."""
    i = torch.arange(2 * size * size * 3, dtype=torch.float64)
    return torch.sin(i * 0.37).float().reshape(2, size, size, 3).permute(0, 3, 1, 2)


TOKENS = torch.zeros(3, 16, dtype=torch.long)
for row, ids in enumerate([[518, 320, 300, 519], [518, 64, 330, 512, 513, 519], [518, 519]]):
    TOKENS[row, : len(ids)] = torch.tensor(ids)


def roughen(model):
    """Norms and biases are ones and zeros at first: then a mistake in them would not show."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.add_(torch.randn_like(p) * 0.1 if p.ndim < 2 and p.numel() > 1 else 0)
        for name, b in model.named_buffers():
            if b.is_floating_point() and ("running_mean" in name or "running_var" in name):
                b.add_(torch.rand_like(b) * 0.3)
    return model.eval()


def write_expected(name, images, texts):
    unit = lambda x: torch.nn.functional.normalize(getattr(x, "pooler_output", x), dim=-1).contiguous()
    save_file({"images": unit(images), "texts": unit(texts)}, os.path.join(here, name))


def hf(name, model, **how):
    model = roughen(model)
    model.save_pretrained(os.path.join(here, name), **how)
    with torch.no_grad():
        write_expected(name + "/expected.safetensors", model.get_image_features(pixel_values=pixels(32)),
                       model.get_text_features(input_ids=TOKENS))


def write_json(name, value):
    with open(os.path.join(here, name), "w") as file:
        json.dump(value, file, indent=1)


def tokenizer_files(folder):
    tokenizer = json.load(open(sys.argv[1]))["model"]
    write_json(folder + "/vocab.json", tokenizer["vocab"])
    with open(os.path.join(here, folder, "merges.txt"), "w") as file:
        file.write("#version: 0.2\n" + "".join((m if isinstance(m, str) else " ".join(m)) + "\n" for m in tokenizer["merges"]))


tower = dict(hidden_size=16, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2)
words = dict(tower, vocab_size=520, max_position_embeddings=16, bos_token_id=518, eos_token_id=519, pad_token_id=519)
look = dict(tower, image_size=32, patch_size=8)

hf("hf-clip", CLIPModel(CLIPConfig(text_config=dict(words, hidden_act="gelu"), vision_config=dict(look, hidden_act="gelu", layer_norm_eps=1e-6),
                                   projection_dim=12)))
tokenizer_files("hf-clip")
write_json("hf-clip/preprocessor_config.json", {
    "crop_size": 32, "do_center_crop": True, "do_normalize": True, "do_resize": True, "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4], "resample": 2, "size": {"shortest_edge": 40}})
hf("hf-siglip", SiglipModel(SiglipConfig(text_config=words, vision_config=look)), max_shard_size="60KB")

# OpenAI's own: half precision, in PyTorch's format, without a description.
vit = roughen(CLIP(12, CLIPVisionCfg(layers=1, width=64, head_width=64, patch_size=8, image_size=32, mlp_ratio=4),
                   CLIPTextCfg(context_length=16, vocab_size=520, width=64, heads=1, layers=1), quick_gelu=True))
resnet = roughen(CLIP(12, CLIPVisionCfg(layers=(1, 1, 1, 1), width=2, image_size=64),
                      CLIPTextCfg(context_length=16, vocab_size=520, width=64, heads=1, layers=1), quick_gelu=True))
for name, model, size in ("vit", vit, 32), ("resnet", resnet, 64):
    state = {k: v.half() if v.is_floating_point() and v.ndim else v for k, v in model.state_dict().items()}
    torch.save(state, os.path.join(here, f"openai-{name}.pt"))
    model.load_state_dict(state)
    with torch.no_grad():
        write_expected(f"openai-{name}.expected.safetensors", model.encode_image(pixels(size)), model.encode_text(TOKENS))

# Positional embeddings for another resolution, both ways.
for size in 24, 56:
    other = CLIP(12, CLIPVisionCfg(layers=1, width=64, head_width=64, patch_size=8, image_size=size), CLIPTextCfg(
        context_length=16, vocab_size=520, width=64, heads=1, layers=1), quick_gelu=True)
    state = vit.state_dict()
    resize_pos_embed(state, other)
    save_file({"positions": state["visual.positional_embedding"].contiguous()}, os.path.join(here, f"positions-{size}.safetensors"))
