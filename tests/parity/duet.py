"""Duet's command line."""
import os
import subprocess

import numpy as np
from safetensors import safe_open


class Duet:
    def __init__(self, program):
        self.program = os.path.abspath(program)

    def run(self, *words):
        done = subprocess.run([self.program, *words], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"duet {' '.join(words)}: {done.stderr.strip() or 'status %d' % done.returncode}")

    def convert(self, weights, folder, preset):
        self.run("convert", weights, folder, *(["--config", preset] if preset else []))

    def export(self, folder, to, form):
        self.run("export", "--format", form, folder, to)

    def answers(self, weights, converted, inputs, scratch):
        """Embeddings of what `weights` names; the logits have the scale and bias of the converted file."""
        def embed(tensor, *words):
            out = os.path.join(scratch, "rows.safetensors")
            self.run("embed", "--quiet", "-w", weights, "-o", out, *words)
            with safe_open(out, "numpy") as file:
                return file.get_tensor(tensor)
        answers = {"images": embed("image_embeddings", "--images", inputs.exact_folder),
                   "photos": embed("image_embeddings", "--images", inputs.photo_folder),
                   "texts": embed("text_embeddings", "--texts", inputs.text_file)}
        with safe_open(os.path.join(converted, "model.safetensors"), "numpy") as file:
            scale = np.exp(file.get_tensor("logit_scale"))
            bias = file.get_tensor("logit_bias") if "logit_bias" in file.keys() else 0
        answers["logits"] = scale * answers["images"] @ answers["texts"].T + bias
        return answers
