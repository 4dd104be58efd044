#!/usr/bin/env python3
"""Compares Duet with open_clip and transformers: models that they save, read by Duet, and models that Duet exports, read by
them, on the same pictures and texts. Usage: parity.py --duet PROGRAM [--only WORD] [--skip-large] [--out RESULTS.md]."""
import argparse
import gc
import os
import platform
import resource
import shutil
import sys
import tempfile
import time
from importlib.metadata import version
from typing import NamedTuple

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch

import peer_hf
import peer_open_clip
from duet import Duet
from inputs import Inputs
from peer import across_first, complaints
from peer_hf import HuggingFace, say_it_now
from peer_open_clip import OpenClip
from tokenizers_made import write_tokenizers

TOLERANCE = 1e-4
SPREAD = 100 * TOLERANCE  # that inputs must make, or a comparison would say nothing
PEERS = {"open_clip": OpenClip, "hf": HuggingFace}
HERE = os.path.dirname(os.path.abspath(__file__))


class Case(NamedTuple):
    peer: type
    name: str
    form: str
    exports: tuple = ("open_clip", "hf")
    large: bool = False


CASES = [
    Case(OpenClip, "ViT-B-32", "folder"),
    Case(OpenClip, "ViT-B-16", "brain"),
    Case(OpenClip, "ViT-L-14", "folder"),
    Case(OpenClip, "ViT-B-32-quickgelu", "half"),
    Case(OpenClip, "ViT-L-14-336", "state"),
    Case(OpenClip, "ViT-H-14", "folder", large=True),
    Case(OpenClip, "RN50", "folder-bin", ("open_clip",)),
    Case(OpenClip, "RN101", "training", ("open_clip",)),
    Case(OpenClip, "RN50x4", "state", ("open_clip",)),
    Case(OpenClip, "RN50-quickgelu", "half", ("open_clip",)),
    Case(OpenClip, "ViT-B-16-SigLIP", "folder"),
    Case(HuggingFace, "ViT-B/32", "sharded"),
    Case(HuggingFace, "ViT-L/14", "folder"),
    Case(HuggingFace, "siglip-base", "bin", ("hf",)),
]


class Row(NamedTuple):
    case: Case
    parameters: int
    direction: str
    form: str
    errors: dict
    order: float  # what Pillow's own order of resizing makes of the photographs
    seconds: float
    said: list

    def failures(self):
        who = f"{self.case.name}, {self.direction}"
        return ([f"{who}: {what} differ by {e:.1e}" for what, e in self.errors.items() if not e < TOLERANCE] +
                [f"{who}: on loading it says: {' '.join(line.split())}" for line in self.said])


def relative(a, b):
    return float(np.abs(a - b).max() / np.abs(b).max()) if a.shape == b.shape else float("inf")


def compare(ours, theirs):
    for what, rows in theirs.items():
        spread = float(np.abs(rows - rows[0]).max() / np.abs(rows).max())
        if not spread > SPREAD:
            raise RuntimeError(f"{what} differ by {spread:.1e} only, whatever goes in; this proves nothing")
    return {what: relative(ours[what], theirs[what]) for what in theirs}


def ask(peer, inputs, photo_files):
    """Its answers, and how much the photographs change where Pillow resizes in the order that it likes best."""
    count = len(inputs.exact)
    with across_first():
        exact, photos = peer.pixels(inputs.exact), peer.photo_pixels(photo_files)
    images, texts, logits = peer.answers(torch.cat([exact, photos]), inputs.texts)
    answers = {"images": images[:count], "photos": images[count:], "texts": texts, "logits": logits[:count]}
    own_order, order = peer.photo_pixels(photo_files), 0
    if not torch.equal(own_order, photos):
        order = relative(peer.answers(own_order, inputs.texts[:1])[0], answers["photos"])
    return answers, order


def coming_in(case, duet, seed, tokenizers, scratch):
    """Returns the row, Duet's answers, and the inputs; leaves scratch/own."""
    start = time.monotonic()
    theirs, own = os.path.join(scratch, "theirs"), os.path.join(scratch, "own")
    with complaints():  # that the weights are random
        peer = case.peer.build(case.name, case.form, seed, tokenizers)
    inputs = Inputs(os.path.join(scratch, "inputs"), peer.size)
    answers, order = ask(peer, inputs, inputs.photos)
    weights, preset = peer.save(theirs, case.form)
    parameters, form = peer.parameters, sys.modules[case.peer.__module__].FORMS[case.form]
    del peer
    gc.collect()
    duet.convert(weights, own, preset)
    ours = duet.answers(own if preset else weights, own, inputs, scratch)
    shutil.rmtree(theirs)
    row = Row(case, parameters, f"{case.peer.name} → Duet", form, compare(ours, answers), order, time.monotonic() - start, [])
    return row, ours, inputs


