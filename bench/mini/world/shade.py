"""What colour and label each pixel has, compiled: the paint on the skin, then light on it."""

from __future__ import annotations

from math import cos, exp, floor, sin, sqrt

import numpy as np
import numpy.typing as npt
from numba import njit

from bench.mini.world.palette import Palette
from bench.mini.world.parameters import Background, Bytes, Expression, Floats, Identity, Light
from bench.mini.world.surface import (
    EYE_X,
    EYE_Y,
    HALF_WIDTH,
    MOUTH_Y,
    Chart,
    brow_line,
    bump,
    hair_cut,
    hair_edge,
    hair_height,
    lid,
    lip_lower,
    lip_upper,
    mouth_opening,
    ramp,
)

_COMPILE = {"cache": True, "nogil": True, "error_model": "numpy"}
Paint = tuple[float, float, float, float, int]  # linear red, green, blue; gloss; label


@njit(**_COMPILE)
def _hash(x: int, y: int, seed: int) -> float:
    h = (x * 374761393 + y * 668265263 + seed * 974634777) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    return ((h ^ (h >> 16)) & 0xFFFF) / 65535.0


@njit(**_COMPILE)
def noise(x: float, y: float, seed: int) -> float:
    """Smooth noise in [0, 1], one cell per unit."""
    fx, fy = floor(x), floor(y)
    ix, iy = int(fx), int(fy)
    u, v = x - fx, y - fy
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    top = _hash(ix, iy, seed) * (1 - u) + _hash(ix + 1, iy, seed) * u
    low = _hash(ix, iy + 1, seed) * (1 - u) + _hash(ix + 1, iy + 1, seed) * u
    return top * (1 - v) + low * v


@njit(**_COMPILE)
def _mix(a: Paint, r: float, g: float, b: float, share: float) -> Paint:
    return a[0] + (r - a[0]) * share, a[1] + (g - a[1]) * share, a[2] + (b - a[2]) * share, a[3], a[4]


@njit(**_COMPILE)
def _times(a: Paint, r: float, g: float, b: float) -> Paint:
    return a[0] * r, a[1] * g, a[2] * b, a[3], a[4]


@njit(**_COMPILE)
def _eyeball(u: float, v: float, gx: float, gy: float, top: float, i: Identity, p: Palette, label: int) -> Paint:
    """The eye at chart offsets u, v from its centre; `top` is the upper lid's height there."""
    shade = 1 - 0.45 * exp(-max(top - v, 0.0) / 0.022)
    out = (0.70 * shade, 0.68 * shade, 0.66 * shade, 0.5, label)
    radius = 0.068 * (1 + 0.15 * i.iris_size)
    d = sqrt((u - gx) ** 2 + (v - gy) ** 2)
    glow = (0.75 + 0.9 * ramp(0.2, 1.0, d / radius) * (0.5 - 0.5 * (v - gy) / radius)) * shade
    rim = 1 - 0.7 * ramp(0.78, 1.0, d / radius)
    out = _mix(
        out, p.iris[0] * glow * rim, p.iris[1] * glow * rim, p.iris[2] * glow * rim, ramp(1.08, 0.94, d / radius)
    )
    out = _mix(out, 0.004, 0.004, 0.005, ramp(0.50, 0.40, d / radius))
    spark = sqrt((u - gx + 0.022) ** 2 + (v - gy - 0.024) ** 2)
    return _mix(out, 1.6, 1.6, 1.6, ramp(0.022, 0.012, spark))


@njit(**_COMPILE)
def _around_eye(a: Paint, u: float, v: float, low: float, top: float, full: float, c: Chart, i: Identity) -> Paint:
    """The lids: lashes along the upper edge, a crease above, a soft line below."""
    q = abs(u)
    if q < 1.15:
        fade = ramp(1.15, 0.95, q)
        lash = bump(v - top - 0.005, 0.013) * fade
        crease = bump(v - full - 0.030, 0.012) * ramp(1.1, 0.8, q)
        a = _times(a, 1 - 0.35 * crease, 1 - 0.42 * crease, 1 - 0.42 * crease)
        under = bump(v - low + 0.008, 0.010) * fade
        a = _times(a, 1 - 0.25 * under, 1 - 0.38 * under, 1 - 0.38 * under)
        a = _mix(a, 0.012, 0.009, 0.008, 0.9 * lash)
    bag = (0.2 + 0.8 * i.wrinkles) * bump(v + 0.105, 0.022) * bump(u, 0.8)
    return _times(a, 1 - 0.16 * bag, 1 - 0.20 * bag, 1 - 0.18 * bag)


