"""Where the parts of a head lie in space, compiled.

Head space: x to the viewer's right, y up, z to the viewer, chin at y = -1 and crown at y = 1 for the average head. A point
of the head's skin is named by (theta, y, t): longitude (0 in front, pi/2 at the viewer's right), canonical height, and
the side of the mouth's slit (0 above, 1 below, between them inside the mouth). Expression and identity move the point; its
name stays. `X = 0.72 sin(theta)` is the canonical distance from the middle of the face.
"""

from __future__ import annotations

from math import cos, pi, sin, sqrt
from typing import NamedTuple

import numpy as np
from numba import njit

from bench.mini.world.parameters import JAW_RADIANS, Expression, Floats, Identity

HALF_WIDTH = 0.72
MOUTH_Y = -0.60
EYE_X, EYE_Y = 0.30, 0.0
BALD = 0.15
"""Below this `hair_amount` hair has no volume, below 0.06 there is none."""
_COMPILE = {"cache": True, "nogil": True, "error_model": "numpy"}


class Chart(NamedTuple):
    """The outlines that are painted onto the skin, in canonical X and y: of eyes, brows, mouth."""

    eye_half: float
    eye_up: float
    eye_down: float
    eye_tilt: float
    brow_y: float
    brow_half: float
    brow_arch: float
    brow_tilt: float
    brow_thick: float
    mouth_half: float
    lip_up: float
    lip_down: float


def chart(i: Identity) -> Chart:
    """The outlines of an identity's features."""
    size = 1.06 + 0.18 * i.eye_size
    return Chart(
        eye_half=0.150 * size,
        eye_up=0.072 * size * (1 + 0.25 * i.eye_openness),
        eye_down=0.046 * size * (1 + 0.20 * i.eye_openness),
        eye_tilt=0.030 * i.eye_tilt,
        brow_y=0.205 + 0.030 * i.brow_height,
        brow_half=0.185 * (1 + 0.15 * i.brow_length),
        brow_arch=0.040 + 0.035 * i.brow_arch,
        brow_tilt=0.025 * i.brow_tilt,
        brow_thick=0.034 * (1 + 0.55 * i.brow_thickness),
        mouth_half=0.250 * (1 + 0.16 * i.mouth_width),
        lip_up=0.064 * (1 + 0.55 * i.upper_lip),
        lip_down=0.086 * (1 + 0.50 * i.lower_lip),
    )


@njit(**_COMPILE)
def bump(x: float, width: float) -> float:
    """A hill of height 1 at x = 0: (1 - q^2 / 6)^6 with q = x / width, close to exp(-q^2), and 0 beyond 2.45 widths."""
    p = 1 - x * x / (6 * width * width)
    return p * p * p * p * p * p if p > 0 else 0.0


@njit(**_COMPILE)
def ramp(low: float, high: float, x: float) -> float:
    """Smooth step from 0 at `low` to 1 at `high` (which may be the smaller)."""
    q = min(max((x - low) / (high - low), 0.0), 1.0)
    return q * q * (3 - 2 * q)


@njit(**_COMPILE)
def lid(u: float, height: float, tilt: float) -> float:
    """Height of a lid's edge over the eye's centre at u in [-1, 1] across the eye (+1: outer corner)."""
    return tilt * u + height * (1 - u * u) * (1 - 0.18 * u)


@njit(**_COMPILE)
def mouth_opening(X: float, half: float) -> float:
    """How far the mouth opens at X, relative to its middle: 0 at the corners and beyond."""
    q = X / half
    return (1 - q * q) ** 0.6 if -1 < q < 1 else 0.0


@njit(**_COMPILE)
def lip_upper(X: float, half: float, height: float) -> float:
    """Height of the upper lip's outer edge over the mouth's line."""
    q = min(abs(X) / half, 1.0)
    return height * (1 - q * q) * (1 - 0.28 * bump(X, 0.035)) * (1 + 0.18 * bump(abs(X) - 0.06, 0.05))


