"""eDifFIQA(T) (Babnik et al., T-BIOM 2024): face quality from a small ONNX network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.extractors.options import AlignedOptions
from bench.extractors.protocol import Crops
from bench.extractors.recognition import ArcFaceOnnx
from bench.runtime import Runtime


class EDifFiqa:
    """A network with one number for an answer, `ediffiqa_tiny_jun2024.onnx` of OpenCV's zoo. Input RGB in [-1, 1], 112.

    Crops of another size are scaled, which changes the answer.
    """

    role: ClassVar[str] = "quality"
    pairwise: ClassVar[bool] = False
    columns: ClassVar[Mapping[str, str]] = {"quality": "quality"}

    Options = AlignedOptions

    def __init__(self, options: AlignedOptions, runtime: Runtime) -> None:
        inner = ArcFaceOnnx.Options(weights=options.weights, dim=1, view=options.view, batch=options.batch)
        self._network = ArcFaceOnnx(inner, runtime)

    def extract(self, crops: Crops) -> Mapping[str, NDArray[np.float32]]:
        """Return "quality" (b,) float32, about 0 to 1, higher is better, of (b, 112, 112, 3) uint8 RGB crops."""
        return {"quality": self._network.extract(crops)["feature"][:, 0]}
