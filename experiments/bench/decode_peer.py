#!/usr/bin/env python3
"""The Python side of the image benchmark: JPEG to a normalised 224x224 array with Pillow, on one core.

    decode_peer.py make FOLDER [--photos DIR]    writes 64 JPEG files of 500x375 into FOLDER
    decode_peer.py run FOLDER [--scale 0.9 1]    prints images per second

`run` does what a torchvision pipeline on Pillow does: open, convert to RGB, RandomResizedCrop (bicubic),
horizontal flip, ToTensor, Normalize. Where torchvision is installed its own classes do it; otherwise the same
crop rule is written here over Pillow, and numpy normalises into channels-first float32. `--library` times
Duet in the same run, alternating with Pillow: it names a program that takes FOLDER, SIZE, SCALE_MIN,
SCALE_MAX, SECONDS and prints images per second (build/release/tests/image bench does).
Needs numpy and Pillow."""

import argparse
import glob
import io
import math
import os
import random
import subprocess
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np
from PIL import Image, features

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def texture(rng, height, width):
    """A picture with the 1/f amplitude spectrum of photographs, its channels correlated as theirs are."""
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    amplitude = 1 / np.maximum(np.hypot(fy, fx), 1 / max(height, width)) ** 1.1
    planes = []
    for gain in (1.0, 0.35, 0.35):
        phase = rng.uniform(0, 2 * np.pi, amplitude.shape)
        plane = np.fft.irfft2(amplitude * np.exp(1j * phase), (height, width))
        planes.append(gain * plane / plane.std())
    luma, a, b = planes
    rgb = np.stack([luma + a, luma - 0.5 * a - 0.5 * b, luma + b], -1) * 45 + 118
    return rgb + rng.normal(0, 2.5, rgb.shape)


def make(folder, photos, count, seed, width, height):
    rng = np.random.default_rng(seed)
    os.makedirs(folder, exist_ok=True)
    names = sorted(glob.glob(os.path.join(photos, "photo_*4*.jpg")))
    sources = [Image.open(name).convert("RGB") for name in names]
    total = 0
    for i in range(count):
        if sources and i % 2:
            source = sources[(i // 2) % len(sources)]
            w = int(source.width * rng.uniform(0.6, 0.95))
            h = min(source.height, w * height // width)
            x, y = rng.integers(0, source.width - w + 1), rng.integers(0, source.height - h + 1)
            view = source.crop((x, y, x + w, y + h)).resize((width, height), Image.BICUBIC)
            rgb = np.asarray(view, np.float32) + 0.12 * (texture(rng, height, width) - 118)
            rgb += rng.normal(0, 3, rgb.shape)
        else:
            rgb = texture(rng, height, width)
        path = os.path.join(folder, f"{i:03d}.jpg")
        quality = int(rng.integers(85, 91))
        Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8)).save(path, quality=quality, subsampling=2)
        total += os.path.getsize(path)
    print(f"{count} files of {width}x{height}, 4:2:0, quality 85..90, "
          f"{total / count / 1000:.1f} kB on average")


def crop_box(width, height, scale, ratio=(3 / 4, 4 / 3)):
    """RandomResizedCrop's rule: ten tries, then the largest centred crop within the ratios."""
    area = width * height
    for _ in range(10):
        target = area * random.uniform(*scale)
        aspect = math.exp(random.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if 0 < w <= width and 0 < h <= height:
            return random.randint(0, width - w), random.randint(0, height - h), w, h
    if width / height < ratio[0]:
        w, h = width, round(width / ratio[0])
    elif width / height > ratio[1]:
        w, h = round(height * ratio[1]), height
    else:
        w, h = width, height
    return (width - w) // 2, (height - h) // 2, w, h


def transform_pillow(data, size, scale):
    image = Image.open(io.BytesIO(data)).convert("RGB")
    x, y, w, h = crop_box(*image.size, scale)
    image = image.crop((x, y, x + w, y + h)).resize((size, size), Image.BICUBIC)
    if random.random() < 0.5:
        image = image.transpose(Image.FLIP_LEFT_RIGHT)
    pixels = np.array(image).transpose(2, 0, 1)
    array = pixels.astype(np.float32, order="C")
    array /= 255
    array -= MEAN[:, None, None]
    array /= STD[:, None, None]
    return array


def pipeline(size, scale):
    try:
        import torch
        from torchvision import transforms as T
    except ImportError:
        return "Pillow and numpy", lambda data: transform_pillow(data, size, scale)
    torch.set_num_threads(1)
    bicubic = T.InterpolationMode.BICUBIC
    chain = T.Compose([T.RandomResizedCrop(size, scale=scale, interpolation=bicubic),
                       T.RandomHorizontalFlip(), T.ToTensor(), T.Normalize(MEAN.tolist(), STD.tolist())])
    return "Pillow and torchvision", lambda data: chain(Image.open(io.BytesIO(data)).convert("RGB"))


def measure(run, files, seconds):
    for data in files[:8]:
        run(data)
    count, start = 0, time.perf_counter()
    while True:
        for data in files:
            run(data)
        count += len(files)
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return count / elapsed


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("make", "run"))
    parser.add_argument("folder")
    parser.add_argument("--photos", default="tests/golden/image", help="folder of photo_*.jpg to build upon")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--height", type=int, default=375)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--scale", type=float, nargs=2, default=(0.08, 1.0), help="range of the crop's area")
    parser.add_argument("--seconds", type=float, default=2, help="per measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--library", help="a program that measures Duet on the same folder")
    options = parser.parse_args()
    if options.action == "make":
        return make(options.folder, options.photos, options.count, options.seed, options.width,
                    options.height)
    paths = sorted(glob.glob(os.path.join(options.folder, "*.jpg")))
    if not paths:
        sys.exit(f"{options.folder}: no .jpg files; write some with: decode_peer.py make {options.folder}")
    files = [open(p, "rb").read() for p in paths]
    random.seed(options.seed)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    name, run = pipeline(options.size, tuple(options.scale))
    average = sum(map(len, files)) / len(files) / 1000
    print(f"{name}: Pillow {Image.__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}, "
          f"numpy {np.__version__}, one core, {len(files)} files, {average:.1f} kB on average, crop area "
          f"{options.scale[0]:g}..{options.scale[1]:g}, to {options.size}x{options.size}")
    ours, theirs = [], []
    for _ in range(options.rounds):
        theirs.append(measure(run, files, options.seconds))
        print(f"  {name}: {theirs[-1]:.0f} images/s")
        if options.library:
            command = options.library.split() + [options.folder, str(options.size), *map(str, options.scale),
                                                 str(options.seconds)]
            ours.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            print(f"  Duet: {ours[-1]:.0f} images/s")
    if ours:
        ratios = [a / b for a, b in zip(ours, theirs)]
        print(f"Duet / {name}: {sorted(ratios)[len(ratios) // 2]:.2f} (median of {len(ratios)}, "
              f"{min(ratios):.2f}..{max(ratios):.2f})")


if __name__ == "__main__":
    main()