def going_out(case, form, duet, parameters, ours, inputs, scratch):
    start = time.monotonic()
    folder, kind = os.path.join(scratch, form), PEERS[form]
    duet.export(os.path.join(scratch, "own"), folder, form)
    say_it_now()
    with complaints() as said:
        peer = kind.load(folder)
    photos = inputs.photos if kind is case.peer else inputs.photos[:-1]
    answers, order = ask(peer, inputs, photos)
    ours = {**ours, "photos": ours["photos"][: len(photos)]}
    shutil.rmtree(folder)
    return Row(case, parameters, f"Duet → {kind.name}", "duet export", compare(ours, answers), order, time.monotonic() - start, said)


def check(case, duet, seed, tokenizers):
    """Yields rows, and as lines what could not be compared."""
    with tempfile.TemporaryDirectory(prefix="duet-parity-") as scratch:
        try:
            row, ours, inputs = coming_in(case, duet, seed, tokenizers, scratch)
        except Exception as problem:
            yield trouble(f"{case.name}, {case.peer.name} → Duet", problem)
            return
        yield row
        for form in case.exports:
            try:
                yield going_out(case, form, duet, row.parameters, ours, inputs, scratch)
            except Exception as problem:
                yield trouble(f"{case.name}, Duet → {PEERS[form].name}", problem)
            gc.collect()


def trouble(who, problem):
    return f"{who}: {type(problem).__name__}: {' '.join(str(problem).split())[:400]}"


HEAD = ["architecture", "parameters", "direction", "saved as", "images", "photographs", "texts", "logits", "order", "seconds"]


def cells(row):
    e = row.errors
    return [row.case.name, f"{row.parameters / 1e6:.0f} M", row.direction, row.form,
            *(f"{e[k]:.1e}" for k in ("images", "photos", "texts", "logits")), f"{row.order:.1e}", f"{row.seconds:.0f}"]


def results(rows, skipped, failed, seconds):
    packages = ["torch", "transformers", "open_clip_torch", "timm", "tokenizers", "safetensors", "pillow"]
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 2**20
    architectures = len({(r.case.peer.name, r.case.name) for r in rows})
    good = sum(not r.failures() for r in rows)
    lines = ["# Parity with open_clip and transformers", "",
             "Written by `make parity`; README.md says what is compared. Relative error max|a - b| / max|b| of unit embeddings and of logits in",
             f"float32 on a CPU: all must be below {TOLERANCE:.0e}. *Order* is no error of Duet's: it is what Pillow's own order of resizing",
             "makes of the photographs' embeddings, in the peer alone.", "",
             f"{architectures} architectures, {len(rows)} comparisons, {good} good; {seconds / 60:.0f} minutes on {os.cpu_count()} processors; largest process "
             f"{peak:.1f} GiB.",
             ", ".join(f"{p} {version(p)}" for p in packages) + f", Python {platform.python_version()}.", "",
             "| " + " | ".join(HEAD) + " |", "|---|---:|---|---|" + "---:|" * 6]
    lines += ["| " + " | ".join(cells(r)) + " |" for r in rows]
    lines += [""] if skipped or failed else []
    lines += [f"- Skipped: {case.name}" for case in skipped] + [f"- Failed: {line}" for line in failed]
    return "\n".join(lines) + "\n"


def compare_all(cases, duet):
    """Rows, and what failed; tells of each as it comes."""
    rows, failed = [], []
    with tempfile.TemporaryDirectory(prefix="duet-parity-") as tokenizers:
        write_tokenizers(tokenizers)
        for seed, case in enumerate(cases):
            for found in check(case, duet, seed, tokenizers):
                rows += [found] if isinstance(found, Row) else []
                bad = found.failures() if isinstance(found, Row) else [found]
                failed += bad
                print("\n".join("FAILED  " + line for line in bad) or "good    " + " | ".join(cells(found)), flush=True)
    return rows, failed


def main():
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--duet", required=True, help="the program")
    words.add_argument("--only", action="append", help="architectures with this in their names (may be repeated)")
    words.add_argument("--skip-large", action="store_true", help="without ViT-H-14 (4 GB of weights)")
    words.add_argument("--out", help="the table (default: RESULTS.md here, where all architectures were compared)")
    args = words.parse_args()
    chosen = [c for c in CASES if not args.only or any(word in f"{c.peer.name} {c.name}" for word in args.only)]
    skipped = [c for c in chosen if c.large and args.skip_large]
    out = args.out or (os.path.join(HERE, "RESULTS.md") if not args.only and not skipped else None)
    start = time.monotonic()
    rows, failed = compare_all([c for c in chosen if c not in skipped], Duet(args.duet))
    table = results(rows, skipped, failed, time.monotonic() - start)
    print("\n" + table)
    if out:
        with open(out, "w", encoding="utf-8") as file:
            file.write(table)
    return 1 if failed or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
