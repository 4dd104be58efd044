"""transformers' CLIPModel and SiglipModel: built, saved as they are found, loaded from what Duet exports."""
import os

import torch
import transformers
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer, CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

from peer import complaints, parameter_count, roughen

transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.disable_default_handler()  # what it says is collected, and told in the end

FORMS = {
    "folder": "save_pretrained, safetensors",
    "sharded": "save_pretrained, shards of 200 MB",
    "bin": "pytorch_model.bin",
}


def say_it_now():
    """What transformers says once a process, it will say again; but not that SigLIP's default configuration, which it makes to
    compare others with, has token ids outside of its vocabulary."""
    transformers.utils.logging.warning_once.cache_clear()
    with complaints():
        str(SiglipConfig())


def clip(vision, text, projection, patch, image_size=224):
    """Widths, layers and heads of the towers of OpenAI's models."""
    def tower(width, layers, heads):
        return {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers, "num_attention_heads": heads}
    return CLIPConfig(vision_config={**tower(*vision), "patch_size": patch, "image_size": image_size, "projection_dim": projection},
                      text_config={**tower(*text), "projection_dim": projection, "bos_token_id": 49406, "eos_token_id": 49407},
                      projection_dim=projection)


CONFIGS = {
    "ViT-B/32": lambda: clip((768, 12, 12), (512, 12, 8), 512, 32),
    "ViT-L/14": lambda: clip((1024, 24, 16), (768, 12, 12), 768, 14),
    "siglip-base": lambda: SiglipConfig(text_config={"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 1}),
}


class HuggingFace:
    name = "transformers"

    def __init__(self, model, tokenizer, image_processor, pillow_processor):
        self.model, self.tokenizer = model.eval(), tokenizer
        self.image_processor, self.pillow_processor = image_processor, pillow_processor
        self.parameters, self.size = parameter_count(model), model.config.vision_config.image_size

    @classmethod
    def build(cls, name, form, seed, tokenizers):
        torch.manual_seed(seed)
        config = CONFIGS[name]()
        siglip = isinstance(config, SiglipConfig)
        model = roughen((SiglipModel if siglip else CLIPModel)(config), seed)
        kind = transformers.SiglipImageProcessor if siglip else transformers.CLIPImageProcessor
        pillow = transformers.SiglipImageProcessorPil if siglip else transformers.CLIPImageProcessorPil
        size = config.vision_config.image_size
        sizes = {"size": {"height": size, "width": size}} if siglip else {"size": {"shortest_edge": size}, "crop_size": size}
        tokenizer = AutoTokenizer.from_pretrained(os.path.join(tokenizers, "siglip" if siglip else "clip"))
        return cls(model, tokenizer, kind(**sizes), pillow(**sizes))

    def save(self, folder, form):
        if form == "bin":
            self.model.config.save_pretrained(folder)
            torch.save(self.model.state_dict(), os.path.join(folder, "pytorch_model.bin"))
        else:
            self.model.save_pretrained(folder, **({"max_shard_size": "200MB"} if form == "sharded" else {}))
        self.tokenizer.save_pretrained(folder)
        self.image_processor.save_pretrained(folder)
        return folder, None

    @classmethod
    def load(cls, folder):
        model = AutoModel.from_pretrained(folder)
        return cls(model, AutoTokenizer.from_pretrained(folder), AutoImageProcessor.from_pretrained(folder),
                   AutoImageProcessor.from_pretrained(folder, backend="pil"))

    def pixels(self, paths):
        return _process(self.image_processor, paths)

    def photo_pixels(self, paths):
        """With the processor that resizes as Pillow does: the other one resizes tensors, to other numbers."""
        return _process(self.pillow_processor, paths)

    def answers(self, pixels, texts):
        """Unit embeddings and logits."""
        words = self.tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")
        with torch.inference_mode():
            out = self.model(input_ids=words["input_ids"], pixel_values=pixels)
        return out.image_embeds.numpy(), out.text_embeds.numpy(), out.logits_per_image.numpy()


def _process(processor, paths):
    return processor(images=[Image.open(path) for path in paths], return_tensors="pt")["pixel_values"]
