"""How alike two embeddings are, by the distance that their recogniser declares."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.metrics.functional.cosine import Floats, blocks, cosines
from bench.metrics.shared.eligibility import Rows


def alike(
    a: NDArray[Any], rows_a: Rows, b: NDArray[Any], rows_b: Rows, distance: Literal["cosine", "euclidean"]
) -> Floats:
    """Return how alike (k,) row `rows_a[i]` of `a` and row `rows_b[i]` of `b` are: higher is more.

    Args:
        a: (n, d) embeddings.
        rows_a: (k,).
        b: (m, d) embeddings.
        rows_b: (k,).
        distance: "cosine": the cosine; "euclidean": minus the length of the difference, at most 0.

    >>> alike(np.array([[3.0, 0.0]]), np.array([0]), np.array([[0.0, 4.0]]), np.array([0]), "euclidean")
    array([-5.])
    """
    if distance == "cosine":
        return cosines(a, rows_a, b, rows_b)
    result = np.empty(len(rows_a))
    for part in blocks(len(rows_a), 512):
        difference = a[rows_a[part]].astype(np.float64) - b[rows_b[part]].astype(np.float64)
        result[part] = -np.sqrt(np.vecdot(difference, difference))
    return result