@njit(**_COMPILE)
def _complexion(X: float, y: float, i: Identity, e: Expression, p: Palette) -> Paint:
    """Bare skin: flush, freckles, wrinkles, and the darkness of hollows."""
    a = abs(X)
    mottle = 0.95 + 0.10 * noise(X * 9 + 31, y * 9 + 17, 5)
    out = (p.skin[0] * mottle, p.skin[1] * mottle, p.skin[2] * mottle, 0.22, 1)
    flush = (0.25 + 0.9 * i.blush) * (
        bump(a - 0.40, 0.15) * bump(y + 0.24, 0.13) + 0.5 * bump(X, 0.10) * bump(y + 0.32, 0.09)
    )
    out = _times(out, 1 + 0.04 * flush, 1 - 0.22 * flush, 1 - 0.20 * flush)
    if i.freckles > 0 and y < 0.1 and y > -0.45:
        speck = ramp(0.74 - 0.12 * i.freckles, 0.84, noise(X * 52 + 7, y * 52 + 3, 11))
        speck *= i.freckles * bump(a - 0.24, 0.28) * bump(y + 0.20, 0.17)
        out = _times(out, 1 - 0.45 * speck, 1 - 0.60 * speck, 1 - 0.68 * speck)
    lines = max(0.9 * e.brow_raise, 0.75 * i.wrinkles) * bump(X, 0.36) * bump(y - 0.43, 0.13)
    fold = lines * max(0.0, sin(y * 70 + 3 * X * X)) ** 3
    fold += max(0.9 * e.brow_lower, 0.5 * i.wrinkles) * bump(a - 0.045, 0.016) * bump(y - 0.22, 0.09)
    along = (y + 0.36) / -0.28
    smile_line = bump(a - 0.155 - 0.13 * along, 0.018) * ramp(-0.05, 0.25, along) * ramp(1.25, 0.85, along)
    fold += (0.25 + 0.75 * i.wrinkles + 0.6 * max(e.smile, 0.0)) * 0.8 * smile_line
    crow = i.wrinkles * bump(a - 0.51, 0.05) * bump(y, 0.09) * max(0.0, sin(y * 110)) ** 2
    dimple = bump(a - 0.315 - 0.04 * i.mouth_width, 0.016) * bump(y - MOUTH_Y, 0.075)
    fold += 1.2 * max(-e.pucker, 0.0) * dimple
    dark = min(fold + crow, 1.2) * 0.34
    hollow = 0.30 * bump(a - 0.165, 0.05) * bump(y - 0.03, 0.07) + 0.16 * bump(a - EYE_X, 0.19) * bump(y - 0.06, 0.10)
    hollow += 0.26 * bump(X, 0.14) * bump(y + 0.462, 0.035) + 0.20 * bump(X, 0.15) * bump(y + 0.735, 0.035)
    hollow += 0.22 * bump(a - 0.150 * (1 + 0.1 * i.nose_width), 0.022) * bump(y + 0.37, 0.05)
    hollow += 0.30 * ramp(-0.93, -1.0, y) + 0.24 * max(e.pucker, 0.0) * bump(a - 0.36, 0.08) * bump(y + 0.50, 0.13)
    keep = 1 - min(hollow, 0.7)
    return _times(out, (1 - dark) * keep**0.8, (1 - 1.15 * dark) * keep, (1 - 1.1 * dark) * keep)


@njit(**_COMPILE)
def _nose_label(X: float, y: float, i: Identity) -> bool:
    half = 0.055 + (0.105 + 0.035 * i.nose_width) * ramp(0.08, -0.36, y) ** 1.5
    return -0.435 < y < 0.09 and abs(X) < half * (1 if y > -0.39 else sqrt(max(0.0, 1 - ((y + 0.39) / 0.045) ** 2)))


