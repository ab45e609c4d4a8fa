"""The formulas of the golden study data (its README): pseudo-random arrays by name."""

import json

import numpy as np

from tests.parity.formula import uniform
from tests.shared import GOLDEN

STUDIES = GOLDEN / "studies"


def salt():
    return json.loads((GOLDEN / "set.json").read_text())["salt"]


def study(name):
    return np.load(STUDIES / f"{name}.npz")


def flat(name, shape):
    """U(name, shape)."""
    return uniform(salt(), f"study/{name}", int(np.prod(shape))).reshape(shape)


def bell(name, shape):
    """G(name, shape): the sum of three."""
    return sum(flat(f"{name}/{k}", shape) for k in range(3))
