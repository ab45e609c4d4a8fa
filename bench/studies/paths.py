"""Describe what happens between two identities, and when identities are averaged.

A method that reads unit embeddings divides by the length again, so a straight line between two vectors becomes the arc
of a circle that is passed at uneven speed: slowly at the ends, fast in the middle. `slerp` passes it evenly.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

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


class Path(NamedTuple):
    """What a recogniser sees along one path of images.

    Attributes:
        crossing: place at which the images become more like b than like a; NaN where they never do, or do at once.
        crossings: number of changes of sides; 1 on a clean path.
        monotonicity: Spearman's correlation of the place with similarity to b minus similarity to a.
        from_vectors: mean absolute difference to the similarities that the vectors themselves have.
    """

    crossing: float
    crossings: int
    monotonicity: float
    from_vectors: float


def describe(at: ArrayLike, similarity: Floats, vectors: Floats) -> Path:
    """Return what similarities to both ends say about a path.

    Args:
        at: (n,) places in ascending order, 0 at a and 1 at b.
        similarity: (n, 2) similarity of the image at each place to a and to b; NaN where there is no face.
        vectors: (n, 2) similarity of the vectors at each place to a and to b (`cosines`).

    >>> similarity = np.array([[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]])
    >>> describe([0.0, 0.25, 0.75, 1.0], similarity, similarity)
    Path(crossing=0.5, crossings=1, monotonicity=1.0, from_vectors=0.0)
    """
    from bench.studies.agreement import srcc

    places = np.asarray(at, dtype=np.float64)
    known = np.isfinite(similarity).all(axis=1)
    places, lean = places[known], similarity[known, 1] - similarity[known, 0]
    if not len(places):
        return Path(float("nan"), 0, float("nan"), float("nan"))
    where = _crossings(places, lean)
    off = float(np.abs(similarity[known] - vectors[known]).mean())
    first = where[0] if len(where) else float("nan")
    return Path(float(first), len(where), float(srcc(lean[:, None], places)[0]), off)


def _crossings(places: Floats, lean: Floats) -> Floats:
    """Places at which the lean changes its side, by straight lines between neighbours; a lean of 0 is on b's side."""
    side = lean >= 0
    change = np.flatnonzero(side[1:] != side[:-1])
    share = lean[change] / (lean[change] - lean[change + 1])
    return np.asarray(places[change] + share * (places[change + 1] - places[change]))


def cosines(points: Floats, a: Floats, b: Floats) -> Floats:
    """Return (n, 2) cosines of points to both ends: the curve that images can be held against.

    >>> cosines(np.eye(2), np.array([1.0, 0.0]), np.array([1.0, 1.0])).round(4)
    array([[1.    , 0.7071],
           [0.    , 0.7071]])
    """
    return np.asarray(unit(points) @ unit(np.stack([a, b])).T)


def unevenness(steps: ArrayLike) -> float:
    """Return the largest step over the mean step between neighbours; 1 where all are equal, NaN of nothing.

    >>> unevenness([1.0, 1.0, 4.0])
    2.0
    """
    sizes = np.asarray(steps, dtype=np.float64)
    sizes = sizes[np.isfinite(sizes)]
    return float(sizes.max() / sizes.mean()) if len(sizes) and sizes.mean() > 0 else float("nan")


def nearest_is_third(point: Floats, gallery: Floats, ends: tuple[int, int]) -> bool:
    """Return whether the vector of an image is nearer to somebody else of a gallery than to both ends of its path.

    Args:
        point: (d,) embedding of the image at the middle.
        gallery: (n, d) embeddings of people.
        ends: rows of the two people of the path.

    >>> nearest_is_third(np.array([1.0, 1.0]), np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.1]]), (0, 1))
    True
    """
    similarity = unit(gallery) @ unit(point[None])[0]
    return int(np.argmax(similarity)) not in ends
