"""The paint on the features of the face: eyes, brows, nose, lips, the inside of the mouth, compiled."""

from __future__ import annotations

from math import exp, sqrt

from bench.mini.world.background import noise
from bench.mini.world.compiled import helper
from bench.mini.world.head import Head
from bench.mini.world.palette import Palette
from bench.mini.world.parameters import Expression, Identity
from bench.mini.world.pigment import Paint, labelled, mix, times
from bench.mini.world.skin import beard
from bench.mini.world.surface import (
    EYE_X,
    EYE_Y,
    MOUTH_Y,
    Chart,
    brow_line,
    bump,
    lid,
    lip_lower,
    lip_upper,
    mouth_opening,
    ramp,
)


@helper
def _eyeball(u: float, v: float, gx: float, gy: float, top: float, i: Identity, p: Palette, label: int) -> Paint:
    """Paint the eye at chart offsets u, v from its centre; `top` is the upper lid's height there."""
    shade = 1 - 0.45 * exp(-max(top - v, 0.0) / 0.022)
    out = (0.70 * shade, 0.68 * shade, 0.66 * shade, 0.5, label)
    radius = 0.068 * (1 + 0.15 * i.iris_size)
    d = sqrt((u - gx) ** 2 + (v - gy) ** 2)
    glow = (0.75 + 0.9 * ramp(0.2, 1.0, d / radius) * (0.5 - 0.5 * (v - gy) / radius)) * shade
    rim = 1 - 0.7 * ramp(0.78, 1.0, d / radius)
    out = mix(out, p.iris[0] * glow * rim, p.iris[1] * glow * rim, p.iris[2] * glow * rim, ramp(1.08, 0.94, d / radius))
    out = mix(out, 0.004, 0.004, 0.005, ramp(0.50, 0.40, d / radius))
    spark = sqrt((u - gx + 0.022) ** 2 + (v - gy - 0.024) ** 2)
    return mix(out, 1.6, 1.6, 1.6, ramp(0.022, 0.012, spark))


@helper
def _around_eye(a: Paint, u: float, v: float, low: float, top: float, full: float, c: Chart, i: Identity) -> Paint:
    """Paint the lids: lashes along the upper edge, a crease above, a soft line below."""
    q = abs(u)
    if q < 1.15:
        fade = ramp(1.15, 0.95, q)
        lash = bump(v - top - 0.005, 0.013) * fade
        crease = bump(v - full - 0.030, 0.012) * ramp(1.1, 0.8, q)
        a = times(a, 1 - 0.35 * crease, 1 - 0.42 * crease, 1 - 0.42 * crease)
        under = bump(v - low + 0.008, 0.010) * fade
        a = times(a, 1 - 0.25 * under, 1 - 0.38 * under, 1 - 0.38 * under)
        a = mix(a, 0.012, 0.009, 0.008, 0.9 * lash)
    bag = (0.2 + 0.8 * i.wrinkles) * bump(v + 0.105, 0.022) * bump(u, 0.8)
    return times(a, 1 - 0.16 * bag, 1 - 0.20 * bag, 1 - 0.18 * bag)


@helper
def _nose_label(X: float, y: float, i: Identity) -> bool:
    """Return whether the point belongs to the nose."""
    half = 0.055 + (0.105 + 0.035 * i.nose_width) * ramp(0.08, -0.36, y) ** 1.5
    return -0.435 < y < 0.09 and abs(X) < half * (1 if y > -0.39 else sqrt(max(0.0, 1 - ((y + 0.39) / 0.045) ** 2)))


@helper
def _lips(a: Paint, X: float, y: float, t: float, c: Chart, p: Palette) -> Paint:
    """Paint the lips, and the dark line between them."""
    h = c.mouth_half
    up, down = lip_upper(X, h, c.lip_up), lip_lower(X, h, c.lip_down)
    v = y - MOUTH_Y
    if abs(X) < h:
        ridge = 0.86 + 0.14 * noise(X * 60, 3.5, 2.0)
        if t < 0.5 and v >= 0 and v <= up:
            a = (p.lips[0] * 0.80 * ridge, p.lips[1] * 0.78 * ridge, p.lips[2] * 0.78 * ridge, 0.45, 12)
        elif t > 0.5 and v <= 0 and -v <= down:
            a = (p.lips[0] * ridge, p.lips[1] * ridge, p.lips[2] * ridge, 0.7, 13)
    dark = 0.75 * bump(v, 0.011) * ramp(h * 1.08, h * 0.92, abs(X))
    return times(a, 1 - 0.8 * dark, 1 - dark, 1 - dark)