@njit(**_COMPILE)
def lip_lower(X: float, half: float, height: float) -> float:
    """Depth of the lower lip's outer edge below the mouth's line."""
    q = min(abs(X) / half, 1.0)
    return height * (1 - q * q) ** 0.75


@njit(**_COMPILE)
def brow_line(v: float, c: Chart) -> float:
    """Height of the brow's middle line at v in [-1, 1] (+1: outer end)."""
    return c.brow_y + c.brow_arch * (1 - (v - 0.35) ** 2) - c.brow_arch * 0.7 + c.brow_tilt * v


@njit(**_COMPILE)
def skull(theta: float, y: float, i: Identity) -> tuple[float, float, float]:
    """The head's form without its features: stacked sections, wide at the cheekbones, shifted forward at the chin."""
    s, c = sin(theta), cos(theta)
    r = max(1 - y * y, 0.0) ** 0.45
    wide = 1 + 0.12 * i.head_width + 0.05 * bump(y + 0.62, 0.22) - 0.05 * bump(y + 0.95, 0.15)
    wide += 0.08 * i.cheekbone_width * bump(y + 0.10, 0.24) + 0.15 * i.jaw_width * bump(y + 0.62, 0.24)
    wide += 0.09 * i.forehead_width * bump(y - 0.50, 0.36) + 0.16 * i.chin_width * bump(y + 0.93, 0.17)
    wide += 0.04 * bump(y - 0.5, 0.4)
    side = HALF_WIDTH * r * wide
    inner = min(HALF_WIDTH * (1 + 0.12 * i.head_width), 1.35 * side)
    x = s * (inner * (1 - s * s) + side * s * s)
    deep = 1 + 0.08 * i.head_depth
    front = 0.80 * r * deep * (1 + 0.07 * bump(y - 0.6, 0.35) * (1 - i.forehead_slope))
    z = 0.33 * ramp(-0.20, -1.0, y) + (front if c > 0 else 0.98 * r * deep) * c
    lift = ramp(-0.35, -1.0, y) * (0.20 * min(max((0.60 - z) / 1.3, 0.0), 1.0) + 0.42 * ramp(0.15, -0.75, z))
    crown = 0.10 * i.crown_height * ramp(0.3, 1.0, y)
    chin = 0.10 * i.chin_length * ramp(-0.55, -1.0, y)
    return x, y + lift + crown - chin, z


@njit(**_COMPILE)
def _face_depth(X: float, y: float, i: Identity) -> float:
    """How far the features of the face stand out (z)."""
    a = abs(X)
    ex = a - EYE_X
    dz = (0.035 + 0.035 * i.brow_ridge) * bump(ex, 0.20) * bump(y - 0.20, 0.10)
    dz -= (0.085 + 0.030 * i.eye_depth) * bump(ex + 0.02, 0.16) * bump(y - 0.03, 0.13)
    dz += 0.040 * bump(ex, 0.13) * bump(y, 0.085)
    dz += 0.035 * (1 + i.cheekbone_width) * bump(a - 0.46, 0.16) * bump(y + 0.12, 0.12)
    dz += (0.01 + 0.07 * i.cheek_fullness) * bump(a - 0.40, 0.17) * bump(y + 0.42, 0.20)
    down = min(max((0.13 - y) / 0.44, 0.0), 1.0)
    nose = (0.055 * (1 + 0.9 * i.nose_bridge)) * bump(y - 0.02, 0.20) + 0.160 * (
        1 + 0.32 * i.nose_projection
    ) * down**1.2
    nose *= ramp(-0.455, -0.325, y) * ramp(0.30, 0.05, y)
    dz += nose * bump(X, 0.088 * (1 + 0.30 * i.nose_bridge_width) + 0.035 * down * (1 + 0.5 * i.nose_width))
    dz += 0.040 * bump(X, 0.090 + 0.015 * i.nose_width) * bump(y + 0.325, 0.080)
    dz += 0.100 * bump(a - 0.110 * (1 + 0.25 * i.nose_width), 0.050) * bump(y + 0.365, 0.055)
    dz += 0.060 * bump(X, 0.28) * bump(y + 0.58, 0.17)
    dz += 0.10 * (1 + i.chin_forward) * bump(X, 0.20) * bump(y + 0.90, 0.13)
    dz -= (0.008 + 0.016 * i.chin_cleft) * bump(X, 0.042) * bump(y + 0.90, 0.08)
    return dz - 0.030 * bump(X, 0.20) * bump(y + 0.745, 0.045)


