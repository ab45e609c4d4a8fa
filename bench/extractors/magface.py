"""MagFace (Meng et al., CVPR 2021): a recogniser whose embedding's length measures the quality of the crop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from bench.extractors.options import AlignedOptions
from bench.extractors.protocol import Crops, Distance
from bench.extractors.recognition import with_norm
from bench.identity import IDENTITY
from bench.networks import beside, load_state, pixels
from bench.runtime import Runtime

STEM = "features.running_mean"
EPS = 2e-5
"""Of all batch norms; 1e-5 moves the embedding by 1e-4 of its length."""


class MagFace:
    """A MagFace network. Input BGR in [0, 1], 112, without mean and standard deviation."""

    role: ClassVar[str] = "recognition"
    pairwise: ClassVar[bool] = False
    columns: ClassVar[Mapping[str, str]] = {"feature": "recognition", "norm": "quality"}
    distance: ClassVar[Distance] = "cosine"

    class Options(AlignedOptions):
        """Options of MagFace.

        Attributes:
            network: insightface's layout; the official file is an "iresnet100". The file may hold it under any prefix.
        """

        network: Annotated[Literal["iresnet50", "iresnet100"], IDENTITY] = "iresnet100"

    def __init__(self, options: Options, runtime: Runtime) -> None:
        from bench.extractors.iresnet import insightface

        source = f"{options.weights} (MagFace)"
        state = beside(load_state(options.weights), STEM, source)
        self._device = runtime.device
        self._network = insightface(state, options.network, source, runtime.device, EPS)

    def extract(self, crops: Crops) -> Mapping[str, NDArray[np.float32]]:
        """Return the embeddings of (b, 112, 112, 3) uint8 RGB crops.

        Returns:
            "feature": (b, 512) float32, not normalised; "norm": (b,) its length, MagFace's quality, higher is better.
        """
        import torch

        with torch.inference_mode():
            return with_norm(self._network(pixels(crops, self._device).flip(1)).cpu().numpy())
