"""The points of interest of a head, as names of points of its skin."""

from __future__ import annotations

from math import asin

import numpy as np

from bench.mini.world.parameters import Expression, Floats
from bench.mini.world.surface import EYE_X, EYE_Y, HALF_WIDTH, MOUTH_Y, Chart, brow_line, lid, lip_lower, lip_upper


def _name(X: float, y: float, t: float) -> tuple[float, float, float]:
    return asin(min(max(X / HALF_WIDTH, -1.0), 1.0)), y, t


def _eye_names(c: Chart, e: Expression, side: int) -> list[tuple[float, float, float]]:
    """Return six points around an eye, in iBUG order: the viewer's left corner, upper lid, right corner, lower lid."""
    close = e.eye_close_left if side < 0 else e.eye_close_right

    def point(u: float, upper: bool) -> tuple[float, float, float]:
        low, high = lid(u, -c.eye_down, c.eye_tilt), lid(u, c.eye_up, c.eye_tilt)
        y = low + (high - low) * (1 - close) if upper else low
        return _name(side * (EYE_X + u * c.eye_half), EYE_Y + y, 0.0)

    across = [side * q for q in (-1.0, -0.36, 0.36, 1.0)]
    return [point(u, True) for u in across] + [point(across[2], False), point(across[1], False)]


def _brow_names(c: Chart, side: int) -> list[tuple[float, float, float]]:
    across = [side * q for q in (-0.98, -0.5, 0.0, 0.5, 0.98)]
    return [_name(side * (0.305 + v * c.brow_half), brow_line(v, c), 0.0) for v in across]


def _mouth_names(c: Chart) -> list[tuple[float, float, float]]:
    h = c.mouth_half
    upper = [(q * h, MOUTH_Y + lip_upper(q * h, h, c.lip_up), 0.0) for q in (-1, -0.62, -0.25, 0, 0.25, 0.62, 1)]
    lower = [(q * h, MOUTH_Y - lip_lower(q * h, h, c.lip_down), 1.0) for q in (0.62, 0.25, 0, -0.25, -0.62)]
    inner_upper = [(q * h, MOUTH_Y, 0.0) for q in (-0.9, -0.35, 0, 0.35, 0.9)]
    inner_lower = [(q * h, MOUTH_Y, 1.0) for q in (0.35, 0, -0.35)]
    return [_name(*p) for p in (*upper, *lower, *inner_upper, *inner_lower)]


_JAW_DEGREES = (-88, -86, -82, -76, -67, -55, -39, -20, 0, 20, 39, 55, 67, 76, 82, 86, 88)
_JAW_HEIGHTS = (0.02, -0.16, -0.33, -0.49, -0.62, -0.73, -0.83, -0.91, -0.945)


def landmark_names(c: Chart, e: Expression) -> Floats:
    """Return skin names (73, 3): the 68 landmarks, two pupils, and three points of the forehead that bound the box."""
    heights = (*_JAW_HEIGHTS, *_JAW_HEIGHTS[-2::-1])
    jaw = [(float(np.radians(d)), y, 1.0 if y < MOUTH_Y else 0.0) for d, y in zip(_JAW_DEGREES, heights, strict=True)]
    brows = _brow_names(c, -1) + _brow_names(c, 1)
    nose = [_name(0.0, y, 0.0) for y in (0.08, -0.05, -0.18, -0.31)]
    nose += [
        _name(x, y, 0.0) for x, y in ((-0.11, -0.395), (-0.055, -0.42), (0, -0.43), (0.055, -0.42), (0.11, -0.395))
    ]
    eyes = _eye_names(c, e, -1) + _eye_names(c, e, 1)
    pupils = [_name(side * EYE_X, EYE_Y, 0.0) for side in (-1, 1)]
    forehead = [_name(x, y, 0.0) for x, y in ((-0.45, 0.45), (0.0, 0.55), (0.45, 0.45))]
    return np.array(jaw + brows + nose + eyes + _mouth_names(c) + pupils + forehead, np.float32)
