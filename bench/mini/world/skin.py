"""The paint on the skin: complexion, wrinkles, hollows, beard, and the scalp under the hair, compiled."""

from __future__ import annotations

from math import cos, sin, sqrt

from bench.mini.world.background import noise
from bench.mini.world.compiled import helper
from bench.mini.world.hair import hair_cut, hair_edge
from bench.mini.world.head import Head
from bench.mini.world.palette import Palette
from bench.mini.world.parameters import Expression, Identity
from bench.mini.world.pigment import Paint, labelled, mix, times
from bench.mini.world.surface import EYE_X, MOUTH_Y, Chart, bump, ramp


@helper
def _folds(X: float, y: float, i: Identity, e: Expression) -> float:
    """Return how dark wrinkles and folds make the skin: of age, and of what the face does."""
    a, fold, crow = abs(X), 0.0, 0.0
    if y > -0.01:
        lines = max(0.9 * e.brow_raise, 0.75 * i.wrinkles) * bump(X, 0.36) * bump(y - 0.43, 0.13)
        fold = lines * max(0.0, sin(y * 70 + 3 * X * X)) ** 3
        fold += max(0.9 * e.brow_lower, 0.5 * i.wrinkles) * bump(a - 0.045, 0.016) * bump(y - 0.22, 0.09)
    if -0.80 < y < -0.30:
        along = (y + 0.36) / -0.28
        smile_line = bump(a - 0.155 - 0.13 * along, 0.018) * ramp(-0.05, 0.25, along) * ramp(1.25, 0.85, along)
        fold += (0.25 + 0.75 * i.wrinkles + 0.6 * max(e.smile, 0.0)) * 0.8 * smile_line
        dimple = bump(a - 0.315 - 0.04 * i.mouth_width, 0.016) * bump(y - MOUTH_Y, 0.075)
        fold += 1.2 * max(-e.pucker, 0.0) * dimple
    if i.wrinkles > 0 and -0.23 < y < 0.23:
        crow = i.wrinkles * bump(a - 0.51, 0.05) * bump(y, 0.09) * max(0.0, sin(y * 110)) ** 2
    return min(fold + crow, 1.2) * 0.34


@helper
def _hollows(X: float, y: float, i: Identity, e: Expression) -> float:
    """Return how much light hollows lose: eye sockets, around the nose, under lip and chin, drawn-in cheeks."""
    a, hollow = abs(X), 0.0
    if -0.19 < y < 0.31:
        socket = 0.16 * bump(a - EYE_X, 0.19) * bump(y - 0.06, 0.10)
        hollow = 0.30 * bump(a - 0.165, 0.05) * bump(y - 0.03, 0.07) + socket
    if y < -0.17:
        hollow += 0.26 * bump(X, 0.14) * bump(y + 0.462, 0.035) + 0.20 * bump(X, 0.15) * bump(y + 0.735, 0.035)
        hollow += 0.22 * bump(a - 0.150 * (1 + 0.1 * i.nose_width), 0.022) * bump(y + 0.37, 0.05)
        cheek = 0.24 * max(e.pucker, 0.0) * bump(a - 0.36, 0.08) * bump(y + 0.50, 0.13)
        hollow += 0.30 * ramp(-0.93, -1.0, y) + cheek
    return min(hollow, 0.7)


@helper
def _flush(out: Paint, X: float, y: float, i: Identity) -> Paint:
    """Paint red cheeks and nose tip, and freckles."""
    a = abs(X)
    if -0.57 < y < 0.09:
        cheek, tip = bump(a - 0.40, 0.15) * bump(y + 0.24, 0.13), 0.5 * bump(X, 0.10) * bump(y + 0.32, 0.09)
        flush = (0.25 + 0.9 * i.blush) * (cheek + tip)
        out = times(out, 1 + 0.04 * flush, 1 - 0.22 * flush, 1 - 0.20 * flush)
    if i.freckles > 0 and y < 0.1 and y > -0.45:
        speck = ramp(0.74 - 0.12 * i.freckles, 0.84, noise(X * 52 + 7, y * 52 + 3, 11.0))
        speck *= i.freckles * bump(a - 0.24, 0.28) * bump(y + 0.20, 0.17)
        out = times(out, 1 - 0.45 * speck, 1 - 0.60 * speck, 1 - 0.68 * speck)
    return out


