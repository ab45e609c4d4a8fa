"""Describe what happens between two identities: `bench.conditions.vectors` says what lies there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from bench.metrics.functional.cosine import Floats, unit


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