@helper
def inside_mouth(X: float, t: float, c: Chart, e: Expression) -> Paint:
    """Paint the dark cavity, the upper and lower teeth and the tongue."""
    open_ = mouth_opening(X, c.mouth_half) * (0.29 * e.jaw_open + 0.085 * e.lips_part) + 1e-6
    above, below = t * open_, (1 - t) * open_
    gap = 0.62 + 0.38 * ramp(0.0, 0.22, 0.5 - abs((abs(X) / 0.058) % 1.0 - 0.5))
    fade = ramp(0.22, 0.10, abs(X))
    out = (0.055, 0.012, 0.012, 0.2, 11)
    tongue = ramp(0.15, 0.07, abs(X)) * ramp(0.15, 0.07, below + X * X) * ramp(0.10, 0.2, open_)
    out = mix(out, 0.36, 0.10, 0.10, tongue)
    teeth = ramp(0.066, 0.056, above + 0.25 * X * X) * fade
    out = mix(out, 0.78 * gap, 0.75 * gap, 0.68 * gap, teeth * 0.95)
    teeth = ramp(0.036, 0.027, below) * fade * ramp(0.13, 0.20, open_)
    return mix(out, 0.60 * gap, 0.57 * gap, 0.50 * gap, teeth * 0.9)


@helper
def _eye(out: Paint, X: float, y: float, h: Head) -> Paint:
    """Paint the opening of the eye, or the lids around it."""
    i, c, e, sign = h.identity, h.chart, h.expression, 1.0 if X > 0 else -1.0
    du, v = abs(X) - EYE_X, y - EYE_Y
    u = du / c.eye_half
    close = e.eye_close_left if sign < 0 else e.eye_close_right
    q = min(max(u, -1.0), 1.0)
    low, full = lid(q, -c.eye_down, c.eye_tilt), lid(q, c.eye_up, c.eye_tilt)
    top = low + (full - low) * (1 - close)
    if -1 < u < 1 and v > low and v < top:
        label = 4 if sign < 0 else 5
        return _eyeball(du, v, sign * 0.055 * e.gaze_x, 0.012 + 0.028 * e.gaze_y, top, i, h.palette, label)
    return _around_eye(out, u, v, low, top, full, c, i)


@helper
def _brow(out: Paint, X: float, y: float, h: Head) -> Paint:
    c, p, v = h.chart, h.palette, (abs(X) - 0.305) / h.chart.brow_half
    if -1.1 < v < 1.1:
        thick = c.brow_thick * (1 - 0.62 * ramp(0.1, 1.1, v)) * ramp(-1.25, -0.7, v)
        n = noise(X * 90 + 40 * y, y * 40 - 60 * X, 3.0)
        d = abs(y - brow_line(v, c)) / thick
        cover = ramp(1.18, 0.75, d + 0.35 * (n - 0.5)) * ramp(1.08, 0.95, abs(v)) * (0.80 + 0.15 * h.identity.brow_dark)
        out = mix(out, p.brow[0], p.brow[1], p.brow[2], cover)
        if cover > 0.4:
            out = labelled(out, 0.1, 3 if X > 0 else 2)
    return out


@helper
def _nostril(out: Paint, X: float, y: float, i: Identity) -> Paint:
    hole = sqrt(((abs(X) - 0.056 * (1 + 0.2 * i.nose_width)) / 0.036) ** 2 + ((y + 0.412) / 0.020) ** 2)
    return mix(out, out[0] * 0.10, out[1] * 0.06, out[2] * 0.06, 0.92 * ramp(1.15, 0.7, hole))


@helper
def features(out: Paint, X: float, y: float, t: float, theta: float, h: Head) -> Paint:
    """Paint all features over the bare skin of the front."""
    i = h.identity
    if y < 0.16 and _nose_label(X, y, i):
        out = labelled(out, 0.32, 10)
    if y < -0.05:
        if -0.45 < y < -0.38:
            out = _nostril(out, X, y, i)
        if i.beard > 0 or i.moustache > 0:
            out = beard(out, X, y, theta, i, h.chart, h.palette)
        if y < -0.5 and y > -0.75:
            out = _lips(out, X, y, t, h.chart, h.palette)
    if y > -0.16 and y < 0.16:
        out = _eye(out, X, y, h)
        if out[4] == 4 or out[4] == 5:
            return out
    return _brow(out, X, y, h) if y > 0.05 else out
