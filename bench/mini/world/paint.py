"""The paint on every part of a head, compiled."""

from __future__ import annotations

from math import cos, sin

from bench.mini.world.background import noise
from bench.mini.world.compiled import helper
from bench.mini.world.features import features, inside_mouth
from bench.mini.world.hair import Hairline, hair_edge, hair_height
from bench.mini.world.head import Head
from bench.mini.world.mesh import CLOTH, EAR_LEFT, EAR_RIGHT, HAIR, HEAD, NECK
from bench.mini.world.palette import Palette
from bench.mini.world.parameters import Background, Identity
from bench.mini.world.pigment import Paint
from bench.mini.world.skin import complexion, scalp
from bench.mini.world.surface import HALF_WIDTH, bump, ramp


@helper
def _face(theta: float, y: float, t: float, h: Head) -> Paint:
    """Paint the head's skin, and the mouth's inside."""
    X = HALF_WIDTH * sin(theta)
    front = cos(theta) > 0
    if 0.01 < t < 0.99 and front:
        return inside_mouth(X, t, h.chart, h.expression)
    out = complexion(X if front else 9.0, y, h.identity, h.expression, h.palette)
    if front:
        out = features(out, X, y, t, theta, h)
    return scalp(out, theta, y, h) if h.identity.hair_amount > 0.06 else out


@helper
def _hair(theta: float, share: float, i: Identity, p: Palette, hair: Hairline) -> Paint:
    """Paint strands, waves, the parting; darker at the edge and where it hangs."""
    y = hair_height(share, hair.bottom)
    wave = i.hair_curl * 0.12 * sin(y * 16 + 3 * sin(theta * 2))
    strand = (
        noise((theta + wave) * 26 + 50, y * 3 + 20, 6.0) * 0.6 + noise((theta + wave) * 60 + 90, y * 5 + 20, 7.0) * 0.4
    )
    curl = i.hair_curl * (noise(theta * 12 + 40, y * 10 + 30, 9.0) - 0.5)
    tone = 0.50 + 0.85 * strand + 0.5 * curl
    tone *= 0.62 + 0.38 * ramp(0.0, 0.16, y - hair_edge(theta, hair))
    tone *= 1 - 0.35 * ramp(-0.1, -0.9, y)
    part = 0.35 * i.hair_part
    tone *= 1 - 0.35 * bump(theta - part, 0.03) * ramp(0.5, 0.8, y) * (1 - i.hair_fringe)
    return p.hair[0] * tone, p.hair[1] * tone, p.hair[2] * tone, 0.30 + 0.5 * (strand - 0.4), 17


@helper
def _ear(angle: float, r: float, right: bool, p: Palette) -> Paint:
    inside = 1 - 0.45 * bump(r - 0.45, 0.25)
    return p.skin[0] * 0.97 * inside**0.7, p.skin[1] * 0.82 * inside, p.skin[2] * 0.80 * inside, 0.2, 8 if right else 7


@helper
def _neck(y: float, p: Palette) -> Paint:
    """Paint skin in the shadow of the chin."""
    dark = 1 - 0.55 * ramp(-1.15, -0.75, y)
    return p.skin[0] * dark**0.8, p.skin[1] * dark, p.skin[2] * dark, 0.12, 14


@helper
def _cloth(theta: float, y: float, b: Background) -> Paint:
    weave = 0.88 + 0.12 * noise(theta * 50, y * 50, 4.0)
    kind = b.cloth_pattern
    band = 0.45 * (0.5 + 0.5 * sin(y * 26)) if kind > 0.5 else 0.45 * (0.5 + 0.5 * sin(theta * 30))
    tone = weave * (1 - (band if kind > 0 else 0.0))
    return b.cloth_red * tone, b.cloth_green * tone, b.cloth_blue * tone, 0.03, 16


@helper
def paint(kind: int, u: float, v: float, t: float, h: Head, g: Background) -> Paint:
    """Return the paint at the point named (u, v, t) of a part."""
    if kind == HEAD:
        return _face(u, v, t, h)
    if kind in (EAR_LEFT, EAR_RIGHT):
        return _ear(u, v, kind == EAR_RIGHT, h.palette)
    if kind == NECK:
        return _neck(v, h.palette)
    if kind == CLOTH:
        return _cloth(u, v, g)
    if kind == HAIR:
        return _hair(u, v, h.identity, h.palette, h.hair)
    return h.palette.frame[0], h.palette.frame[1], h.palette.frame[2], 0.9, 6
