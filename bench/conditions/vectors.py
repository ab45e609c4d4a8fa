"""Vectors of identities: points between two of them, and averages of several.

A method that reads unit embeddings divides by the length again, so a straight line between two vectors becomes the arc
of a circle that is passed at uneven speed: slowly at the ends, fast in the middle. `slerp` passes it evenly.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from bench.metrics.functional.cosine import Floats, unit

Kind = Literal["lerp", "slerp"]
Average = Literal["raw", "unit"]


def lerp(a: Floats, b: Floats, at: ArrayLike) -> Floats:
    """Return (n, d) points (1 - t) a + t b of the straight line between two vectors; not of length 1 in between.

    >>> lerp(np.array([1.0, 0.0]), np.array([0.0, 1.0]), [0.0, 0.25])
    array([[1.  , 0.  ],
           [0.75, 0.25]])
    """
    t = np.asarray(at, dtype=np.float64)[:, None]
    return np.asarray((1 - t) * a + t * b)


def slerp(a: Floats, b: Floats, at: ArrayLike) -> Floats:
    """Return (n, d) points of the great circle between two directions, at even speed, of length 1.

    Args:
        a: (d,) a vector; its direction counts.
        b: (d,) another one, not opposite to it: between opposite directions no circle is the shortest.
        at: (n,) places, 0 at a and 1 at b.

    >>> slerp(np.array([1.0, 0.0]), np.array([0.0, 1.0]), [1 / 3]).round(6)
    array([[0.866025, 0.5     ]])
    """
    first, second = unit(np.stack([a, b]))
    t = np.asarray(at, dtype=np.float64)[:, None]
    # atan2 keeps all digits where the directions are almost equal, which arccos loses.
    angle = 2 * np.arctan2(np.linalg.norm(first - second), np.linalg.norm(first + second))
    if angle < 1e-12:
        return unit(lerp(first, second, t[:, 0]))
    return np.asarray((np.sin((1 - t) * angle) * first + np.sin(t * angle) * second) / np.sin(angle))


def path(a: Floats, b: Floats, at: ArrayLike, kind: Kind) -> Floats:
    """Return (n, d) unit vectors from the direction of a to that of b: what a method is given."""
    ends = unit(np.stack([a, b]))
    return unit(lerp(ends[0], ends[1], at)) if kind == "lerp" else slerp(ends[0], ends[1], at)


def average(vectors: Floats, kind: Average) -> Floats:
    """Return the (d,) unit vector of the mean: of the vectors as they are, or of their directions.

    A recogniser's raw embedding is longer for a clear face, so the raw mean leans towards clear photos.

    >>> average(np.array([[3.0, 0.0], [0.0, 1.0]]), "unit").round(6)
    array([0.707107, 0.707107])
    """
    rows = unit(vectors) if kind == "unit" else np.asarray(vectors, dtype=np.float64)
    return np.asarray(unit(rows.mean(axis=0, keepdims=True))[0])
