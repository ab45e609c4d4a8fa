"""CR-FIQA (Boutros et al., CVPR 2023): how useful a face crop is for recognition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from bench.extractors.options import AlignedOptions
from bench.extractors.protocol import Crops
from bench.identity import IDENTITY
from bench.networks import assemble, load_state, pixels
from bench.runtime import Runtime

if TYPE_CHECKING:
    from torch import Tensor

HEAD = "qs."


class CrFiqa:
    """A CR-FIQA network. Input RGB in [-1, 1], 112. The quality reads the embedding before it is normalised."""

    role: ClassVar[str] = "quality"
    pairwise: ClassVar[bool] = False
    columns: ClassVar[Mapping[str, str]] = {"quality": "quality"}

    class Options(AlignedOptions):
        """Options of CR-FIQA.

        Attributes:
            network: "iresnet100" of CR-FIQA(L), `181952backbone.pth`; "iresnet50" of CR-FIQA(S), `32572backbone.pth`.
        """

        network: Annotated[Literal["iresnet50", "iresnet100"], IDENTITY] = "iresnet100"

    def __init__(self, options: Options, runtime: Runtime) -> None:
        from torch import nn

        from bench.extractors.iresnet import insightface

        source = f"{options.weights} (CR-FIQA)"
        state = load_state(options.weights)
        head = {key.removeprefix(HEAD): tensor for key, tensor in state.items() if key.startswith(HEAD)}
        backbone = {key: tensor for key, tensor in state.items() if not key.startswith(HEAD)}
        self._device = runtime.device
        self._network = insightface(backbone, options.network, source, runtime.device)
        self._head: Any = assemble(lambda: nn.Linear(512, 1), head, f"{source}: {HEAD}", runtime.device)

    def extract(self, crops: Crops) -> Mapping[str, NDArray[np.float32]]:
        """Return "quality" (b,) float32, unbounded, higher is better, of (b, 112, 112, 3) uint8 RGB crops."""
        import torch

        with torch.inference_mode():
            feature = self.features(pixels(crops, self._device)).double()
            # Row by row: a product of matrices rounds a row by its place in the batch.
            quality = (feature * self._head.weight[0]).sum(1) + self._head.bias
            return {"quality": quality.float().cpu().numpy()}

    def features(self, images: Tensor) -> Tensor:
        """Return the (b, 512) embeddings, not normalised, of (b, 3, 112, 112) RGB in [0, 1]."""
        feature: Tensor = self._network(images * 2 - 1)
        return feature
