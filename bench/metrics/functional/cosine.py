"""Cosines between embeddings, in float64 and in blocks of bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.metrics.functional.arrays import Floats, Rows
from bench.threads import computed

_BLOCK = 4096
DECIMALS = 9
"""Cosines that are compared with a threshold or with each other are rounded to this many decimals: equal images then
tie exactly, whatever the order in which a matrix product adds."""


def blocks(size: int, step: int = _BLOCK) -> Iterator[slice]:
    """Slices that cover 0..size.

    >>> list(blocks(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return (slice(start, min(start + step, size)) for start in range(0, size, step))


def unit(matrix: NDArray[Any]) -> Floats:
    """(n, d) rows divided by their length, float64; a row without a direction (zero, NaN) becomes NaN.

    >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [nan, nan]])
    """
    rows = np.asarray(matrix, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def cosines(a: NDArray[Any], rows_a: Rows, b: NDArray[Any], rows_b: Rows) -> Floats:
    """(k,) cosine of row `rows_a[i]` of `a` with row `rows_b[i]` of `b`, clipped to [-1, 1]; NaN where one has none.

    >>> cosines(np.eye(2), np.array([0, 0]), np.eye(2), np.array([0, 1]))
    array([1., 0.])
    """

    def of(part: slice) -> Floats:
        x, y = a[rows_a[part]].astype(np.float64), b[rows_b[part]].astype(np.float64)
        lengths = np.sqrt(np.vecdot(x, x)) * np.sqrt(np.vecdot(y, y))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.vecdot(x, y) / lengths)

    parts = computed(of, blocks(len(rows_a), 512))  # small enough to stay in the cache
    return np.clip(np.concatenate([np.empty(0), *parts]), -1.0, 1.0)
