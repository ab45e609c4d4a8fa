"""An identity's colours, linear RGB (the square of sRGB, near enough)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.mini.world.parameters import Floats, Identity

Doubles = npt.NDArray[np.float64]

_SKIN = np.array([[94, 61, 46], [132, 87, 63], [174, 121, 88], [212, 162, 128], [234, 194, 167], [246, 217, 198]]) / 255
_HAIR = np.array([[22, 18, 18], [48, 31, 22], [92, 58, 36], [142, 98, 58], [198, 156, 98], [236, 208, 152]]) / 255
_EYES = np.array([[52, 30, 18], [96, 60, 30], [118, 104, 48], [86, 122, 82], [84, 128, 160], [120, 140, 152]]) / 255
_FRAMES = np.array([[22, 20, 22], [84, 46, 28], [150, 30, 40], [40, 70, 140], [180, 150, 90], [200, 202, 206]]) / 255


class Palette(NamedTuple):
    """(3,) float32 linear colours."""

    skin: Floats
    lips: Floats
    hair: Floats
    brow: Floats
    iris: Floats
    frame: Floats


def _between(colours: Doubles, position: float) -> Doubles:
    """Return the colour at `position` in [-1, 1] along a row of sRGB colours."""
    at = (np.clip(position, -1, 1) + 1) / 2 * (len(colours) - 1)
    return np.array([np.interp(at, np.arange(len(colours)), channel) for channel in colours.T])


def palette(i: Identity) -> Palette:
    """Return the colours of an identity."""
    skin = _between(_SKIN, i.skin_tone) * (1 + i.skin_warmth * np.array([0.03, -0.015, -0.09]))
    lips = (
        skin * np.array([0.92, 0.66, 0.68]) * (1 - 0.10 * i.lip_colour)
        + np.array([0.16, -0.03, 0.02]) * i.lip_colour * 0.6
    )
    red = max(i.hair_red - 0.2, 0.0) * 1.25
    hair = _between(_HAIR, i.hair_light) * (1 + red * np.array([0.35, -0.10, -0.40]))
    hair = hair * (1 - 0.8 * i.hair_grey) + 0.8 * i.hair_grey * np.array([0.74, 0.74, 0.76])
    brow = hair * (0.62 - 0.22 * i.brow_dark) + 0.04
    iris = _between(_EYES, i.eye_hue) * (1 + 0.3 * i.eye_light)
    frame = _between(_FRAMES, i.glasses_colour)
    return Palette(*(np.clip(c, 0.01, 1).astype(np.float32) ** 2 for c in (skin, lips, hair, brow, iris, frame)))