@njit(**_COMPILE)
def _beard(a: Paint, X: float, y: float, theta: float, i: Identity, c: Chart, p: Palette) -> Paint:
    """Beard and moustache, their edges ragged."""
    n = noise(X * 55 + 9, y * 34 + 5, 21)
    edge = 0.05 * (n - 0.5)
    cover = 0.0
    if i.beard > 0:
        cheek = -0.10 - 0.40 * bump(abs(theta) - 0.30, 0.75) + edge
        cover = ramp(cheek + 0.02, cheek - 0.07, y) * ramp(1.62, 1.45, abs(theta))
        clear = sqrt((X / (c.mouth_half * 1.15)) ** 2 + ((y - MOUTH_Y - 0.04) / 0.155) ** 2)
        cover *= ramp(0.95, 1.12, clear + edge) * i.beard
    if i.moustache > 0:
        low, high = MOUTH_Y + c.lip_up * 0.75, -0.455 - 0.25 * abs(X) ** 1.5
        lip = ramp(low - 0.02, low + 0.02, y + edge * 0.5) * ramp(high + 0.015, high - 0.025, y + edge * 0.5)
        cover = max(cover, lip * ramp(c.mouth_half * 1.2, c.mouth_half * 1.0, abs(X)) * i.moustache)
    cover = min(1.0, 1.25 * cover) * (0.75 + 0.25 * n)
    tone = 0.55 + 0.6 * n
    return _mix(a, p.hair[0] * tone, p.hair[1] * tone, p.hair[2] * tone, 0.93 * cover)


@njit(**_COMPILE)
def _lips(a: Paint, X: float, y: float, t: float, c: Chart, p: Palette) -> Paint:
    h = c.mouth_half
    up, down = lip_upper(X, h, c.lip_up), lip_lower(X, h, c.lip_down)
    v = y - MOUTH_Y
    if abs(X) < h:
        ridge = 0.86 + 0.14 * noise(X * 60, 3.5, 2)
        if t < 0.5 and v >= 0 and v <= up:
            a = (p.lips[0] * 0.80 * ridge, p.lips[1] * 0.78 * ridge, p.lips[2] * 0.78 * ridge, 0.45, 12)
        elif t > 0.5 and v <= 0 and -v <= down:
            a = (p.lips[0] * ridge, p.lips[1] * ridge, p.lips[2] * ridge, 0.7, 13)
    dark = 0.75 * bump(v, 0.011) * ramp(h * 1.08, h * 0.92, abs(X))
    return _times(a, 1 - 0.8 * dark, 1 - dark, 1 - dark)


@njit(**_COMPILE)
def _inside_mouth(X: float, t: float, c: Chart, e: Expression) -> Paint:
    """Dark cavity, teeth that hang from above and stand below, tongue."""
    open_ = mouth_opening(X, c.mouth_half) * (0.29 * e.jaw_open + 0.085 * e.lips_part) + 1e-6
    above, below = t * open_, (1 - t) * open_
    gap = 0.62 + 0.38 * ramp(0.0, 0.22, 0.5 - abs((abs(X) / 0.058) % 1.0 - 0.5))
    fade = ramp(0.22, 0.10, abs(X))
    out = (0.055, 0.012, 0.012, 0.2, 11)
    tongue = ramp(0.15, 0.07, abs(X)) * ramp(0.15, 0.07, below + X * X) * ramp(0.10, 0.2, open_)
    out = _mix(out, 0.36, 0.10, 0.10, tongue)
    teeth = ramp(0.066, 0.056, above + 0.25 * X * X) * fade
    out = _mix(out, 0.78 * gap, 0.75 * gap, 0.68 * gap, teeth * 0.95)
    teeth = ramp(0.036, 0.027, below) * fade * ramp(0.13, 0.20, open_)
    return _mix(out, 0.60 * gap, 0.57 * gap, 0.50 * gap, teeth * 0.9)


@njit(**_COMPILE)
def _face(theta: float, y: float, t: float, i: Identity, c: Chart, e: Expression, p: Palette, line: Floats) -> Paint:
    """The paint at a point of the head."""
    X = HALF_WIDTH * sin(theta)
    front = cos(theta) > 0
    if 0.01 < t < 0.99 and front:
        return _inside_mouth(X, t, c, e)
    out = _complexion(X if front else 9.0, y, i, e, p)
    if front:
        out = _features(out, X, y, t, theta, i, c, e, p)
    if i.hair_amount > 0.06:
        under = 0.30 * bump(y - hair_edge(theta, line), 0.09) * ramp(0.50, 0.75, cos(theta))
        out = _times(out, 1 - 0.8 * under, 1 - under, 1 - under)
        cover = ramp(-0.035, 0.035, y - hair_cut(theta, line)) * (0.6 + 0.4 * ramp(0.06, 0.2, i.hair_amount))
        cover *= ramp(-0.45, -0.30, y) if i.hair_length > 0.25 else 1.0
        if cover > 0:
            n = 0.55 + 0.6 * noise(theta * 40, y * 22, 8)
            out = _mix(out, p.hair[0] * n, p.hair[1] * n, p.hair[2] * n, cover)
            if cover > 0.5:
                out = (out[0], out[1], out[2], 0.15, 17)
    return out


