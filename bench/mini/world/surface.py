"""The skin of a head in space, compiled.

Head space: x to the viewer's right, y up, z to the viewer, chin at y = -1 and crown at y = 1 for the average head. A
point of the skin is named by (theta, y, t): longitude (0 in front, pi/2 at the viewer's right), canonical height, and
the side of the mouth's slit (0 above, 1 below, between them inside the mouth). Expression and identity move the point;
its name stays. `X = 0.72 sin(theta)` is the canonical distance from the middle of the face.
"""

from __future__ import annotations

from math import cos, sin
from typing import NamedTuple

from bench.mini.world.compiled import compiled, helper
from bench.mini.world.parameters import JAW_RADIANS, Expression, Floats, Identity

HALF_WIDTH = 0.72
MOUTH_Y = -0.60
EYE_X, EYE_Y = 0.30, 0.0


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
    """Return the outlines of an identity's features."""
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


@compiled
def bump(x: float, width: float) -> float:
    """Return a hill of height 1 at x = 0: (1 - q^2 / 6)^6 with q = x / width, near exp(-q^2), 0 beyond 2.45 widths."""
    p = 1 - x * x / (6 * width * width)
    return p * p * p * p * p * p if p > 0 else 0.0


@helper
def ramp(low: float, high: float, x: float) -> float:
    """Return a smooth step from 0 at `low` to 1 at `high` (which may be the smaller)."""
    q = min(max((x - low) / (high - low), 0.0), 1.0)
    return q * q * (3 - 2 * q)


@compiled
def lid(u: float, height: float, tilt: float) -> float:
    """Return the height of a lid's edge over the eye's centre at u in [-1, 1] across the eye (+1: outer corner)."""
    return tilt * u + height * (1 - u * u) * (1 - 0.18 * u)


@helper
def mouth_opening(X: float, half: float) -> float:
    """Return how far the mouth opens at X, relative to its middle: 0 at the corners and beyond."""
    q = X / half
    return (1 - q * q) ** 0.6 if -1 < q < 1 else 0.0


@compiled
def lip_upper(X: float, half: float, height: float) -> float:
    """Return the height of the upper lip's outer edge over the mouth's line."""
    q = min(abs(X) / half, 1.0)
    return height * (1 - q * q) * (1 - 0.28 * bump(X, 0.035)) * (1 + 0.18 * bump(abs(X) - 0.06, 0.05))


@compiled
def lip_lower(X: float, half: float, height: float) -> float:
    """Return the depth of the lower lip's outer edge below the mouth's line."""
    q = min(abs(X) / half, 1.0)
    return height * (1 - q * q) ** 0.75


@compiled
def brow_line(v: float, c: Chart) -> float:
    """Return the height of the brow's middle line at v in [-1, 1] (+1: outer end)."""
    return c.brow_y + c.brow_arch * (1 - (v - 0.35) ** 2) - c.brow_arch * 0.7 + c.brow_tilt * v


@helper
def skull(theta: float, y: float, i: Identity) -> tuple[float, float, float]:
    """Return the head's form without features: stacked sections, wide at the cheekbones, forward at the chin."""
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


@helper
def _face_depth(X: float, y: float, i: Identity) -> float:
    """Return how far the features of the face protrude (z)."""
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


@helper
def _lip_depth(X: float, y: float, c: Chart) -> float:
    middle = bump(X, c.mouth_half * 0.75)
    dz = 0.55 * c.lip_up * middle * bump(y - MOUTH_Y - 0.45 * c.lip_up, 0.55 * c.lip_up)
    dz += 0.60 * c.lip_down * middle * bump(y - MOUTH_Y + 0.50 * c.lip_down, 0.55 * c.lip_down)
    return dz - 0.012 * bump(X, 0.028) * bump(y + 0.485, 0.05)


@helper
def _shift(X: float, y: float, i: Identity) -> tuple[float, float]:
    """Return where identity moves the features within the face (x, y)."""
    a, sign = abs(X), 1.0 if X > 0 else -1.0
    dx = sign * 0.055 * i.eye_distance * bump(a - EYE_X, 0.20) * bump(y - 0.05, 0.22)
    dx += 0.42 * X * i.nose_width * bump(X, 0.19) * bump(y + 0.37, 0.10)
    dy = 0.045 * i.eye_height * bump(a - EYE_X, 0.35) * bump(y - 0.05, 0.28)
    dy -= 0.080 * i.nose_length * bump(X, 0.22) * bump(y + 0.35, 0.17)
    dy += 0.040 * i.nose_upturn * bump(X, 0.12) * bump(y + 0.30, 0.08)
    dy += 0.045 * i.mouth_height * bump(X, 0.40) * bump(y + 0.60, 0.17)
    dy += 0.018 * i.mouth_curve * (bump(a - 0.24, 0.13) - 0.4 * bump(X, 0.13)) * bump(y + 0.60, 0.14)
    return dx, dy


@helper
def _act(X: float, y: float, t: float, c: Chart, e: Expression) -> tuple[float, float, float]:
    """Return where expression moves the skin, the jaw's turn apart."""
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


@helper
def _jaw_share(X: float, y: float, t: float, front: float, c: Chart) -> float:
    """Return the share of the jaw's turn that a point takes part in."""
    slow = ramp(-0.38, -0.82, y)
    return ramp(-0.25, 0.35, front) * (slow + mouth_opening(X, c.mouth_half) * (t - slow))


@helper
def skin(theta: float, y: float, t: float, i: Identity, c: Chart, e: Expression) -> tuple[float, float, float]:
    """Return where the skin's point (theta, y, t) lies in head space."""
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


@compiled
def skin_points(names: Floats, i: Identity, c: Chart, e: Expression, out: Floats) -> None:
    """Write the head space positions of (n, 3) skin names."""
    for k in range(names.shape[0]):
        out[k, 0], out[k, 1], out[k, 2] = skin(names[k, 0], names[k, 1], names[k, 2], i, c, e)
