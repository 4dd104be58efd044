#!/usr/bin/env python3
"""How fast `duet vae` and `duet gan` train, beside PyTorch's eager CPU step of the same network.

    generative_peer.py CONFIG.json --duet build/release/duet [--batch-size N] [--threads N] [--rounds N]

CONFIG.json is a training configuration of either command: an MLP VAE with a Bernoulli likelihood (ELBO or importance-
weighted bound), or a DCGAN without a penalty. `duet bench --json` measures Duet and hands back the configuration in
force; from that the same layers, losses and optimizers are built here. Both then take turns, on as many threads and
images, with random data, whole training steps: forward, backward, Adam; of a GAN the update of the discriminator, that
of the generator, and the generator's moving average.

PyTorch is measured in several ways of writing the same step (Adam fused or not; of a GAN contiguous or channels_last,
real and generated images judged in two calls or in one), and the one with the smallest median counts. Both the clock
and the time of processors are told: on a machine that others want too, the second with --threads 1 still says what a
step takes. Needs torch, 2.4 or newer."""

import argparse
import copy
import itertools
import json
import os
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm


def adam(config, parameters, fused=True):
    if config["kind"] != "adam" or config["clip_norm"]:
        sys.exit("generative_peer.py knows Adam without clipping alone")
    return torch.optim.Adam(parameters, lr=config["lr"], betas=(config["beta1"], config["beta2"]), eps=config["eps"],
                            weight_decay=config["weight_decay"], fused=fused)


# ---- VAE: encoders/vae.c ----

class VAE(nn.Module):
    def __init__(self, v):
        super().__init__()
        unit = nn.ReLU if v.get("activation", "tanh") == "relu" else nn.Tanh
        pixels, widths = v["image_size"] ** 2 * v.get("channels", 3), v["widths"]
        self.encoder = self.hidden([pixels, *widths], unit)
        self.mu, self.log_variance = nn.Linear(widths[-1], v["latent"]), nn.Linear(widths[-1], v["latent"])
        self.decoder = nn.Sequential(self.hidden([v["latent"], *widths[::-1]], unit), nn.Linear(widths[0], pixels))

    @staticmethod
    def hidden(sizes, unit):
        layers = [(nn.Linear(a, b), unit()) for a, b in zip(sizes, sizes[1:])]
        return nn.Sequential(*itertools.chain(*layers))

    def forward(self, x, samples):
        """mu and log variance [n, latent]; z [n, k, latent] and logits [n, k, pixels]."""
        h = self.encoder(x)
        mu, log_variance = self.mu(h), self.log_variance(h).clamp(-10, 10)
        noise = torch.randn(len(x), samples, mu.shape[1])
        z = mu[:, None] + torch.exp(0.5 * log_variance)[:, None] * noise
        return mu, log_variance, z, self.decoder(z)


def log_bernoulli(logits, x):
    return -F.binary_cross_entropy_with_logits(logits, x[:, None].expand_as(logits), reduction="none").sum(-1)


def elbo_loss(model, x, o):
    mu, log_variance, _, logits = model(x, o["samples"])
    kl = -0.5 * (1 + log_variance - mu.square() - log_variance.exp()).mean(0)
    return o["beta"] * kl.clamp(min=o["free_bits"]).sum() - log_bernoulli(logits, x).mean()


def bound_loss(model, x, o):
    mu, log_variance, z, logits = model(x, o["samples"])
    mu, log_variance = mu[:, None], log_variance[:, None]
    ratio = 0.5 * ((z - mu).square() * torch.exp(-log_variance) + log_variance - z.square()).sum(-1)
    weight = log_bernoulli(logits, x) + o["beta"] * ratio
    return -(torch.logsumexp(weight, 1) - torch.log(torch.tensor(float(o["samples"])))).mean()


