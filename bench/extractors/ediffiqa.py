"""eDifFIQA(T) (Babnik et al., T-BIOM 2024): face quality from a small ONNX network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.extractors.protocol import Crops
from bench.extractors.recognition import ArcFaceOnnx
from bench.identity import IDENTITY, RECORDED, Spec, WeightFile
from bench.runtime import Runtime


class EDifFiqa:
    """A network with one number for an answer. Input RGB in [-1, 1], 112."""

    role: ClassVar[str] = "quality"
    pairwise: ClassVar[bool] = False

    class Options(Spec):
        """Options of eDifFIQA.

        Attributes:
            weights: `ediffiqa_tiny_jun2024.onnx` of OpenCV's zoo.
            view: the crop it reads. Crops of another size than 112 are scaled, which changes the answer.
            trained_on: the training set.
            batch: crops at a time.
        """

        weights: WeightFile
        view: Annotated[str, IDENTITY] = "arcface112"
        trained_on: Annotated[str, RECORDED] = ""
        batch: Annotated[int, Field(gt=0), RECORDED] = 16

    def __init__(self, options: Options, runtime: Runtime) -> None:
        inner = ArcFaceOnnx.Options(weights=options.weights, dim=1, view=options.view, batch=options.batch)
        self._network = ArcFaceOnnx(inner, runtime)

    def extract(self, crops: Crops) -> Mapping[str, NDArray[np.float32]]:
        """Return "quality" (b,) float32, about 0 to 1, higher is better, of (b, 112, 112, 3) uint8 RGB crops."""
        return {"quality": self._network.extract(crops)["feature"][:, 0]}
