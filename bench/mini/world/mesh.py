"""The one mesh that every head is: its vertices' names and its triangles."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.mini.world.parameters import Floats
from bench.mini.world.surface import MOUTH_Y

HEAD, EAR_LEFT, EAR_RIGHT, NECK, CLOTH, HAIR, FRAME, LENS = range(8)


class Mesh(NamedTuple):
    """names (V, 3) float32; parts: first vertex of each part, 9 entries; triangles (T, 3) int32; part (T,) int8."""

    names: Floats
    parts: npt.NDArray[np.int64]
    triangles: npt.NDArray[np.int32]
    part: npt.NDArray[np.int8]


def _names(rows: list[tuple[float, float]] | Floats, columns: Floats) -> Floats:
    """Return (R * C, 3) names of a grid: column value, then the row's two values."""
    row = np.asarray(rows, np.float32).reshape(-1, 2)
    out = np.empty((len(row), len(columns), 3), np.float32)
    out[..., 0] = columns
    out[..., 1:] = row[:, None]
    return out.reshape(-1, 3)


def _quads(rows: int, columns: int) -> npt.NDArray[np.int32]:
    """Return (2 (R - 1) (C - 1), 3) triangles of a grid, wound alike."""
    index = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    return np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])


def _head_rows() -> list[tuple[float, float]]:
    above = [1.0, 0.99, 0.96, 0.91, 0.85, 0.77, 0.68, 0.6, 0.52, 0.45, 0.39, 0.335, 0.29, 0.25, 0.21, 0.17, 0.13]
    above += [0.095, 0.065, 0.035, 0.005, -0.025, -0.055, -0.09, -0.13, -0.175, -0.22, -0.26, -0.29, -0.315, -0.34]
    above += [-0.365, -0.385, -0.405, -0.425, -0.445, -0.47, -0.495, -0.52, -0.54, -0.56, -0.58, -0.592]
    slit = [(MOUTH_Y, t) for t in (0.0, 0.25, 0.5, 0.75, 1.0)]
    below = [-0.608, -0.62, -0.64, -0.66, -0.68, -0.7, -0.72, -0.74, -0.765, -0.795, -0.83, -0.87, -0.905, -0.935]
    below += [-0.96, -0.98, -0.993, -1.0]
    return [(y, 0.0) for y in above] + slit + [(y, 1.0) for y in below]


def _head_columns() -> Floats:
    front = np.concatenate(
        [np.arange(0, 40, 2.5), np.arange(40, 70, 4), np.arange(70, 110, 6), np.arange(110, 181, 14)]
    )
    return np.radians(np.concatenate([-front[:0:-1], front])).astype(np.float32)


def _hair_rows() -> Floats:
    share = np.concatenate([np.linspace(0, 0.62, 24), np.linspace(0.66, 1, 9)])
    return np.stack([share, np.zeros_like(share)], 1).astype(np.float32)


@lru_cache(maxsize=1)
def mesh() -> Mesh:
    """Return the mesh: head, ears, neck, clothes, hair, frame and lenses of the glasses, in this order."""
    around = np.linspace(-np.pi, np.pi, 25).astype(np.float32)
    ring = np.linspace(0, 2 * np.pi, 21).astype(np.float32)
    pieces: list[tuple[int, list[tuple[float, float]] | Floats, Floats]] = [
        (HEAD, _head_rows(), _head_columns()),
        (EAR_LEFT, [(r, 0.0) for r in (0.0, 0.3, 0.5, 0.7, 0.85, 1.0)], ring),
        (EAR_RIGHT, [(r, 0.0) for r in (0.0, 0.3, 0.5, 0.7, 0.85, 1.0)], ring),
        (NECK, [(y, 0.0) for y in np.linspace(-0.35, -1.75, 12)], around),
        (CLOTH, [(y, 1.0) for y in (-1.28, -1.32, -1.4, -1.5, -1.62, -1.76, -1.95, -2.3, -2.8, -3.6)], around),
        (HAIR, _hair_rows(), np.linspace(-np.pi, np.pi, 73).astype(np.float32)),
        (FRAME, [(k, r) for k in (-1.0, 1.0) for r in (1.0, 1.2)], np.linspace(0, 2 * np.pi, 33).astype(np.float32)),
        (FRAME, [(0.0, r) for r in (0.0, 1.0)], np.linspace(-1, 1, 9).astype(np.float32)),
        (FRAME, [(k, r) for k in (-2.0, 2.0) for r in (0.0, 1.0)], np.linspace(0, 1, 7).astype(np.float32)),
        (LENS, [(k, r) for k in (-1.0, 1.0) for r in (0.0, 1.0)], np.linspace(0, 2 * np.pi, 33).astype(np.float32)),
    ]
    starts: dict[int, int] = {}
    names, triangles, part, offset = [], [], [], 0
    for kind, rows, columns in pieces:
        starts.setdefault(kind, offset)
        paired = kind == LENS or (kind == FRAME and len(rows) == 4)
        faces = _quads(len(rows), len(columns))
        if paired:
            middle = len(columns)
            faces = faces[~((faces // middle == 1).any(1) & (faces // middle == 2).any(1))]
        names.append(_names(rows, columns))
        triangles.append(faces + offset)
        part.append(np.full(len(faces), kind, np.int8))
        offset += len(names[-1])
    ends = np.array([*(starts[k] for k in range(8)), offset], np.int64)
    return Mesh(np.concatenate(names), ends, np.concatenate(triangles).astype(np.int32), np.concatenate(part))
