"""Formula weights in the layout of the official files, and golden cases."""

import json
from functools import lru_cache

import numpy as np
import torch

from tests.parity.formula import parameter
from tests.shared import GOLDEN

METRICS = GOLDEN / "metrics"
PROBE = METRICS / "weights_and_images_probe.npz"


@lru_cache(maxsize=1)
def salt():
    return json.loads((GOLDEN / "set.json").read_text())["salt"]


def constant():
    """The q of this golden set."""
    return int(json.loads((GOLDEN / "set.json").read_text())["q"])


def case(name):
    return np.load(METRICS / f"{name}.npz")


def formula_state(net):
    """The formula's state dict of one of the probe's networks, by official keys."""
    probe = np.load(PROBE)
    rows = zip(*(probe[f"{net}_{part}"] for part in ("keys", "shapes", "is_prelu")), strict=True)
    return {str(key): torch.from_numpy(parameter(salt(), str(key), shape_of(shape), bool(p))) for key, shape, p in rows}


def shape_of(text):
    return tuple(int(part) for part in str(text).split("x"))


def checks(array):
    """The six numbers that the golden files keep of a large array."""
    flat = np.asarray(array, dtype=np.float64).ravel()
    wave = np.cos(0.37 * np.arange(flat.size))
    return np.array([flat.sum(), np.abs(flat).sum(), (flat**2).sum(), flat @ wave, flat.min(), flat.max()])