@njit(**_COMPILE)
def _lip_depth(X: float, y: float, c: Chart) -> float:
    middle = bump(X, c.mouth_half * 0.75)
    dz = 0.55 * c.lip_up * middle * bump(y - MOUTH_Y - 0.45 * c.lip_up, 0.55 * c.lip_up)
    dz += 0.60 * c.lip_down * middle * bump(y - MOUTH_Y + 0.50 * c.lip_down, 0.55 * c.lip_down)
    return dz - 0.012 * bump(X, 0.028) * bump(y + 0.485, 0.05)


@njit(**_COMPILE)
def _shift(X: float, y: float, i: Identity) -> tuple[float, float]:
    """Where identity moves the features within the face (x, y)."""
    a, sign = abs(X), 1.0 if X > 0 else -1.0
    dx = sign * 0.055 * i.eye_distance * bump(a - EYE_X, 0.20) * bump(y - 0.05, 0.22)
    dx += 0.42 * X * i.nose_width * bump(X, 0.19) * bump(y + 0.37, 0.10)
    dy = 0.045 * i.eye_height * bump(a - EYE_X, 0.35) * bump(y - 0.05, 0.28)
    dy -= 0.080 * i.nose_length * bump(X, 0.22) * bump(y + 0.35, 0.17)
    dy += 0.040 * i.nose_upturn * bump(X, 0.12) * bump(y + 0.30, 0.08)
    dy += 0.045 * i.mouth_height * bump(X, 0.40) * bump(y + 0.60, 0.17)
    dy += 0.018 * i.mouth_curve * (bump(a - 0.24, 0.13) - 0.4 * bump(X, 0.13)) * bump(y + 0.60, 0.14)
    return dx, dy


@njit(**_COMPILE)
def _act(X: float, y: float, t: float, c: Chart, e: Expression) -> tuple[float, float, float]:
    """Where expression moves the skin, the jaw's turn apart."""
    a, sign = abs(X), 1.0 if X > 0 else -1.0
    up, down = max(e.smile, 0.0), max(-e.smile, 0.0)
    corner = bump(a - c.mouth_half, 0.15) * bump(y - MOUTH_Y, 0.17)
    around = bump(X, 0.42) * bump(y - MOUTH_Y, 0.20)
    cheek = bump(a - 0.40, 0.16) * bump(y + 0.30, 0.14)
    dx = sign * corner * (0.075 * up - 0.01 * down) - X * around * (
        0.36 * e.pucker if e.pucker > 0 else 0.28 * e.pucker
    )
    dy = corner * (0.085 * up - 0.085 * down) + 0.035 * up * cheek
    dz = 0.045 * up * cheek - 0.02 * up * around + 0.12 * max(e.pucker, 0.0) * bump(X, 0.20) * bump(y - MOUTH_Y, 0.13)
    dy += 0.30 * e.pucker * (y - MOUTH_Y) * bump(X, 0.26) * bump(y - MOUTH_Y, 0.14)
    gap = mouth_opening(X, c.mouth_half) * e.lips_part
    dy += gap * (0.028 * (1 - t) * bump(y - MOUTH_Y, 0.10) - 0.062 * t * bump(y - MOUTH_Y, 0.12))
    dy += 0.095 * e.brow_raise * bump(a - 0.28, 0.32) * bump(y - 0.26, 0.16)
    dy -= 0.070 * e.brow_lower * bump(a - 0.17, 0.20) * bump(y - 0.23, 0.13)
    dx -= sign * 0.030 * e.brow_lower * bump(a - 0.16, 0.12) * bump(y - 0.23, 0.12)
    return dx, dy, dz


