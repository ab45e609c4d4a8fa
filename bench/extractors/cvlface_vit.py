"""CVLface's vision transformers (Kim et al., KP-RPE, CVPR 2024): their attention knows where the key points are."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from bench.extractors.options import AlignedOptions
from bench.extractors.protocol import Crops, Distance
from bench.extractors.recognition import with_norm
from bench.faces.align import ARCFACE
from bench.identity import IDENTITY
from bench.networks import assemble, beside, load_state, pixels
from bench.runtime import Runtime

STEM = "feature.0.weight"
SIDE = 112


class CvlfaceVit:
    """A vision transformer of CVLface. Input RGB in [-1, 1], 112."""

    role: ClassVar[str] = "recognition"
    pairwise: ClassVar[bool] = False
    distance: ClassVar[Distance] = "cosine"

    class Options(AlignedOptions):
        """Options of CVLface's transformers.

        Attributes:
            network: "small" or "base"; the file is `model.safetensors` of its folder on Hugging Face, or
                `pretrained_model/model.pt`.
            kprpe: whether it has KP-RPE; a plain transformer does not read key points.
        """

        network: Annotated[Literal["small", "base"], IDENTITY] = "base"
        kprpe: Annotated[bool, IDENTITY] = True

    def __init__(self, options: Options, runtime: Runtime) -> None:
        from bench.extractors.kprpe_vit import SIZES, Transformer

        state = beside(load_state(options.weights), STEM, str(options.weights))
        source = f"{options.weights} as {options.network} transformer of CVLface"
        make = partial(Transformer, SIZES[options.network], options.kprpe)
        self.options = options
        self._device = runtime.device
        self._network = assemble(make, state, source, runtime.device)

    def extract(self, crops: Crops) -> Mapping[str, NDArray[np.float32]]:
        """Return the embeddings of (b, 112, 112, 3) uint8 RGB crops whose key points are taken to be the template's.

        Returns:
            "feature": (b, 512) float32, not normalised; "norm": (b,) its length.
        """
        return self.embed(crops, np.broadcast_to(ARCFACE, (len(crops), *ARCFACE.shape)))

    def embed(self, crops: Crops, keypoints: NDArray[np.floating]) -> Mapping[str, NDArray[np.float32]]:
        """Return the embeddings of crops whose own key points are known.

        Args:
            crops: (b, 112, 112, 3) uint8 RGB.
            keypoints: (b, 5, 2) x, y in pixels of the crop; a network without KP-RPE does not read them.

        Returns:
            As `extract`.
        """
        import torch

        shares = torch.from_numpy(np.asarray(keypoints / SIDE, np.float32)).to(self._device)
        with torch.inference_mode():
            images = pixels(crops, self._device) * 2 - 1
            feature = self._network(images, shares if self.options.kprpe else None)
        return with_norm(feature.cpu().numpy())
