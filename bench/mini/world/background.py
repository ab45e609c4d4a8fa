"""Noise, and what is behind the head, compiled."""

from __future__ import annotations

from math import cos, floor, sin, sqrt

from bench.mini.world.compiled import compiled, helper
from bench.mini.world.parameters import Background, Floats
from bench.mini.world.surface import bump, ramp

Colour = tuple[float, float, float]  # linear red, green, blue


@helper
def _hash(x: int, y: int, seed: int) -> float:
    h = (x * 374761393 + y * 668265263 + seed * 974634777) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    return ((h ^ (h >> 16)) & 0xFFFF) / 65535.0


@helper
def noise(x: float, y: float, seed: float) -> float:
    """Return smooth noise in [0, 1], one cell per unit.

    The seed is a whole number, written as 4.0: for each integer in a call the function would be compiled anew.
    """
    fx, fy = floor(x), floor(y)
    ix, iy, whole = int(fx), int(fy), int(seed)
    u, v = x - fx, y - fy
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    top = _hash(ix, iy, whole) * (1 - u) + _hash(ix + 1, iy, whole) * u
    low = _hash(ix, iy + 1, whole) * (1 - u) + _hash(ix + 1, iy + 1, whole) * u
    return top * (1 - v) + low * v


@helper
def _over(a: Colour, red: float, green: float, blue: float, share: float) -> Colour:
    return a[0] + (red - a[0]) * share, a[1] + (green - a[1]) * share, a[2] + (blue - a[2]) * share


@helper
def _blobs(out: Colour, x: float, y: float, b: Background) -> Colour:
    """Paint a haze, a soft disc and a soft square over the gradient."""
    if b.blob1_radius > 0:
        q = bump(sqrt((x - b.blob1_x) ** 2 + (y - b.blob1_y) ** 2), b.blob1_radius)
        out = _over(out, b.blob1_red, b.blob1_green, b.blob1_blue, q)
    if b.blob2_radius > 0:
        q = ramp(1.25, 0.75, sqrt((x - b.blob2_x) ** 2 + (y - b.blob2_y) ** 2) / b.blob2_radius)
        out = _over(out, b.blob2_red, b.blob2_green, b.blob2_blue, q)
    if b.blob3_radius > 0:
        q = ramp(1.15, 0.85, max(abs(x - b.blob3_x), abs(y - b.blob3_y)) / b.blob3_radius)
        out = _over(out, b.blob3_red, b.blob3_green, b.blob3_blue, q)
    return out


@helper
def _tone(x: float, y: float, b: Background) -> float:
    """Return noise and stripes, as a factor."""
    tone = 1.0
    if b.noise > 0:
        s, seed = b.noise_scale, b.noise_seed
        n = 0.65 * noise(x * s + 3, y * s + 5, seed) + 0.35 * noise(x * s * 2.3 + 3, y * s * 2.3 + 5, seed + 1)
        tone += b.noise * (2 * n - 1)
    if b.stripes > 0:
        tone += b.stripes * sin(6.283 * b.stripes_scale * (x * sin(b.angle) + y * cos(b.angle)))
    return tone


@helper
def backdrop(x: float, y: float, b: Background) -> Colour:
    """Return the background's colour at x, y in [0, 1] of the frame."""
    share = min(max(0.5 + (x - 0.5) * cos(b.angle) + (y - 0.5) * sin(b.angle), 0.0), 1.0)
    red = b.first_red + (b.second_red - b.first_red) * share
    green = b.first_green + (b.second_green - b.first_green) * share
    blue = b.first_blue + (b.second_blue - b.first_blue) * share
    out, tone = _blobs((red, green, blue), x, y, b), _tone(x, y, b)
    return out[0] * tone, out[1] * tone, out[2] * tone


@compiled
def backdrops(b: Background, out: Floats) -> None:
    """Fill a (size, size, 3) image with the background, linear."""
    size = out.shape[0]
    for y in range(size):
        for x in range(size):
            out[y, x, 0], out[y, x, 1], out[y, x, 2] = backdrop((x + 0.5) / size, (y + 0.5) / size, b)