def vae_steps(config, batch):
    v, o = config["model"]["vision_cfg"], config["objective"]
    if v["network"] != "mlp" or v["likelihood"] != "bernoulli":
        sys.exit("generative_peer.py knows the MLP VAE with a Bernoulli likelihood alone")
    loss_of = bound_loss if o["kind"] == "iwae" else elbo_loss
    images = torch.rand(batch, v["image_size"] ** 2 * v.get("channels", 3))

    def make(fused):
        model = VAE(v)
        optimizer = adam(config["optimizer"], model.parameters(), fused)

        def step():
            # torch.bernoulli draws the same, but takes four times as long.
            x = (torch.rand_like(images) < images).float() if config["binarise"] else images
            loss = loss_of(model, x, o)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.item()
        return step, sum(p.numel() for p in model.parameters())
    return {"fused Adam" if fused else "Adam": make(fused) for fused in (False, True)}


# ---- GAN: encoders/dcgan.c, gan_layers.c, gan.c ----

class Condition(nn.Module):
    """A row for each sample: of a table, or a linear map of a vector."""

    def __init__(self, c, width, start, norm=lambda module: module):
        super().__init__()
        self.table = c["kind"] == "class"
        self.rows = norm(nn.Embedding(c["classes"], width) if self.table else nn.Linear(c["width"], width, bias=False))
        self.offset = 0 if self.table else start
        with torch.no_grad():
            if self.table and start is not None:
                self.rows.weight.fill_(start)

    def forward(self, condition):
        rows = self.rows(condition)
        return rows + self.offset if self.offset else rows


class Norm(nn.Module):
    """Batch norm, whose gain and bias are the condition's where there is one."""

    def __init__(self, width, c):
        super().__init__()
        self.norm = nn.BatchNorm2d(width, affine=not c)
        if c:
            self.gain, self.bias = Condition(c, width, 1), Condition(c, width, 0)

    def forward(self, x, condition):
        x = self.norm(x)
        if condition is None:
            return x
        return x * self.gain(condition)[:, :, None, None] + self.bias(condition)[:, :, None, None]


def smallest_side(size):
    while size > 7 and size % 2 == 0:
        size //= 2
    return size