@njit(**_COMPILE)
def _features(
    out: Paint, X: float, y: float, t: float, theta: float, i: Identity, c: Chart, e: Expression, p: Palette
) -> Paint:
    a, sign = abs(X), 1.0 if X > 0 else -1.0
    if y < -0.05:
        if _nose_label(X, y, i):
            out = (out[0], out[1], out[2], 0.32, 10)
        hole = sqrt(((a - 0.056 * (1 + 0.2 * i.nose_width)) / 0.036) ** 2 + ((y + 0.412) / 0.020) ** 2)
        out = _mix(out, out[0] * 0.10, out[1] * 0.06, out[2] * 0.06, 0.92 * ramp(1.15, 0.7, hole))
        if i.beard > 0 or i.moustache > 0:
            out = _beard(out, X, y, theta, i, c, p)
        if y < -0.5 and y > -0.75:
            out = _lips(out, X, y, t, c, p)
    if y > -0.16 and y < 0.16:
        if _nose_label(X, y, i):
            out = (out[0], out[1], out[2], 0.32, 10)
        u, v = (a - EYE_X) / c.eye_half, y - EYE_Y
        close = e.eye_close_left if sign < 0 else e.eye_close_right
        q = min(max(u, -1.0), 1.0)
        low, full = lid(q, -c.eye_down, c.eye_tilt), lid(q, c.eye_up, c.eye_tilt)
        top = low + (full - low) * (1 - close)
        if -1 < u < 1 and v > low and v < top:
            label = 4 if sign < 0 else 5
            return _eyeball(a - EYE_X, v, sign * 0.055 * e.gaze_x, 0.012 + 0.028 * e.gaze_y, top, i, p, label)
        out = _around_eye(out, u, v, low, top, full, c, i)
    v = (a - 0.305) / c.brow_half
    if -1.1 < v < 1.1 and y > 0.05:
        thick = c.brow_thick * (1 - 0.62 * ramp(0.1, 1.1, v)) * ramp(-1.25, -0.7, v)
        n = noise(X * 90 + 40 * y, y * 40 - 60 * X, 3)
        d = abs(y - brow_line(v, c)) / thick
        cover = ramp(1.18, 0.75, d + 0.35 * (n - 0.5)) * ramp(1.08, 0.95, abs(v)) * (0.80 + 0.15 * i.brow_dark)
        out = _mix(out, p.brow[0], p.brow[1], p.brow[2], cover)
        if cover > 0.4:
            out = (out[0], out[1], out[2], 0.1, 2 if sign < 0 else 3)
    return out


@njit(**_COMPILE)
def _hair(theta: float, share: float, i: Identity, p: Palette, line: Floats, bottom: float) -> Paint:
    y = hair_height(share, bottom)
    wave = i.hair_curl * 0.12 * sin(y * 16 + 3 * sin(theta * 2))
    strand = noise((theta + wave) * 26 + 50, y * 3 + 20, 6) * 0.6 + noise((theta + wave) * 60 + 90, y * 5 + 20, 7) * 0.4
    curl = i.hair_curl * (noise(theta * 12 + 40, y * 10 + 30, 9) - 0.5)
    tone = 0.50 + 0.85 * strand + 0.5 * curl
    tone *= 0.62 + 0.38 * ramp(0.0, 0.16, y - hair_edge(theta, line))
    tone *= 1 - 0.35 * ramp(-0.1, -0.9, y)
    part = 0.35 * i.hair_part
    tone *= 1 - 0.35 * bump(theta - part, 0.03) * ramp(0.5, 0.8, y) * (1 - i.hair_fringe)
    return p.hair[0] * tone, p.hair[1] * tone, p.hair[2] * tone, 0.30 + 0.5 * (strand - 0.4), 17


@njit(**_COMPILE)
def _ear(angle: float, r: float, right: bool, p: Palette) -> Paint:
    inside = 1 - 0.45 * bump(r - 0.45, 0.25)
    return p.skin[0] * 0.97 * inside**0.7, p.skin[1] * 0.82 * inside, p.skin[2] * 0.80 * inside, 0.2, 8 if right else 7


