#!/usr/bin/env python3
"""The models of tests/gpu/bench.c in PyTorch, with the same batches and the same step: forward under bf16 autocast, loss, backward,
clipping, AdamW. Eager, and under torch.compile.

    peer.py RESULTS TABLE.md [--seconds N] [--cpu]    RESULTS is what bench wrote; appends "goal ..." lines to it
    peer.py warm [--seconds N]                        compiles into the cache of torch.compile alone, to be stopped at any time

Where open_clip is installed its own models and loss are timed; else the same sizes are built here. PyTorch runs at its best: fused
AdamW, scaled dot-product attention, TF32 allowed, channels_last for convolutions. Both are timed without reading the loss; batches
lie on the device. A model that does not fit is halved as bench does. --seconds bounds the whole: what is not measured by then is said."""

import argparse
import contextlib
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

SIZES = {
    "ViT-B-32": dict(embed=512, patch=32, width=768, layers=12, text=(512, 8, 12), batch=1024),
    "ViT-B-16": dict(embed=512, patch=16, width=768, layers=12, text=(512, 8, 12), batch=512),
    "ViT-L-14": dict(embed=768, patch=14, width=1024, layers=24, text=(768, 12, 12), batch=256),
    "RN50": dict(embed=1024, blocks=(3, 4, 6, 3), width=64, text=(512, 8, 12), batch=512),
    "toy-ViT": dict(embed=16, size=16, patch=8, width=16, heads=2, layers=1, text=(16, 2, 1), context=7, vocabulary=41, batch=4),
    "toy-ResNet": dict(embed=16, size=32, blocks=(1, 1, 1, 1), width=4, text=(16, 2, 1), context=7, vocabulary=41, batch=4),
}
ORDER = ["ViT-B-16", "ViT-B-32", "RN50", "ViT-L-14", "toy-ViT", "toy-ResNet"]


# ---- The plain models ----

