#!/usr/bin/env python3
"""Writes the files of this folder with PyTorch (2.x): what tests/torch_file.c reads."""
import collections
import os
import pickle
import warnings
import zipfile

import torch

os.chdir(os.path.dirname(os.path.abspath(__file__)))
torch.manual_seed(0)
warnings.simplefilter("ignore")  # torch.jit is deprecated; OpenAI's files are of it

types = {"f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16, "i64": torch.int64,
         "i32": torch.int32, "i16": torch.int16, "i8": torch.int8, "u8": torch.uint8, "bool": torch.bool}
state = collections.OrderedDict((name, torch.arange(6).reshape(2, 3).to(dtype)) for name, dtype in types.items())
state["row"] = state["f32"][1]  # shares a storage, from an offset on
state["parameter"] = torch.nn.Parameter(torch.full((2,), 1.5))
state["scalar"] = torch.tensor(7)
state["empty"] = torch.zeros(0, 3)
state["transposed"] = torch.arange(6.0).reshape(2, 3).t()
state["channels_last"] = torch.arange(24.0).reshape(1, 2, 3, 4).contiguous(memory_format=torch.channels_last)
torch.save(state, "state.pt")

model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
optimizer = torch.optim.AdamW(model.parameters())
model(torch.ones(4, 2)).sum().backward()
optimizer.step()
with torch.no_grad():
    model[0].weight.copy_(torch.arange(6.0).reshape(3, 2))
checkpoint = {"epoch": 3, "name": "a run", "size": torch.Size([1, 2]), "device": torch.device("cpu"), "dtype": torch.float16,
              "loss": 0.5, "state_dict": {"module." + k: v for k, v in model.state_dict().items()},
              "optimizer": optimizer.state_dict(), "big": 2**40, "negative": -(2**35), "nothing": None, "yes": True}
torch.save(checkpoint, "checkpoint.pt", pickle_protocol=5)


class Tower(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(1, 2, 2, bias=False)
        self.blocks = torch.nn.Sequential(torch.nn.Linear(2, 1))


class Clip(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.visual = Tower()
        self.logit_scale = torch.nn.Parameter(torch.tensor(2.0).half())
        self.register_buffer("context_length", torch.tensor(77))
        self.sizes, self.title, self.temperature, self.optional = [1, 2], "clip", 0.5, None

    def forward(self, x):
        return self.visual.blocks(x) * self.logit_scale


clip = Clip()
with torch.no_grad():
    clip.visual.blocks[0].weight.copy_(torch.tensor([[3.0, 4.0]]))
torch.jit.save(torch.jit.script(clip), "whole.pt")
with zipfile.ZipFile("whole.pt") as whole, zipfile.ZipFile("script.pt", "w") as archive:
    for entry in whole.infolist():  # without what names the folders of the machine
        if not entry.filename.endswith(".debug_pkl"):
            archive.writestr(entry.filename, whole.read(entry), entry.compress_type)
os.remove("whole.pt")
torch.save({"w": torch.ones(2)}, "legacy.pt", _use_new_zipfile_serialization=False)


class Evil:
    def __reduce__(self):
        return os.system, ("echo this must not run",)


with zipfile.ZipFile("system.pt", "w") as archive:
    archive.writestr("archive/data.pkl", pickle.dumps({"w": Evil()}, protocol=2))
    archive.writestr("archive/version", "3\n")
