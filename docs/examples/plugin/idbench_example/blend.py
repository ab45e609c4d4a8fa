"""Method `blend`: the reference with noise over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from baselines.protocol import Image, Output, Request
from bench.identity import IDENTITY, RECORDED, Spec
from bench.runtime import Runtime


class BlendOptions(Spec):
    """Options of the method.

    Attributes:
        strength: share of the noise, 0 to 1.
        batch: samples per call.
    """

    strength: Annotated[float, IDENTITY, Field(ge=0, le=1)] = 0.2
    batch: Annotated[int, RECORDED, Field(ge=1)] = 4


class Blend:
    """A person is less and less recognised as the noise grows."""

    Options = BlendOptions
    needs = frozenset({"image"})

    def __init__(self, options: BlendOptions, runtime: Runtime) -> None:
        self._strength = options.strength

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return one image per request."""
        return [Output(image=self._one(request)) for request in requests]

    def _one(self, request: Request) -> Image:
        image = request.reference.image
        assert image is not None
        noise = np.random.default_rng(request.seed).integers(0, 256, image.shape)
        return ((1 - self._strength) * image + self._strength * noise).astype(np.uint8)
