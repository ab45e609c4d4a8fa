"""Extractor `brightness`: the mean red, green and blue of a face's crop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.identity import IDENTITY, RECORDED, Spec
from bench.runtime import Runtime


class BrightnessOptions(Spec):
    """Options of the extractor.

    Attributes:
        view: the crop that it reads.
        batch: crops at a time.
    """

    view: Annotated[str, IDENTITY] = "arcface112"
    batch: Annotated[int, RECORDED, Field(ge=1)] = 16


class Brightness:
    """Three numbers from 0 to 1."""

    Options = BrightnessOptions
    role = "brightness"
    pairwise = False

    def __init__(self, options: BrightnessOptions, runtime: Runtime) -> None:
        pass

    def extract(self, crops: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        """Return (b, 3) features of (b, 112, 112, 3) crops."""
        return {"feature": (crops.mean(axis=(1, 2)) / 255).astype(np.float32)}