@njit(**_COMPILE)
def _cloth(theta: float, y: float, b: Background) -> Paint:
    weave = 0.88 + 0.12 * noise(theta * 50, y * 50, 4)
    kind = b.cloth_pattern
    band = 0.45 * (0.5 + 0.5 * sin(y * 26)) if kind > 0.5 else 0.45 * (0.5 + 0.5 * sin(theta * 30))
    tone = weave * (1 - (band if kind > 0 else 0.0))
    return b.cloth_red * tone, b.cloth_green * tone, b.cloth_blue * tone, 0.03, 16


@njit(**_COMPILE)
def backdrop(x: float, y: float, b: Background) -> tuple[float, float, float]:
    """The background's colour at x, y in [0, 1] of the frame."""
    share = min(max(0.5 + (x - 0.5) * cos(b.angle) + (y - 0.5) * sin(b.angle), 0.0), 1.0)
    red = b.first_red + (b.second_red - b.first_red) * share
    green = b.first_green + (b.second_green - b.first_green) * share
    blue = b.first_blue + (b.second_blue - b.first_blue) * share
    if b.blob1_radius > 0:
        q = bump(sqrt((x - b.blob1_x) ** 2 + (y - b.blob1_y) ** 2), b.blob1_radius)
        red, green, blue = (
            red + (b.blob1_red - red) * q,
            green + (b.blob1_green - green) * q,
            blue + (b.blob1_blue - blue) * q,
        )
    if b.blob2_radius > 0:
        q = ramp(1.25, 0.75, sqrt((x - b.blob2_x) ** 2 + (y - b.blob2_y) ** 2) / b.blob2_radius)
        red, green, blue = (
            red + (b.blob2_red - red) * q,
            green + (b.blob2_green - green) * q,
            blue + (b.blob2_blue - blue) * q,
        )
    if b.blob3_radius > 0:
        q = ramp(1.15, 0.85, max(abs(x - b.blob3_x), abs(y - b.blob3_y)) / b.blob3_radius)
        red, green, blue = (
            red + (b.blob3_red - red) * q,
            green + (b.blob3_green - green) * q,
            blue + (b.blob3_blue - blue) * q,
        )
    tone = 1.0
    if b.noise > 0:
        s, seed = b.noise_scale, int(b.noise_seed)
        n = 0.65 * noise(x * s + 3, y * s + 5, seed) + 0.35 * noise(x * s * 2.3 + 3, y * s * 2.3 + 5, seed + 1)
        tone += b.noise * (2 * n - 1)
    if b.stripes > 0:
        tone += b.stripes * sin(6.283 * b.stripes_scale * (x * sin(b.angle) + y * cos(b.angle)))
    return red * tone, green * tone, blue * tone


@njit(**_COMPILE)
def backdrops(b: Background, out: Floats) -> None:
    """Fills a (size, size, 3) image with the background, linear."""
    size = out.shape[0]
    for y in range(size):
        for x in range(size):
            out[y, x, 0], out[y, x, 1], out[y, x, 2] = backdrop((x + 0.5) / size, (y + 0.5) / size, b)


@njit(**_COMPILE)
def _lit(a: Paint, nx: float, ny: float, nz: float, w: Light, soft: float) -> tuple[float, float, float]:
    """Light on paint: ambient from above, a key light that wraps (red furthest, as in skin), a soft highlight."""
    d = nx * w.direction_x + ny * w.direction_y + nz * w.direction_z
    sky = 0.72 + 0.28 * ny
    keys = (w.key_red, w.key_green, w.key_blue)
    ambient = (w.ambient_red, w.ambient_green, w.ambient_blue)
    hx, hy, hz = w.direction_x, w.direction_y, w.direction_z + 1.0
    norm = sqrt(hx * hx + hy * hy + hz * hz) + 1e-9
    h = max((nx * hx + ny * hy + nz * hz) / norm, 0.0)
    shine = a[3] * (0.10 * h**12 + 0.28 * h**48) if d > 0 else 0.0
    edge = 0.10 * a[3] * (1 - min(max(nz, 0.0), 1.0)) ** 3
    r = max((d + 0.42 * soft) / (1 + 0.42 * soft), 0.0) * keys[0] + ambient[0] * sky
    g = max((d + 0.24 * soft) / (1 + 0.24 * soft), 0.0) * keys[1] + ambient[1] * sky
    b = max((d + 0.18 * soft) / (1 + 0.18 * soft), 0.0) * keys[2] + ambient[2] * sky
    return a[0] * r + (shine + edge) * keys[0], a[1] * g + (shine + edge) * keys[1], a[2] * b + (shine + edge) * keys[2]


