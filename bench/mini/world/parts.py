"""Ears, neck, clothes and glasses, compiled."""

from __future__ import annotations

from math import cos, sin

from bench.mini.world.compiled import compiled
from bench.mini.world.parameters import Floats, Identity
from bench.mini.world.surface import bump, ramp, skull


@compiled
def ear_points(names: Floats, side: float, i: Identity, out: Floats) -> None:
    """Write positions of (n, 3) ear names (angle, radius in [0, 1], unused) on the viewer's left (-1) or right (1)."""
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


@compiled
def torso_points(names: Floats, width: float, out: Floats) -> None:
    """Write positions of (n, 3) names (theta, y, 0 neck | 1 clothes); `width` of the neck."""
    for k in range(names.shape[0]):
        theta, y, cloth = names[k, 0], names[k, 1], names[k, 2]
        s, c = sin(theta), cos(theta)
        if cloth < 0.5:
            flare = 0.16 * ramp(-1.05, -1.7, y)
            rx, rz, zc = width + flare, width * 1.12 + flare * 0.6, -0.20 - 0.06 * ramp(-0.5, -1.5, y)
            out[k, 1] = y
        else:
            wide = ramp(-1.30, -1.85, y) ** 0.8
            rx = width + 0.12 + 1.15 * wide + 0.10 * ramp(-1.8, -3.0, y)
            rz = width * 1.12 + 0.10 + 0.30 * wide + 0.2 * ramp(-1.6, -3.0, y)
            zc = -0.26
            out[k, 1] = y - 0.20 * ramp(-0.2, 1.0, c) * ramp(-1.9, -1.3, y) + 0.06 * bump(y + 1.28, 0.06)
        out[k, 0] = rx * s
        out[k, 2] = zc + rz * c


@compiled
def glasses_points(
    names: Floats, eye: Floats, wide: float, high: float, power: float, ear: Floats, out: Floats
) -> None:
    """Write positions of (n, 3) names of frame and lens; `eye`: centre of the right lens, `ear`: temple end."""
    for k in range(names.shape[0]):
        a, kind, r = names[k, 0], names[k, 1], names[k, 2]
        if kind == 0:
            inner = eye[0] - wide
            out[k, 0] = a * inner * 1.05
            out[k, 1] = eye[1] + 0.055 + 0.02 * (1 - a * a) - 0.03 * r
            out[k, 2] = eye[2] + 0.03 + 0.06 * (1 - a * a)
        elif abs(kind) == 2:
            x0 = eye[0] + wide * 1.1
            out[k, 0] = (x0 + (ear[0] - x0) * a**0.6) * (1.0 if kind > 0 else -1.0)
            out[k, 1] = eye[1] + 0.07 + (ear[1] - eye[1] - 0.07) * a - 0.045 * r
            out[k, 2] = eye[2] - 0.06 + (ear[2] - eye[2] + 0.06) * a
        else:
            s, c = sin(a), cos(a)
            q = r / (abs(c) ** power + abs(s) ** power) ** (1 / power)
            out[k, 0] = kind * (eye[0] + wide * q * c)
            out[k, 1] = eye[1] + high * q * s
            out[k, 2] = eye[2] - 0.07 * max(q * c, 0.0) ** 2
