"""Descriptors of whole images, for finding copies."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.metrics.functional.cosine import Floats, unit


def centred(features: NDArray[Any], references: NDArray[Any]) -> Floats:
    """Return unit descriptors (n, d) from which the mean descriptor of the references was taken.

    Portraits resemble each other; without what they share, strangers score about 0.

    Args:
        features: (n, d).
        references: (m, d) of the same network; rows with a NaN are passed over.

    >>> centred(np.array([[3.0, 0.0]]), np.array([[1.0, 1.0], [1.0, -1.0]]))
    array([[1., 0.]])
    """
    return unit(unit(features) - np.nanmean(unit(references), axis=0))
