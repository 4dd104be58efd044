#!/usr/bin/env python3
"""Rows of features and what they are apart, with numpy, scipy and mpmath. Written to distances.safetensors beside this file."""
import os

import mpmath
import numpy
import scipy.linalg
from safetensors.numpy import save_file

mpmath.mp.dps = 60


def rows(seed, n, dim, spread, shift):
    """Correlated rows whose directions differ in size by a factor of `spread`."""
    draw = numpy.random.default_rng(seed)
    mix = draw.normal(size=(dim, dim)) * numpy.geomspace(1, 1 / spread, dim)[:, None]
    return (draw.normal(size=(n, dim)) @ mix + shift).astype(numpy.float32)


def root(s):
    values, vectors = mpmath.eigsy(s)
    return vectors * mpmath.diag([mpmath.sqrt(max(v, 0)) for v in values]) * vectors.T


def gaussian(x):
    x = mpmath.matrix(x.astype(float).tolist())
    mean = [mpmath.fsum(x[:, j]) / x.rows for j in range(x.cols)]
    centred = mpmath.matrix(x.rows, x.cols)
    for i in range(x.rows):
        for j in range(x.cols):
            centred[i, j] = x[i, j] - mean[j]
    return mean, centred.T * centred / (x.rows - 1)


def frechet(a, b):
    (m, s), (n, t) = a, b
    r = root(s)
    values = mpmath.eigsy(r * t * r, eigvals_only=True)
    traces = mpmath.fsum(s[i, i] + t[i, i] for i in range(s.rows))
    return float(mpmath.fsum((p - q) ** 2 for p, q in zip(m, n)) + traces - 2 * mpmath.fsum(mpmath.sqrt(max(v, 0)) for v in values))


def kid(x, y):
    k = lambda p, q: (p @ q.T / p.shape[1] + 1) ** 3
    n, m = len(x), len(y)
    xx, yy = k(x, x), k(y, y)
    return (xx.sum() - xx.trace()) / (n * (n - 1)) + (yy.sum() - yy.trace()) / (m * (m - 1)) - 2 * k(x, y).mean()


def cmmd(x, y):
    x, y = (p / numpy.linalg.norm(p, axis=1, keepdims=True) for p in (x, y))
    k = lambda p, q: numpy.exp(-((p[:, None] - q[None]) ** 2).sum(-1) / 200)
    return 1000 * (k(x, x).mean() + k(y, y).mean() - 2 * k(x, y).mean())


def precision(x, y, k):
    d = lambda p, q: ((p[:, None] - q[None]) ** 2).sum(-1)
    radii = numpy.sort(d(x, x), axis=1)[:, k]  # column 0 is the row itself
    return (d(y, x) <= radii).any(1).mean()


def cases():
    full = rows(1, 60, 24, 30, 0.5), rows(2, 45, 24, 100, 0.7)
    yield "full", *full
    yield "few", rows(3, 6, 16, 3, 0), rows(4, 9, 16, 3, 0.2)
    yield "steep", rows(5, 50, 12, 1e6, 0), rows(6, 50, 12, 1e5, 0)
    near = full[0] + numpy.random.default_rng(7).normal(size=full[0].shape).astype(numpy.float32) * numpy.float32(0.6)
    near[:9] = full[0][3:12]
    near[20:25] = near[19]
    yield "near", full[0], near


tensors = {}
for name, a, b in cases():
    g, h = gaussian(a), gaussian(b)
    x, y = a.astype(float), b.astype(float)
    values = [frechet(g, h), kid(x, y), cmmd(x, y), precision(x, y, 3), precision(y, x, 3)]
    print(name, values)
    if name == "full":
        s, t = numpy.cov(x, rowvar=False), numpy.cov(y, rowvar=False)
        plain = ((x.mean(0) - y.mean(0)) ** 2).sum() + numpy.trace(s + t - 2 * scipy.linalg.sqrtm(s @ t).real)
        assert abs(plain - values[0]) < 1e-9 * values[0], plain
        tensors |= {"mean_a": x.mean(0), "mean_b": y.mean(0), "covariance_a": s, "covariance_b": t}
    tensors |= {name + ".a": a, name + ".b": b, name + ".values": numpy.array(values)}
save_file(tensors, os.path.join(os.path.dirname(os.path.abspath(__file__)), "distances.safetensors"))
