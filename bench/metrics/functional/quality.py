"""Face quality: the level of the references, and what holds above it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.metrics.functional.cosine import Floats

ROUNDING = 1e-9
"""Added to a number of references before it is cut down: 0.29 x 100 is 28.999999999999996."""
LOWEST = 0.05
"""Share of the references that may lie below their own level."""


def level(references: NDArray[Any], lowest: float = LOWEST) -> float:
    """Return the largest quality that all but at most the share `lowest` of the references reach; one of their values.

    Args:
        references: (n,) qualities, at least one that is a number; NaN is passed over.
        lowest: 0 to 1.

    >>> level(np.array([5.0, 1.0, 3.0, 2.0, 4.0]), 0.2)
    2.0
    """
    values = np.asarray(references, np.float64)
    ordered = np.sort(values[~np.isnan(values)])
    return float(ordered[math.floor(lowest * len(ordered) + ROUNDING)])


def above(values: NDArray[Any], quality: NDArray[Any], floor: float) -> Floats:
    """Return the values (n,) of the samples whose quality reaches the floor, NaN for the others.

    Args:
        values: (n,), e.g. similarities.
        quality: (n,) of the same samples; one that is not a number reaches nothing.
        floor: the least quality that counts.

    >>> above(np.array([0.5, 0.9]), np.array([3.0, 1.0]), 2.0)
    array([0.5, nan])
    """
    with np.errstate(invalid="ignore"):
        return np.where(np.asarray(quality) >= floor, np.asarray(values, np.float64), np.nan)
