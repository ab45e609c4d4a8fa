"""Formula weights and images of the golden judges (its README, section 1), in the layout of the official files."""

import json
from functools import lru_cache

import numpy as np
import torch

from tests.parity.formula import simg, timg, uniform
from tests.shared import GOLDEN

FOLDER = GOLDEN / "judges"


@lru_cache(maxsize=1)
def settings():
    """The salt and the constant q of this golden set."""
    return json.loads((GOLDEN / "set.json").read_text())


@lru_cache(maxsize=4)
def case(name):
    """All arrays of one case."""
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


def state(golden, net, strip=""):
    """The official state dict of a case's network, each tensor held to the numbers that the case keeps of it."""
    parts = ("keys", "shapes", "kinds", "gain", "first", "last", "abs_sum")
    rows = zip(*(golden[f"{net}_{part}"] for part in parts), strict=True)
    return {str(key).removeprefix(strip): _tensor(str(key), *row) for key, *row in rows}


def _tensor(key, shape, kind, gain, first, last, abs_sum):
    shape = tuple(int(part) for part in str(shape).split(",") if part)
    flat = parameter(key, shape, str(kind), float(gain)).ravel()
    np.testing.assert_array_equal([flat[0], flat[-1]], [first, last])
    np.testing.assert_allclose(np.abs(flat).sum(dtype=np.float64), abs_sum, rtol=1e-12)
    return torch.from_numpy(flat.reshape(shape))


def parameter(key, shape, kind, gain):
    """The float32 values of one parameter."""
    values = uniform(settings()["salt"], key, int(np.prod(shape)))
    scaled = SCALES[kind](values) if kind != "w" else _matrix(values, shape)
    scaled = scaled.astype(np.float32)
    return scaled if gain == 1 else (scaled.astype(np.float64) * gain).astype(np.float32)


SCALES = {
    "norm": lambda v: 1 + 0.1 * v,
    "damped": lambda v: 0.3 * (1 + 0.1 * v),
    "prelu": lambda v: 0.25 + 0.05 * v,
    "bias": lambda v: 0.02 * v,
    "mean": lambda v: 0.05 * v,
    "var": lambda v: 1 + 0.2 * v,
    "scale": lambda v: 0.5 + 0.1 * v,
    "pos": lambda v: 0.2 * v,
}


def _matrix(values, shape):
    rows = values.reshape(shape[0], -1)
    fan = rows.shape[1]
    return (rows - rows.mean(axis=1, keepdims=True) if fan > 1 else rows) * np.sqrt(6 / fan)


def images(golden, prefix=""):
    """The images of a case, (H, W, 3) uint8 RGB each; with `image_roll` one more, the first moved to the right."""
    kinds, rows = golden[f"{prefix}image_kinds"], golden[f"{prefix}image_args"]
    found = [image(str(kind), *(int(n) for n in row)) for kind, row in zip(kinds, rows, strict=True)]
    roll = golden.get(f"{prefix}image_roll")
    return found if roll is None else [*found, np.roll(found[0], int(roll), axis=1)]


def image(kind, h, w, k, q):
    """One image by its formula."""
    if kind == "mix":
        return timg(h, w, k, q) // 2 + simg(h, w, k + 1, q) // 2
    return {"timg": timg, "simg": simg}[kind](h, w, k, q)


def unit(vectors):
    """Rows divided by their lengths."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def cosines(left, right):
    """Cosine of each row of `left` with the same row of `right`."""
    return (unit(left) * unit(right)).sum(-1)
