"""What the two peers have in common."""
import contextlib
import io
import logging
import math
import warnings

import torch
from PIL import Image


def roughen(model, seed):
    """Norms and biases are ones and zeros at first: a mistake in them would not show."""
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("logit_scale"):
                p.fill_(math.log(30))
            elif name.endswith("logit_bias"):
                p.fill_(-8.5)
            elif p.ndim == 1 and name.endswith("weight"):
                p.uniform_(0.5, 1.5, generator=dice)
            elif p.ndim == 1:
                p.add_(torch.randn(p.shape, generator=dice) * 0.1)
    return model.eval()


def roughen_residual(model, seed):
    """Running statistics other than zeros and ones. Weights by He's rule and faint residual branches keep features apart and of one
    size from block to block; else a network this deep answers every picture alike, or its attention pool's softmax picks one
    place, which one being a matter of rounding (PyTorch in float32 is then 1e-4 off PyTorch in float64)."""
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, m in model.named_modules():
            if isinstance(m, torch.nn.BatchNorm2d):
                m.running_mean.normal_(0, 0.1, generator=dice)
                m.running_var.uniform_(0.5, 1.5, generator=dice)
                m.weight *= 0.15 if name.endswith("bn3") and "layer" in name else 1
            elif isinstance(m, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(m.weight, generator=dice)


def round_weights(model, dtype):
    """To the values that a file of this type can hold."""
    with torch.no_grad():
        for t in [*model.parameters(), *model.buffers()]:
            if t.is_floating_point():
                t.copy_(t.to(dtype).float())


def parameter_count(model):
    return sum(p.numel() for p in model.parameters())


_resize = Image.Image.resize


def _resize_across_first(self, size, resample=None, box=None, reducing_gap=None):
    if box is None and size[0] != self.width and size[1] != self.height:
        return _resize(_resize(self, (size[0], self.height), resample), size, resample)
    return _resize(self, size, resample, box, reducing_gap)


@contextlib.contextmanager
def across_first():
    """Pillow before 13 resizes rows first, then columns, with rounding to bytes in between, and so does Duet; Pillow 13 takes
    columns first where that is less work. Here it goes the old way."""
    Image.Image.resize = _resize_across_first
    try:
        yield
    finally:
        Image.Image.resize = _resize


class _Collector(logging.Handler):
    def __init__(self, said):
        super().__init__(logging.WARNING)
        self.said = said

    def emit(self, record):
        self.said.append(f"{record.name}: {record.getMessage()}")


@contextlib.contextmanager
def complaints():
    """Everything that is warned of, logged as a warning, or printed in this block, as a list of lines."""
    said, printed = [], io.StringIO()
    collector = _Collector(said)
    loggers = [logging.getLogger(name) for name in (None, "transformers", "huggingface_hub", "open_clip", "timm")]
    for logger in loggers:
        logger.addHandler(collector)
    try:
        with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            warnings.simplefilter("always")
            yield said
    finally:
        for logger in loggers:
            logger.removeHandler(collector)
    said += [f"{w.category.__name__}: {w.message} ({w.filename}:{w.lineno})" for w in caught]
    said += [line for line in printed.getvalue().splitlines() if line.strip()]
