"""open_clip's models: built, saved as they are found, loaded from what Duet exports."""
import os
import shutil

import open_clip
import torch
from open_clip.push_to_hf_hub import save_for_hf
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer, default_bpe
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import save_file

from peer import parameter_count, roughen, round_weights, roughen_residual

FORMS = {
    "folder": "folder, safetensors",
    "folder-bin": "folder, PyTorch",
    "state": "state dict, .pt",
    "training": "training checkpoint, .pt",
    "half": "state dict in float16, .pt, no description",
    "brain": "bfloat16 safetensors",
}


class OpenClip:
    name = "open_clip"

    def __init__(self, model, tokenizer, preprocess):
        self.model, self.tokenizer, self.preprocess = model.eval(), tokenizer, preprocess
        self.parameters, self.size = parameter_count(model), image_size(model)

    @classmethod
    def build(cls, name, form, seed, tokenizers):
        torch.manual_seed(seed)
        config = open_clip.get_model_config(name)
        siglip = "hf_tokenizer_name" in config["text_cfg"]
        half = (0.5, 0.5, 0.5)
        how = {"force_preprocess_cfg": {"mean": half, "std": half, "resize_mode": "squash"}} if siglip else {}  # as published
        model = roughen(open_clip.create_model(name, **how), seed)
        if name.startswith("RN"):
            roughen_residual(model.visual, seed)
        if form in ("half", "brain"):
            round_weights(model, torch.float16 if form == "half" else torch.bfloat16)
        files = HFTokenizer(os.path.join(tokenizers, "siglip" if siglip else "clip"), config["text_cfg"]["context_length"],
                            **config["text_cfg"].get("tokenizer_kwargs", {}))
        preprocess = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
        self = cls(model, files if siglip else SimpleTokenizer(context_length=files.context_length), preprocess)
        self.config, self.preset, self.files = config, name, files
        return self

    def save(self, folder, form):
        """The path that Duet is given, and the preset's name where the file does not say what it holds."""
        if form.startswith("folder"):
            save_for_hf(self.model, self.files, self.config, folder, safe_serialization=form == "folder")
            return folder, None
        os.makedirs(folder)
        shutil.copy(default_bpe(), folder)
        state = self.model.state_dict()
        if form == "brain":
            path = os.path.join(folder, "weights.safetensors")
            save_file({k: v.bfloat16() if v.is_floating_point() else v for k, v in state.items()}, path)
            return path, self.preset
        path = os.path.join(folder, "weights.pt")
        if form == "half":
            torch.save({k: v.half() if v.is_floating_point() else v for k, v in state.items()}, path)
            return path, None
        if form == "training":
            state = {"epoch": 3, "name": "run", "state_dict": {"module." + k: v for k, v in state.items()}}
        torch.save(state, path)
        return path, self.preset

    @classmethod
    def load(cls, folder):
        model, _, preprocess = open_clip.create_model_and_transforms("local-dir:" + folder)
        return cls(model, open_clip.get_tokenizer("local-dir:" + folder), preprocess)

    def pixels(self, paths):
        return torch.stack([self.preprocess(Image.open(path)) for path in paths])

    photo_pixels = pixels

    def answers(self, pixels, texts):
        """Unit embeddings and logits."""
        with torch.inference_mode():
            images, words, scale, *bias = self.model(pixels, self.tokenizer(texts))
            return images.numpy(), words.numpy(), (scale * images @ words.T + (bias[0] if bias else 0)).numpy()


def image_size(model):
    size = model.visual.image_size
    return size if isinstance(size, int) else size[0]
