"""The same pictures and texts for both sides."""
import os

import numpy as np
from PIL import Image

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
PHOTOS = os.path.join(ROOT, "tests", "golden", "image")

# What CLIP's own tokenizer and the tokenizer.json of Hugging Face read alike: the first also mends broken text and HTML
# references, and straightens quotes. The last one is longer than any model's context.
TEXTS = ["a photo of a cat", "Two dogs on a beach, at SUNSET.", "naïve café, crème brûlée", "数学 and 物理", "it's 7 o'clock; don't panic!",
         "  many   spaces ", "🙂🙃 x²", "antidisestablishmentarianism", "a long walk " * 60]


class Inputs:
    """Files in `folder`: exact/ holds pictures of the model's size, so that nothing is resampled; photos/ holds photographs of
    other sizes, the last of which the two peers crop differently; texts.txt holds one text a line."""

    def __init__(self, folder, size):
        self.exact_folder, self.photo_folder = os.path.join(folder, "exact"), os.path.join(folder, "photos")
        self.text_file = os.path.join(folder, "texts.txt")
        os.makedirs(self.exact_folder)
        os.makedirs(self.photo_folder)
        self.exact = list(write_exact(self.exact_folder, size))
        self.photos = list(write_photos(self.photo_folder, size))
        self.texts = TEXTS
        with open(self.text_file, "w", encoding="utf-8") as file:
            file.write("".join(text + "\n" for text in TEXTS))


def write_exact(folder, size):
    """Blurred noise with edges in it, each picture of another tint; PNG, and JPEG with and without subsampled colours."""
    random = np.random.default_rng(size)
    for i, (ending, how) in enumerate([("png", {}), ("jpg", {"quality": 90, "subsampling": 2}),
                                       ("jpg", {"quality": 95, "subsampling": 0}), ("png", {})]):
        coarse = random.uniform(0, 255, (2 + 3 * i, 3 + 2 * i, 3)).astype(np.uint8)
        pixels = np.asarray(Image.fromarray(coarse).resize((size, size), Image.BICUBIC), dtype=np.float64)
        pixels = pixels * random.uniform(0.3, 1, 3) + random.normal(0, 12, pixels.shape)
        pixels[size // 4 : size // 2, i * size // 8 : size // 2 + i * size // 8] = random.uniform(0, 255, 3)
        path = os.path.join(folder, f"{i}.{ending}")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, **how)
        yield path


def write_photos(folder, size):
    """Photographs as they are, cut to upright and narrow ones, one larger than any model's pictures, and an odd one last."""
    china = Image.open(os.path.join(PHOTOS, "photo_china_420.jpg"))
    flower = Image.open(os.path.join(PHOTOS, "photo_flower_444.jpg"))
    pictures = [china, china.crop((130, 0, 350, 320)), flower.crop((20, 90, 307, 211)), china.resize((1200, 803), Image.LANCZOS)]
    for i, picture in enumerate([cut_until(alike, p, size) for p in pictures] + [cut_until(odd, flower, size)]):
        path = os.path.join(folder, f"{i}.jpg")
        picture.save(path, quality=92, subsampling=2 if i % 2 else 0)
        yield path


def alike(margin):
    """Whether both peers put the same pixels before the crop: of an odd margin torchvision, and so open_clip, rounds half to the
    nearest even number, and transformers rounds down."""
    return margin % 4 != 3


def odd(margin):
    return margin % 4 == 3


def cut_until(wanted, picture, size):
    while not wanted(int(size * max(picture.size) / min(picture.size)) - size):
        picture = picture.crop((0, 0, picture.width - (picture.width >= picture.height), picture.height - (picture.height > picture.width)))
    return picture
