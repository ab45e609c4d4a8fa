"""Extractor `colour_distance`: how far two crops of one item lie apart, pixel by pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.runtime import Runtime
from idbench_example.brightness import BrightnessOptions


class ColourDistance:
    """The root of the mean squared difference, from 0 to 1."""

    Options = BrightnessOptions
    role = "colour_distance"
    pairwise = True

    def __init__(self, options: BrightnessOptions, runtime: Runtime) -> None:
        pass

    def distances(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return (b, b) distances between (b, 112, 112, 3) crops."""
        rows = crops.reshape(len(crops), -1) / 255
        return np.array([[np.sqrt(np.mean((one - other) ** 2)) for other in rows] for one in rows])
