"""FLAME parameters: the layout of the "flame" feature and distances between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from bench.metrics.functional.arrays import Floats, Rows
from bench.metrics.functional.cosine import blocks

EXPRESSION = slice(0, 50)
GLOBAL = slice(50, 53)
JAW = slice(53, 56)
POSE = slice(50, 56)
DIMENSION = 56
"""The feature of every FLAME extractor: 50 expression coefficients, then the rotations of head and jaw as axis-angle
vectors in radians."""

Distance = Callable[[Floats, Floats], Floats]


def l2(part: slice) -> Distance:
    """Euclidean distance between rows, over a part of the feature.

    >>> zeros, ones = np.zeros((1, 56)), np.ones((1, 56))
    >>> l2(JAW)(zeros, ones).round(6)
    array([1.732051])
    """
    return lambda a, b: np.linalg.norm(a[:, part] - b[:, part], axis=1)


def quaternions(axis_angle: Floats) -> Floats:
    """(n, 4) unit quaternions (scalar first) of (n, 3) axis-angle vectors in radians; exact at 0.

    >>> quaternions(np.array([[0.0, 0.0, np.pi]])).round(6)
    array([[0., 0., 0., 1.]])
    """
    half = np.linalg.norm(axis_angle, axis=1, keepdims=True) / 2
    return np.concatenate([np.cos(half), axis_angle * np.sinc(half / np.pi) / 2], axis=1)


def geodesic(a: Floats, b: Floats) -> Floats:
    """(n,) angle in radians, 0 to pi, of the rotation that takes one into the other, for (n, 3) axis-angle vectors.

    Through quaternions and atan2, which keeps all digits near 0 and near pi, where the trace formula loses half.

    >>> geodesic(np.array([[1e-9, 0.0, 0.0]]), np.zeros((1, 3)))
    array([1.e-09])
    """
    p, q = quaternions(a), quaternions(b)
    scalar = np.einsum("ij,ij->i", p, q)
    vector = p[:, :1] * q[:, 1:] - q[:, :1] * p[:, 1:] - np.cross(p[:, 1:], q[:, 1:])
    return 2 * np.arctan2(np.linalg.norm(vector, axis=1), np.abs(scalar))


def geodesic_degrees(a: Floats, b: Floats) -> Floats:
    """(n,) geodesic angle in degrees between the head rotations of two features.

    >>> turned = np.zeros((1, 56)); turned[0, 51] = np.pi / 2
    >>> geodesic_degrees(turned, np.zeros((1, 56))).round(9)
    array([90.])
    """
    return np.degrees(geodesic(a[:, GLOBAL], b[:, GLOBAL]))


DISTANCES: Mapping[str, Distance] = {
    "pose6": l2(POSE),
    "global3": l2(GLOBAL),
    "jaw3": l2(JAW),
    "geodesic_degrees": geodesic_degrees,
}


def distances(features: NDArray[np.float32], first: Rows, second: Rows, distance: Distance) -> Floats:
    """(k,) distances between pairs of rows, in float64 and in blocks."""
    result = np.empty(len(first))
    for part in blocks(len(first), 65536):
        a, b = (features[rows[part]].astype(np.float64) for rows in (first, second))
        result[part] = distance(a, b)
    return result