def channels(v, side):
    return v["width"] * min(v["image_size"] // 2 // side, 8)


class Generator(nn.Module):
    def __init__(self, v):
        super().__init__()
        self.side = side = smallest_side(v["image_size"])
        self.linear = nn.Linear(v["latent"], side * side * channels(v, side), bias=False)
        self.norms, self.convs = nn.ModuleList(), nn.ModuleList()
        while side < v["image_size"]:
            last = 2 * side == v["image_size"]
            out = v.get("channels", 3) if last else channels(v, 2 * side)
            self.norms.append(Norm(channels(v, side), v.get("condition")))
            self.convs.append(nn.ConvTranspose2d(channels(v, side), out, 4, 2, 1, bias=last))
            side *= 2

    def forward(self, z, condition):
        x = self.linear(z).reshape(len(z), -1, self.side, self.side)
        if self.convs[0].weight.is_contiguous(memory_format=torch.channels_last):
            x = x.contiguous(memory_format=torch.channels_last)
        for norm, conv in zip(self.norms, self.convs):
            x = conv(F.relu(norm(x, condition)))
        return torch.tanh(x)


class Discriminator(nn.Module):
    def __init__(self, v):
        super().__init__()
        kind, side, into = v.get("discriminator_norm", "none"), v["image_size"], v.get("channels", 3)
        norm = spectral_norm if kind == "spectral" else lambda module: module
        layers = []
        while side > smallest_side(v["image_size"]):
            side //= 2
            normed = kind == "batch" and layers
            layers.append(norm(nn.Conv2d(into, channels(v, side), 4, 2, 1, bias=not normed)))
            layers += [nn.BatchNorm2d(channels(v, side))] if normed else []
            layers.append(nn.LeakyReLU(0.2))
            into = channels(v, side)
        self.features = nn.Sequential(*layers, nn.Flatten())
        self.output = norm(nn.Linear(into * side * side, 1))
        if v.get("condition"):
            self.projection = Condition(v["condition"], into * side * side, None, norm)

    def forward(self, x, condition):
        features = self.features(x)
        logits = self.output(features)[:, 0]
        return logits if condition is None else logits + (self.projection(condition) * features).sum(1)


def discriminator_loss(kind, real, fake):
    return {"minimax": lambda: F.softplus(-real).mean() + F.softplus(fake).mean(),
            "non_saturating": lambda: F.softplus(-real).mean() + F.softplus(fake).mean(),
            "hinge": lambda: F.relu(1 - real).mean() + F.relu(1 + fake).mean(),
            "least_squares": lambda: 0.5 * ((real - 1).square().mean() + fake.square().mean()),
            "wasserstein": lambda: fake.mean() - real.mean()}[kind]()


def generator_loss(kind, fake):
    return {"minimax": lambda: -F.softplus(fake).mean(), "non_saturating": lambda: F.softplus(-fake).mean(),
            "hinge": lambda: -fake.mean(), "wasserstein": lambda: -fake.mean(),
            "least_squares": lambda: 0.5 * (fake - 1).square().mean()}[kind]()


def random_condition(c, batch):
    if not c:
        return None
    if c["kind"] == "class":
        return torch.randint(c["classes"], (batch,))
    return F.normalize(torch.randn(batch, c["width"])) * c["width"] ** 0.5


class GAN:
    """A training in one way of writing it."""

    def __init__(self, config, batch, layout, joined):
        self.v, self.config, self.batch, self.joined = config["model"]["vision_cfg"], config, batch, joined
        self.g = Generator(self.v).to(memory_format=layout)
        self.d = Discriminator(self.v).to(memory_format=layout)
        self.average = copy.deepcopy(self.g)
        self.condition = random_condition(self.v.get("condition"), batch)
        size = self.v["image_size"]
        images = torch.rand(batch, self.v.get("channels", 3), size, size) * 2 - 1
        self.images = images.contiguous(memory_format=layout)
        self.g_optimizer = adam(config["generator"], self.g.parameters())
        self.d_optimizer = adam(config["discriminator"], self.d.parameters())

    def size(self):
        return sum(p.numel() for p in itertools.chain(self.g.parameters(), self.d.parameters()))

    def generate(self):
        return self.g(torch.randn(self.batch, self.v["latent"]), self.condition)

    def judge_both(self, fake):
        """A spectral norm moves by one iteration a step in either way."""
        if self.joined:
            twice = None if self.condition is None else torch.cat([self.condition] * 2)
            return self.d(torch.cat([self.images, fake]), twice).chunk(2)
        with parametrize.cached():
            return self.d(self.images, self.condition), self.d(fake, self.condition)

    def update_discriminator(self):
        self.d.requires_grad_(True)
        with torch.no_grad():
            fake = self.generate()
        loss = discriminator_loss(self.config["objective"]["loss"], *self.judge_both(fake))
        self.d_optimizer.zero_grad()
        loss.backward()
        self.d_optimizer.step()
        return loss.item()

    def update_generator(self):
        self.d.requires_grad_(False)
        loss = generator_loss(self.config["objective"]["loss"], self.d(self.generate(), self.condition))
        self.g_optimizer.zero_grad()
        loss.backward()
        self.g_optimizer.step()
        return loss.item()

    @torch.no_grad()
    def follow(self):
        torch._foreach_lerp_(list(self.average.parameters()), list(self.g.parameters()), 1 - self.config["average"])
        for kept, now in zip(self.average.buffers(), self.g.buffers()):
            kept.copy_(now)

    def step(self):
        for _ in range(self.config["objective"]["critic_steps"]):
            self.update_discriminator()
        self.update_generator()
        self.follow()


def gan_steps(config, batch):
    v = config["model"]["vision_cfg"]
    if v["network"] != "dcgan" or config["objective"]["penalty"] != "none":
        sys.exit("generative_peer.py knows the DCGAN without a penalty alone")
    made = {}
    layouts = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
    joins = (False, True) if v.get("discriminator_norm") != "batch" else (False,)
    for (name, layout), joined in itertools.product(layouts.items(), joins):
        gan = GAN(config, batch, layout, joined)
        made[name + (", one call" if joined else "")] = gan.step, gan.size()
    return made


# ---- Taking turns ----

def time_torch(step, seconds):
    """The medians of a step's seconds, by the clock and of processors, over about that many seconds."""
    step()
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        processor_start, start = time.process_time(), time.perf_counter()
        step()
        times.append((time.perf_counter() - start, time.process_time() - processor_start))
    return tuple(map(statistics.median, zip(*times)))


def time_duet(options, kind, steps):
    command = [options.duet, "bench", f"--{kind}", options.config, "--json", "--steps", str(steps)]
    if options.batch_size:
        command += ["--batch-size", str(options.batch_size)]
    environment = dict(os.environ, OMP_NUM_THREADS=str(options.threads))
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if run.returncode:
        sys.exit(run.stderr.strip() or f"{options.duet} failed")
    return json.loads(run.stdout)


def take_turns(options, kind, steps_of_torch, steps_of_duet):
    """For each round and program, "Duet" and every way in PyTorch, the two times."""
    rounds = []
    for i in range(options.rounds):
        duet = time_duet(options, kind, steps_of_duet)
        times = {"Duet": (duet["seconds_per_step"], duet["processor_seconds_per_step"])}
        for name, (step, _) in steps_of_torch.items():
            times[name] = time_torch(step, options.seconds)
        rounds.append(times)
        print(f"  round {i + 1}: " + told({name: t[0] for name, t in times.items()}), flush=True)
    return rounds


def told(seconds):
    return "; ".join(f"{name} {1e3 * s:.2f} ms" for name, s in seconds.items())


def compare(rounds, clock, what):
    """The ratio by one of the two times, of the way that is fastest by it."""
    median = {name: statistics.median(r[name][clock] for r in rounds) for name in rounds[0]}
    best = min((name for name in median if name != "Duet"), key=median.get)
    ratios = [r[best][clock] / r["Duet"][clock] for r in rounds]
    print(f"by {what}: {told(median)}")
    print(f"  Duet is {statistics.median(ratios):.2f} times as fast as PyTorch ({best}); {min(ratios):.2f} to "
          f"{max(ratios):.2f} in {len(rounds)} rounds")


def kind_of(config):
    """ "vae" or "gan"; what else is wrong with the file Duet says. """
    try:
        with open(config, encoding="utf-8") as file:
            kind = json.load(file)["model"]["vision_cfg"]["tower"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"{config}: not a training configuration of duet vae or duet gan ({error})")
    if kind not in ("vae", "gan"):
        sys.exit(f'{config}: vision_cfg.tower: expected "vae" or "gan", found {json.dumps(kind)}')
    return kind


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--duet", default="./duet", help="the program (default: ./duet)")
    parser.add_argument("--batch-size", type=int, help="default: the configuration's")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of both (default: all cores)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="for each way, in each round")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    kind = kind_of(options.config)
    first = time_duet(options, kind, 3)
    ways = (vae_steps if kind == "vae" else gan_steps)(first["config"], first["batch"])
    for name, (_, size) in ways.items():
        assert size == first["parameters"], f"PyTorch ({name}) has {size} parameters, Duet {first['parameters']}"
    print(f"{options.config}: batch {first['batch']}, {first['parameters']} parameters in both, {options.threads} thread(s), "
          f"PyTorch {torch.__version__}")
    rounds = take_turns(options, kind, ways, max(3, round(options.seconds / first["seconds_per_step"])))
    compare(rounds, 0, "the clock")
    compare(rounds, 1, "processors' time")
    if any(clock > 1.3 * processors for r in rounds for clock, processors in r.values()):
        print("Steps waited for a processor: the machine is busy, and only the second comparison tells (with --threads 1).")


if __name__ == "__main__":
    main()