@helper
def complexion(X: float, y: float, i: Identity, e: Expression, p: Palette) -> Paint:
    """Paint bare skin."""
    mottle = 0.95 + 0.10 * noise(X * 9 + 31, y * 9 + 17, 5.0)
    out = _flush((p.skin[0] * mottle, p.skin[1] * mottle, p.skin[2] * mottle, 0.22, 1), X, y, i)
    dark, keep = _folds(X, y, i, e), 1 - _hollows(X, y, i, e)
    return times(out, (1 - dark) * keep**0.8, (1 - 1.15 * dark) * keep, (1 - 1.1 * dark) * keep)


@helper
def _chin_hair(X: float, y: float, theta: float, edge: float, i: Identity, c: Chart) -> float:
    """Return how densely the beard covers cheeks and chin; it leaves the mouth free."""
    cheek = -0.10 - 0.40 * bump(abs(theta) - 0.30, 0.75) + edge
    cover = ramp(cheek + 0.02, cheek - 0.07, y) * ramp(1.62, 1.45, abs(theta))
    clear = sqrt((X / (c.mouth_half * 1.15)) ** 2 + ((y - MOUTH_Y - 0.04) / 0.155) ** 2)
    return cover * (ramp(0.95, 1.12, clear + edge) * i.beard)


@helper
def _lip_hair(X: float, y: float, edge: float, i: Identity, c: Chart) -> float:
    """Return how densely the moustache covers the upper lip."""
    low, high = MOUTH_Y + c.lip_up * 0.75, -0.455 - 0.25 * abs(X) ** 1.5
    lip = ramp(low - 0.02, low + 0.02, y + edge * 0.5) * ramp(high + 0.015, high - 0.025, y + edge * 0.5)
    return lip * ramp(c.mouth_half * 1.2, c.mouth_half * 1.0, abs(X)) * i.moustache


@helper
def beard(a: Paint, X: float, y: float, theta: float, i: Identity, c: Chart, p: Palette) -> Paint:
    """Paint beard and moustache with ragged edges."""
    n = noise(X * 55 + 9, y * 34 + 5, 21.0)
    edge = 0.05 * (n - 0.5)
    cover = _chin_hair(X, y, theta, edge, i, c) if i.beard > 0 else 0.0
    if i.moustache > 0:
        cover = max(cover, _lip_hair(X, y, edge, i, c))
    cover = min(1.0, 1.25 * cover) * (0.75 + 0.25 * n)
    tone = 0.55 + 0.6 * n
    return mix(a, p.hair[0] * tone, p.hair[1] * tone, p.hair[2] * tone, 0.93 * cover)


@helper
def scalp(out: Paint, theta: float, y: float, h: Head) -> Paint:
    """Paint the skin under the hair, dark along its edge; cropped hair is all paint."""
    i, p, edge = h.identity, h.palette, hair_edge(theta, h.hair)
    if y < edge - 0.23:
        return out
    under = 0.30 * bump(y - edge, 0.09) * ramp(0.50, 0.75, cos(theta))
    out = times(out, 1 - 0.8 * under, 1 - under, 1 - under)
    cover = ramp(-0.035, 0.035, y - hair_cut(theta, h.hair)) * (0.6 + 0.4 * ramp(0.06, 0.2, i.hair_amount))
    cover *= ramp(-0.45, -0.30, y) if i.hair_length > 0.25 else 1.0
    if cover > 0:
        n = 0.55 + 0.6 * noise(theta * 40, y * 22, 8.0)
        out = mix(out, p.hair[0] * n, p.hair[1] * n, p.hair[2] * n, cover)
        if cover > 0.5:
            out = labelled(out, 0.15, 17)
    return out
