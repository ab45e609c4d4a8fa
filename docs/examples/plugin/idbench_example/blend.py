"""Method `blend`: the reference with noise over it, and with less detail where a condition says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from baselines.protocol import Image, Output, Request
from bench.conditions.kinds import ConditionKind
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
    accepts = frozenset({ConditionKind.COMPONENTS})

    def __init__(self, options: BlendOptions, runtime: Runtime) -> None:
        self._strength = options.strength

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return one image per request."""
        return [Output(image=self._one(request)) for request in requests]

    def _one(self, request: Request) -> Image:
        image = request.reference.image
        assert image is not None
        kept = of_components(image, request.condition.components)
        noise = np.random.default_rng(request.seed).integers(0, 256, image.shape)
        return ((1 - self._strength) * kept + self._strength * noise).clip(0, 255).astype(np.uint8)


def of_components(image: Image, count: int | None) -> NDArray[np.float64]:
    """Return an image of the first principal components of each colour's rows; None: of all."""
    left, sizes, right = np.linalg.svd(np.moveaxis(image, 2, 0).astype(np.float64), full_matrices=False)
    kept = (left[..., :count] * sizes[:, None, :count]) @ right[:, :count]
    return np.moveaxis(kept, 0, 2)
