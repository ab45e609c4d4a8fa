"""How alike two embeddings are, by the distance that their recogniser declares: a number in [-1, 1], higher is more.

A Euclidean distance d counts as the similarity (1 - d) / (1 + d): 1 for equal embeddings, 0 at the distance 1, towards
-1 beyond. The map is strictly decreasing, so a threshold on it is a threshold on the distance, and every number of a
recogniser has one range and one direction, whatever its distance.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.metrics.functional.arrays import Floats, Rows
from bench.metrics.functional.cosine import blocks, cosines, unit

Distance = Literal["cosine", "euclidean"]


def closeness(distance: NDArray[Any]) -> Floats:
    """Return the similarity of Euclidean distances.

    >>> closeness(np.array([0.0, 0.6, 1.0, 3.0])).round(6).tolist()
    [1.0, 0.25, 0.0, -0.5]
    """
    lengths = np.asarray(distance, np.float64)
    return (1 - lengths) / (1 + lengths)


def alike(a: NDArray[Any], rows_a: Rows, b: NDArray[Any], rows_b: Rows, distance: Distance) -> Floats:
    """Return how alike (k,) row `rows_a[i]` of `a` and row `rows_b[i]` of `b` are; NaN where one has no embedding.

    Args:
        a: (n, d) embeddings.
        rows_a: (k,).
        b: (m, d) embeddings.
        rows_b: (k,).
        distance: the recogniser's.

    >>> alike(np.array([[3.0, 0.0]]), np.array([0]), np.array([[0.0, 4.0]]), np.array([0]), "euclidean").round(6)
    array([-0.666667])
    """
    if distance == "cosine":
        return cosines(a, rows_a, b, rows_b)
    return closeness(_lengths(a, rows_a, b, rows_b))


def apart(a: NDArray[Any], rows_a: Rows, b: NDArray[Any], rows_b: Rows, distance: Distance) -> Floats:
    """Return how far apart (k,) the rows are, in a measure that keeps the triangle inequality; arguments as `alike`.

    "cosine": the angle in radians; "euclidean": the length of the difference.

    >>> apart(np.array([[3.0, 0.0]]), np.array([0]), np.array([[0.0, 4.0]]), np.array([0]), "euclidean")
    array([5.])
    """
    if distance == "cosine":
        return np.asarray(np.arccos(cosines(a, rows_a, b, rows_b)))
    return _lengths(a, rows_a, b, rows_b)


def _lengths(a: NDArray[Any], rows_a: Rows, b: NDArray[Any], rows_b: Rows) -> Floats:
    result = np.empty(len(rows_a))
    for part in blocks(len(rows_a), 512):
        difference = a[rows_a[part]].astype(np.float64) - b[rows_b[part]].astype(np.float64)
        result[part] = np.sqrt(np.vecdot(difference, difference))
    return result


def comparable(matrix: NDArray[Any], distance: Distance) -> Floats:
    """Return the rows as `table` compares them: float64, of length 1 where cosines compare them."""
    return unit(matrix) if distance == "cosine" else np.asarray(matrix, np.float64)


def table(a: Floats, b: Floats, distance: Distance) -> Floats:
    """Return how alike (n, m) all rows of two matrices are, given as `comparable` returns them.

    >>> two = np.array([[0.0, 0.0], [0.0, 3.0]])
    >>> table(two, two, "euclidean").tolist()
    [[1.0, -0.5], [-0.5, 1.0]]
    """
    if distance == "cosine":
        return np.asarray(a @ b.T)
    from scipy.spatial.distance import cdist

    return closeness(cdist(a, b))