@njit(**_COMPILE)
def _jaw_share(X: float, y: float, t: float, front: float, c: Chart) -> float:
    """The share of the jaw's turn that a point takes part in."""
    slow = ramp(-0.38, -0.82, y)
    return ramp(-0.25, 0.35, front) * (slow + mouth_opening(X, c.mouth_half) * (t - slow))


@njit(**_COMPILE)
def skin(theta: float, y: float, t: float, i: Identity, c: Chart, e: Expression) -> tuple[float, float, float]:
    """Where the skin's point (theta, y, t) lies in head space."""
    px, py, pz = skull(theta, y, i)
    front = cos(theta)
    X = HALF_WIDTH * sin(theta)
    if front > 0 and y > -0.999 and y < 0.95:
        gate = ramp(0.0, 0.45, front)
        dx, dy = _shift(X, y, i)
        ex, ey, ez = _act(X, y, t, c, e)
        px += gate * (dx + ex)
        py += gate * (dy + ey)
        pz += gate * (_face_depth(X, y, i) + _lip_depth(X, y, c) + ez)
    share = _jaw_share(X, y, t, front, c)
    turn = JAW_RADIANS * e.jaw_open * share
    dy, dz = py + 0.05, pz
    py = -0.05 + dy * cos(turn) - dz * sin(turn)
    pz = dz * cos(turn) + dy * sin(turn)
    if 0.0 < t < 1.0:
        pz -= 0.5 * t * (1 - t) * mouth_opening(X, c.mouth_half) * min(1.0, 3 * e.jaw_open + e.lips_part)
    return px, py, pz


@njit(**_COMPILE)
def skin_points(names: Floats, i: Identity, c: Chart, e: Expression, out: Floats) -> None:
    """Head space positions of (n, 3) skin names."""
    for k in range(names.shape[0]):
        out[k, 0], out[k, 1], out[k, 2] = skin(names[k, 0], names[k, 1], names[k, 2], i, c, e)


@njit(**_COMPILE)
def hair_edge(theta: float, line: Floats) -> float:
    """Where the hair ends at longitude theta: `line` holds 37 heights from -pi to pi."""
    q = min(max((theta + pi) * 18 / pi, 0.0), 35.999)
    k = int(q)
    return line[k] + (line[k + 1] - line[k]) * (q - k)


@njit(**_COMPILE)
def _wave(x: float) -> float:
    """Irregular, smooth, in [-1, 1], without sharp teeth."""
    return 0.40 * sin(x) + 0.25 * sin(2.3 * x + 1.0) + 0.20 * sin(4.1 * x + 2.0) + 0.15 * sin(7.3 * x + 0.5)


@njit(**_COMPILE)
def hair_cut(theta: float, line: Floats) -> float:
    """The hair's edge with its ragged ends."""
    return hair_edge(theta, line) + 0.050 * _wave(theta * 17)


@njit(**_COMPILE)
def hair_height(share: float, bottom: float) -> float:
    """The canonical height of the hair's row at `share` of its length; `bottom` is where hanging hair ends."""
    if share < 0.62:
        return sin(pi / 2 * (1 - 1.35 * share / 0.62))
    return -0.5225 + (share - 0.62) / 0.38 * (bottom + 0.5225)