@njit(**_COMPILE)
def shade(
    face: npt.NDArray[np.int32],
    weights: Floats,
    lens: npt.NDArray[np.int32],
    names: Floats,
    normal: Floats,
    triangles: npt.NDArray[np.int32],
    part: npt.NDArray[np.int8],
    i: Identity,
    c: Chart,
    e: Expression,
    p: Palette,
    line: Floats,
    bottom: float,
    w: Light,
    g: Background,
    behind: Floats,
    step: int,
    colour: Floats,
    labels: Bytes,
) -> None:
    """Fills (size, size, 3) linear `colour` and (size, size) `labels` from the visible triangles."""
    size = face.shape[0]
    for y in range(size):
        for x in range(size):
            f = face[y, x]
            if f < 0:
                for k in range(3):
                    colour[y, x, k] = behind[y // step, x // step, k]
                labels[y, x] = 0
            else:
                ka, kb, kc = triangles[f, 0], triangles[f, 1], triangles[f, 2]
                wa, wb = weights[y, x, 0], weights[y, x, 1]
                wc = 1 - wa - wb
                u = wa * names[ka, 0] + wb * names[kb, 0] + wc * names[kc, 0]
                v = wa * names[ka, 1] + wb * names[kb, 1] + wc * names[kc, 1]
                t = wa * names[ka, 2] + wb * names[kb, 2] + wc * names[kc, 2]
                nx = wa * normal[ka, 0] + wb * normal[kb, 0] + wc * normal[kc, 0]
                ny = wa * normal[ka, 1] + wb * normal[kb, 1] + wc * normal[kc, 1]
                nz = wa * normal[ka, 2] + wb * normal[kb, 2] + wc * normal[kc, 2]
                norm = sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
                if nz < 0 and (part[f] == 1 or part[f] == 2 or part[f] >= 5):
                    norm = -norm
                nx, ny, nz = nx / norm, ny / norm, nz / norm
                kind = part[f]
                soft = 1.0
                if kind == 0:
                    a = _face(u, v, t, i, c, e, p, line)
                    if a[4] == 11:
                        nx, ny, nz = 0.0, 0.0, 1.0
                elif kind == 1 or kind == 2:
                    a = _ear(u, v, kind == 2, p)
                elif kind == 3:
                    dark = 1 - 0.55 * ramp(-1.15, -0.75, v)
                    a = (p.skin[0] * dark**0.8, p.skin[1] * dark, p.skin[2] * dark, 0.12, 14)
                elif kind == 4:
                    a = _cloth(u, v, g)
                    soft = 0.5
                    nz = max(nz, 0.35)
                elif kind == 5:
                    a = _hair(u, v, i, p, line, bottom)
                    soft = 0.6
                else:
                    a = (p.frame[0], p.frame[1], p.frame[2], 0.9, 6)
                labels[y, x] = a[4]
                colour[y, x, 0], colour[y, x, 1], colour[y, x, 2] = _lit(a, nx, ny, nz, w, soft)
            if lens[y, x] >= 0:
                labels[y, x] = 6
                glare = 0.06 + 0.10 * ramp(0.3, 0.9, sin((x + y) * 6.0 / size + 1.0))
                for k in range(3):
                    colour[y, x, k] = colour[y, x, k] * 0.92 + glare * 0.25


@njit(**_COMPILE)
def resolve(colour: Floats, labels: Bytes, step: int, image: Bytes, label: Bytes) -> None:
    """Averages step x step samples into a pixel (square root for display); its label is the most frequent one."""
    size = image.shape[0]
    for y in range(size):
        for x in range(size):
            for k in range(3):
                total = 0.0
                for dy in range(step):
                    for dx in range(step):
                        value = max(colour[y * step + dy, x * step + dx, k], 0.0)
                        total += value if value < 0.6 else 1 - 0.4 * exp(-(value - 0.6) / 0.4)
                image[y, x, k] = np.uint8(min(sqrt(total / (step * step)) * 255 + 0.5, 255.0))
            best, most = 0, 0
            for dy in range(step):
                for dx in range(step):
                    one, count = labels[y * step + dy, x * step + dx], 0
                    for ey in range(step):
                        for ex in range(step):
                            count += labels[y * step + ey, x * step + ex] == one
                    if count > most:
                        best, most = one, count
            label[y, x] = best
