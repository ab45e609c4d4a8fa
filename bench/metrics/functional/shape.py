"""Face shapes in FLAME's space: how far apart two of them are in millimetres."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.metrics.functional.cosine import Floats, blocks


def vertex_distances_mm(a: NDArray[Any], b: NDArray[Any], basis: NDArray[Any]) -> Floats:
    """Return the mean distance (n,) in millimetres between the vertices of two faces at rest.

    Args:
        a: (n, k) shape parameters.
        b: (n, k).
        basis: (v, 3, m) metres, m at least k: FLAME's `shapedirs`; the template cancels.

    >>> vertex_distances_mm(np.array([[2.0]]), np.zeros((1, 1)), np.array([[[0.003], [0.0], [0.004]]]))
    array([10.])
    """
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    moved = np.asarray(basis, np.float64)[:, :, : difference.shape[1]]
    result = np.empty(len(difference))
    for part in blocks(len(difference), 64):
        apart = np.einsum("nk,vck->nvc", difference[part], moved)
        result[part] = 1000 * np.linalg.norm(apart, axis=2).mean(1)
    return result
