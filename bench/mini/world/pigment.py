"""Paint: colour, gloss and label of a point of a surface, compiled."""

from __future__ import annotations

from bench.mini.world.compiled import helper

Paint = tuple[float, float, float, float, int]  # linear red, green, blue; gloss; label


@helper
def mix(a: Paint, r: float, g: float, b: float, share: float) -> Paint:
    """Return paint with `share` of another colour over it."""
    return a[0] + (r - a[0]) * share, a[1] + (g - a[1]) * share, a[2] + (b - a[2]) * share, a[3], a[4]


@helper
def times(a: Paint, r: float, g: float, b: float) -> Paint:
    """Return paint with its colour multiplied."""
    return a[0] * r, a[1] * g, a[2] * b, a[3], a[4]


@helper
def labelled(a: Paint, gloss: float, label: int) -> Paint:
    """Return paint with another gloss and label."""
    return a[0], a[1], a[2], gloss, label