@njit(**_COMPILE)
def hair_points(names: Floats, i: Identity, line: Floats, bottom: float, out: Floats) -> None:
    """Positions of (n, 3) hair names (theta, height share s in [0, 1] from the crown, unused)."""
    hang = ramp(0.25, 0.55, i.hair_length)
    for k in range(names.shape[0]):
        theta = names[k, 0]
        y = hair_height(names[k, 1], bottom)
        yy = max(y, -0.9)
        x0, y0, z0 = skull(theta, max(yy, -0.15) if hang > 0 else yy, i)
        x1, y1, z1 = skull(theta, yy, i)
        x, z = x1 + (x0 - x1) * hang, z1 + (z0 - z1) * hang
        y2 = y + (y1 - yy) if y > -0.2 else y + (y1 - yy) * (1 - hang)
        over = ramp(0.0, 0.30, y - hair_edge(theta, line))
        thick = 0.035 + over * (0.05 + 0.11 * (1 + i.hair_volume) * i.hair_amount)
        thick += 0.09 * (1 + i.hair_top) * i.hair_amount * ramp(0.45, 1.0, y) * over
        thick += 0.05 * i.hair_curl * over * sin(theta * 11 + 2.5 * sin(y * 9)) * sin(y * 17 + theta * 3)
        flat = sqrt(x * x + max(y2, 0.0) ** 2 + z * z) + 1e-6
        out[k, 0] = x + thick * x / flat * (1.0 + 0.3 * hang * ramp(-0.2, -1.0, y))
        out[k, 1] = y2 + thick * max(y2, 0.0) / flat
        out[k, 2] = z + thick * z / flat


@njit(**_COMPILE)
def ear_points(names: Floats, side: float, i: Identity, out: Floats) -> None:
    """Positions of (n, 3) ear names (angle, radius in [0, 1], unused) on the viewer's left (-1) or right (1)."""
    size = 1 + 0.22 * i.ear_size
    wx, _, _ = skull(side * 1.62, 0.0, i)
    turn = 0.50 + 0.30 * i.ear_angle
    for k in range(names.shape[0]):
        a, r = names[k, 0], names[k, 1]
        v = 0.235 * size * r * sin(a) * (1 - 0.06 * cos(a))
        u = 0.135 * size * r * cos(a) * (1 + 0.30 * sin(a))
        rim = 0.035 * bump(r - 0.82, 0.16) - 0.020 * bump(r - 0.40, 0.28)
        u += 0.135 * size
        out[k, 0] = wx + side * (u * sin(turn) + rim * cos(turn) - 0.020)
        out[k, 1] = v - 0.04 + 0.10 * u
        out[k, 2] = -0.02 - u * cos(turn) + rim * sin(turn)


def hairline(i: Identity) -> tuple[Floats, float]:
    """(37,) heights where the hair ends, from longitude -pi to pi, and the height where hanging hair ends."""
    long = float(np.clip((i.hair_length - 0.25) / 0.3, 0, 1)) if i.hair_amount >= BALD else 0.0
    bottom = -0.66 - 1.25 * max(i.hair_length - 0.3, 0.0) / 0.7
    degrees = np.linspace(-180, 180, 37)
    top = 0.70 + 0.11 * i.hairline
    low = 0.70 - 0.44 * i.hair_fringe
    short = np.interp(
        np.abs(degrees),
        [0, 18, 34, 46, 56, 66, 76, 84, 100, 112, 180],
        [top - 0.03, top, top + 0.02, top - 0.09, 0.42, 0.16, -0.12, 0.22, 0.2, -0.45, -0.55],
    )
    fringe = np.interp(np.abs(degrees), [0, 48, 62], [low, low + 0.02, 3.0])
    hung = np.interp(
        np.abs(degrees), [0, 40, 50, 62, 72, 80, 180], [3.0, 3.0, 0.35, 0.0, bottom, bottom - 1, bottom - 1]
    )
    line = np.where(np.abs(degrees) < 60, short, short * (1 - long) + np.minimum(short, hung) * long)
    line = np.where(i.hair_fringe > 0, np.minimum(line, fringe), line)
    part = 0.10 * i.hair_part * np.sin(np.radians(degrees)) * (np.abs(degrees) < 60)
    return (line + part * (1 + i.hair_fringe)).astype(np.float32), bottom