class Attention(nn.Module):
    def __init__(self, width, heads, causal):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.in_proj, self.out_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        n, t, w = x.shape
        q, k, v = self.in_proj(x).view(n, t, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out_proj(y.transpose(1, 2).reshape(n, t, w))


class Block(nn.Module):
    def __init__(self, width, heads, causal):
        super().__init__()
        self.ln_1, self.ln_2, self.attn = nn.LayerNorm(width), nn.LayerNorm(width), Attention(width, heads, causal)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class VisionTransformer(nn.Module):
    def __init__(self, s):
        super().__init__()
        width, size = s["width"], s.get("size", 224)
        self.conv1 = nn.Conv2d(3, width, s["patch"], s["patch"], bias=False)
        self.class_token = nn.Parameter(torch.randn(width) * 0.02)
        self.position = nn.Parameter(torch.randn((size // s["patch"]) ** 2 + 1, width) * 0.02)
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.blocks = nn.Sequential(*[Block(width, s.get("heads", width // 64), False) for _ in range(s["layers"])])
        self.proj = nn.Parameter(torch.randn(width, s["embed"]) * width ** -0.5)

    def forward(self, x):
        x = self.conv1(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.to(x.dtype).expand(len(x), 1, -1), x], 1) + self.position.to(x.dtype)
        x = self.blocks(self.ln_pre(x))
        return self.ln_post(x[:, 0]) @ self.proj


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.shortcut = nn.Identity()
        if stride > 1 or inputs != 4 * width:
            self.shortcut = nn.Sequential(nn.AvgPool2d(stride), nn.Conv2d(inputs, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.pool(F.relu(self.bn2(self.conv2(y))))
        return F.relu(self.bn3(self.conv3(y)) + self.shortcut(x))


class AttentionPool(nn.Module):
    def __init__(self, positions, width, heads, embed):
        super().__init__()
        self.heads = heads
        self.position = nn.Parameter(torch.randn(positions + 1, width) * width ** -0.5)
        self.q, self.kv, self.c = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, embed)

    def forward(self, x):
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([x.mean(1, keepdim=True), x], 1) + self.position.to(x.dtype)
        n, t, w = x.shape
        q = self.q(x[:, :1]).view(n, 1, self.heads, -1).transpose(1, 2)
        k, v = self.kv(x).view(n, t, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        return self.c(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, w))


class ModifiedResNet(nn.Module):
    def __init__(self, s):
        super().__init__()
        width, size, layers, inputs = s["width"], s.get("size", 224), [], s["width"]
        for a, b, stride in ((3, width // 2, 2), (width // 2, width // 2, 1), (width // 2, width, 1)):
            layers += [nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
        layers.append(nn.AvgPool2d(2))
        for stage, blocks in enumerate(s["blocks"]):
            for block in range(blocks):
                layers.append(Bottleneck(inputs, width << stage, 2 if stage and not block else 1))
                inputs = 4 * (width << stage)
        self.layers = nn.Sequential(*layers)
        self.pool = AttentionPool((size // 32) ** 2, inputs, max(1, width // 2), s["embed"])

    def forward(self, x):
        return self.pool(self.layers(x))


class CLIP(nn.Module):
    def __init__(self, s):
        super().__init__()
        width, heads, layers = s["text"]
        self.visual = ModifiedResNet(s) if "blocks" in s else VisionTransformer(s)
        self.token_embedding = nn.Embedding(s.get("vocabulary", 49408), width)
        self.position = nn.Parameter(torch.randn(s.get("context", 77), width) * 0.01)
        self.blocks = nn.Sequential(*[Block(width, heads, True) for _ in range(layers)])
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.randn(width, s["embed"]) * width ** -0.5)
        self.logit_scale = nn.Parameter(torch.tensor(2.6593))

    def encode_text(self, text):
        x = self.blocks(self.token_embedding(text) + self.position)
        return self.ln_final(x)[torch.arange(len(x), device=x.device), text.argmax(-1)] @ self.text_projection

    def forward(self, image, text):
        return F.normalize(self.visual(image), dim=-1), F.normalize(self.encode_text(text), dim=-1), self.logit_scale.exp()


def contrastive_loss(image, text, scale):
    logits = scale * image @ text.T
    labels = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def build(name):
    """The model, its loss, and whose they are."""
    if not name.startswith("toy"):
        try:
            import open_clip
            return open_clip.create_model(name), open_clip.ClipLoss(), "open_clip " + open_clip.__version__
        except ImportError:
            pass
    return CLIP(SIZES[name]), contrastive_loss, "the same sizes in plain PyTorch"


# ---- Timing ----

def texts(batch, context, vocabulary):
    rows = torch.zeros(batch, context, dtype=torch.long)
    for row in rows:
        end = min(context - 1, 1 + int(torch.randint(24, ())))
        row[:end] = torch.randint(vocabulary - 2, (end,))
        row[0], row[end] = vocabulary - 2, vocabulary - 1
    return rows


def make_step(name, batch, compiled, device):
    s = SIZES[name]
    model, loss_of, origin = build(name)
    model = model.to(device).train()
    image = torch.randn(batch, 3, s.get("size", 224), s.get("size", 224), device=device)
    if "blocks" in s:
        model, image = model.to(memory_format=torch.channels_last), image.to(memory_format=torch.channels_last)
    text = texts(batch, s.get("context", 77), s.get("vocabulary", 49408)).to(device)
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.2}, {"params": plain, "weight_decay": 0}], lr=1e-3, betas=(0.9, 0.98),
                                  eps=1e-6, fused=True)
    run = torch.compile(model, dynamic=False) if compiled else model

    def step():
        with torch.autocast(device, torch.bfloat16):
            out = run(image, text)
            loss = loss_of(*(out if isinstance(out, tuple) else (out["image_features"], out["text_features"], out["logit_scale"]))[:3])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, 4.6052)
    return step, origin


def clear(device):
    import gc
    gc.collect()
    torch._dynamo.reset()
    if device == "cuda":
        torch.cuda.empty_cache()


def seconds_of(name, batch, compiled, device):
    """(seconds a step, batch that fit, origin)"""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    while True:
        step = None
        try:
            step, origin = make_step(name, batch, compiled, device)
            for _ in range(3):
                step()
            wait()
            each = []
            while len(each) < 5 or (sum(each) < 2 and len(each) < 40):
                start = time.perf_counter()
                step()
                step()
                wait()
                each.append((time.perf_counter() - start) / 2)
            return statistics.median(each), batch, origin
        except torch.OutOfMemoryError:
            if batch < 4:
                raise
            batch //= 2
        finally:
            del step
            clear(device)


def read_results(path):
    rows = {}
    with open(path) as file:
        for line in file:
            word = line.split()
            if word and word[0] == "step" and word[2] == "bf16":
                rows[word[1]] = (int(word[3]), float(word[4]))
    return rows


def cell(duet, measured):
    if isinstance(measured, str):
        return measured, "", ""
    batch, seconds = duet
    other, fit, _ = measured
    ratio = (batch / seconds) / (fit / other)
    return f"{1e3 * other:.2f}" + (f" (batch {fit})" if fit != batch else ""), f"{fit / other:.0f}", f"{ratio:.2f}"


def measure(arguments, device):
    duet = read_results(arguments.results)
    names = [name for name in ORDER if name in duet]
    measured, began, origins = {}, time.time(), set()
    # Compiling takes longest: what was promised first, then all that is quick, then the rest of it.
    turns = [(name, compiled) for name in names[:1] for compiled in (False, True)]
    turns += [(name, False) for name in names[1:]] + [(name, True) for name in names[1:]]
    for name, compiled in turns:
        way = "torch.compile" if compiled else "eager"
        if time.time() - began > arguments.seconds - (40 if compiled and device == "cuda" else 10):
            measured[name, compiled] = "not measured, for the time was over"
            print(f"  {name}, {way}: skipped, for the time is over", flush=True)
            continue
        try:
            measured[name, compiled] = seconds_of(name, duet[name][0], compiled, device)
            origins.add(measured[name, compiled][2])
            print(f"  {name}, {way}: {1e3 * measured[name, compiled][0]:.2f} ms a step ({time.time() - began:.0f} s)", flush=True)
        except Exception as error:  # one that PyTorch cannot run does not keep the others from being measured
            measured[name, compiled] = f"failed: {type(error).__name__}"
            print(f"  {name}, {way}: failed: {str(error).splitlines()[0] if str(error) else type(error).__name__}", flush=True)
        write(arguments, duet, names, measured, origins)
    return 0


def write(arguments, duet, names, measured, origins):
    with open(arguments.table, "w") as table:
        table.write(f"Beside PyTorch {torch.__version__} ({', '.join(sorted(origins)) or 'nothing measured'}), bf16 autocast, the same batches; "
                    "ratios are pairs a second of Duet to those of PyTorch. Duet's steps repeat their bits; PyTorch's, with its fastest "
                    "attention and convolutions, do not.\n\n")
        table.write("| model | batch | Duet, ms | eager, ms | pairs/s | ratio | torch.compile, ms | pairs/s | ratio |\n"
                    "|---|---:|---:|---:|---:|---:|---:|---:|---:|\n")
        for name in names:
            cells = [name, str(duet[name][0]), f"{1e3 * duet[name][1]:.2f}"]
            for compiled in (False, True):
                cells += cell(duet[name], measured.get((name, compiled), "not measured"))
            table.write("| " + " | ".join(cells) + " |\n")
        table.write("\n")
    best = measured.get(("ViT-B-16", True))
    with open(arguments.results) as file:
        lines = [line for line in file if "torch.compile" not in line]
    if isinstance(best, tuple):
        ratio = float(cell(duet["ViT-B-16"], best)[2])
        lines.append(f"goal {'met' if ratio >= 1.1 else 'missed'} ViT-B-16 trains at {ratio:.2f} times the speed of torch.compile (goal: 1.1)\n")
    with open(arguments.results, "w") as file:
        file.writelines(lines)


def warm():
    for name in ORDER[:4]:
        with contextlib.suppress(Exception):
            step, _ = make_step(name, SIZES[name]["batch"], True, "cuda")
            step()
            torch.cuda.synchronize()
            print(f"  compiled {name}", flush=True)
        step = None
        clear("cuda")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results")
    parser.add_argument("table", nargs="?")
    parser.add_argument("--seconds", type=float, default=200)
    parser.add_argument("--cpu", action="store_true", help="to try this program itself")
    arguments = parser.parse_args()
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    if not arguments.cpu and not torch.cuda.is_available():
        print("  PyTorch sees no GPU")
        return 3
    if arguments.results == "warm":
        return warm()
    if not arguments.table:
        parser.error("TABLE.md is missing")
    return measure(arguments, "cpu" if arguments.cpu else "cuda")


if __name__ == "__main__":
    sys.exit(main())
