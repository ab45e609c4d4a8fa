"""The hair: where its edge runs, and its surface."""

from __future__ import annotations

from math import pi, sin, sqrt
from typing import NamedTuple

import numpy as np

from bench.mini.world.compiled import compiled, helper
from bench.mini.world.parameters import Floats, Identity
from bench.mini.world.surface import ramp, skull

HAIR_RAGGED = 0.051
"""The ragged ends lie nearer than this to the hair's edge."""
BALD = 0.15
"""Below this `hair_amount` hair has no volume, below 0.06 there is none."""


class Hairline(NamedTuple):
    """Where the hair ends.

    Attributes:
        line: (37,) float32 heights from longitude -pi to pi.
        bottom: the height where hanging hair ends.
    """

    line: Floats
    bottom: float


@helper
def hair_edge(theta: float, hair: Hairline) -> float:
    """Return where the hair ends at longitude theta."""
    q = min(max((theta + pi) * 18 / pi, 0.0), 35.999)
    k, line = int(q), hair.line
    return line[k] + (line[k + 1] - line[k]) * (q - k)


@helper
def _wave(x: float) -> float:
    """Return an irregular, smooth wave in [-1, 1] without sharp teeth."""
    return 0.40 * sin(x) + 0.25 * sin(2.3 * x + 1.0) + 0.20 * sin(4.1 * x + 2.0) + 0.15 * sin(7.3 * x + 0.5)


@helper
def hair_cut(theta: float, hair: Hairline) -> float:
    """Return the hair's edge with its ragged ends."""
    return hair_edge(theta, hair) + 0.050 * _wave(theta * 17)


@helper
def hair_height(share: float, bottom: float) -> float:
    """Return the canonical height of the hair's row at `share` of its length; `bottom` is where hanging hair ends."""
    if share < 0.62:
        return sin(pi / 2 * (1 - 1.35 * share / 0.62))
    return -0.5225 + (share - 0.62) / 0.38 * (bottom + 0.5225)


@compiled
def hair_points(names: Floats, i: Identity, hair: Hairline, out: Floats) -> None:
    """Write the positions of (n, 3) hair names (theta, height share s in [0, 1] from the crown, unused)."""
    hang = ramp(0.25, 0.55, i.hair_length)
    for k in range(names.shape[0]):
        theta = names[k, 0]
        y = hair_height(names[k, 1], hair.bottom)
        yy = max(y, -0.9)
        x0, _, z0 = skull(theta, max(yy, -0.15) if hang > 0 else yy, i)
        x1, y1, z1 = skull(theta, yy, i)
        x, z = x1 + (x0 - x1) * hang, z1 + (z0 - z1) * hang
        y2 = y + (y1 - yy) if y > -0.2 else y + (y1 - yy) * (1 - hang)
        over = ramp(0.0, 0.30, y - hair_edge(theta, hair))
        thick = 0.035 + over * (0.05 + 0.11 * (1 + i.hair_volume) * i.hair_amount)
        thick += 0.09 * (1 + i.hair_top) * i.hair_amount * ramp(0.45, 1.0, y) * over
        thick += 0.05 * i.hair_curl * over * sin(theta * 11 + 2.5 * sin(y * 9)) * sin(y * 17 + theta * 3)
        flat = sqrt(x * x + max(y2, 0.0) ** 2 + z * z) + 1e-6
        out[k, 0] = x + thick * x / flat * (1.0 + 0.3 * hang * ramp(-0.2, -1.0, y))
        out[k, 1] = y2 + thick * max(y2, 0.0) / flat
        out[k, 2] = z + thick * z / flat


def hairline(i: Identity) -> Hairline:
    """Return where an identity's hair ends."""
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
    return Hairline((line + part * (1 + i.hair_fringe)).astype(np.float32), bottom)
