"""Rotations of a head as matrices: angles between them, and bins of its turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.metrics.functional.cosine import Floats

DIMENSION = 9
"""The feature of a head pose network: a rotation matrix row by row."""


def angle_degrees(a: NDArray[Any], b: NDArray[Any]) -> Floats:
    """Return the angles (n,) in degrees, 0 to 180, of the rotations that take one head into the other.

    By the arc tangent of sine and cosine, which keeps its digits near 0 and near 180. No sign of any angle matters.

    Args:
        a: (n, 9) rotation matrices row by row.
        b: (n, 9).

    >>> quarter = np.array([[0, -1, 0, 1, 0, 0, 0, 0, 1]])
    >>> angle_degrees(np.eye(3).reshape(1, 9), quarter)
    array([90.])
    """
    between = np.einsum("nki,nkj->nij", *(np.asarray(m, np.float64).reshape(-1, 3, 3) for m in (a, b)))
    skew = between - between.transpose(0, 2, 1)
    sine = np.sqrt(skew[:, 2, 1] ** 2 + skew[:, 0, 2] ** 2 + skew[:, 1, 0] ** 2)
    return np.degrees(np.arctan2(sine, np.trace(between, axis1=1, axis2=2) - 1))


def yaw_degrees(matrices: NDArray[Any]) -> Floats:
    """Return the yaw (n,) in degrees, -90 to 90, of rotation matrices Rz(roll) Ry(yaw) Rx(pitch).

    Args:
        matrices: (n, 9) row by row.

    >>> yaw_degrees(np.array([[0, 0, 1, 0, 1, 0, -1, 0, 0]])).tolist()
    [90.0]
    """
    r = np.asarray(matrices, np.float64)
    return np.degrees(np.arctan2(-r[:, 6], np.hypot(r[:, 0], r[:, 3])))


def turn_bins(yaw: NDArray[Any], edges: Sequence[float]) -> NDArray[np.int64]:
    """Return the bin (n,) of each head by how far it is turned to either side: 0 below the first edge.

    Args:
        yaw: (n,) degrees; NaN falls into no bin, -1.
        edges: ascending, degrees; an edge belongs to the bin above it.

    >>> turn_bins(np.array([-10.0, 15.0, -50.0, np.nan]), (15, 45)).tolist()
    [0, 1, 2, -1]
    """
    values = np.abs(np.asarray(yaw, np.float64))
    return np.where(np.isnan(values), -1, np.digitize(values, edges))
