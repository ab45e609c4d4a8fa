"""MICA (Zielon et al., ECCV 2022): the shape of a face in FLAME's space, read from an ArcFace embedding.

It is a recogniser in disguise: what ArcFace does not see of a face, MICA does not either.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from bench.extractors.options import AlignedOptions
from bench.extractors.protocol import Crops, Distance
from bench.networks import State, assemble, load_state, pixels, select
from bench.runtime import Runtime

if TYPE_CHECKING:
    from torch import Tensor, nn

SLOPE = 0.2
"""Of the leaky ReLU after every layer but the last."""


class Mica:
    """MICA's ArcFace and its mapping, all that is read of `mica.tar`. Input RGB in [-1, 1], 112."""

    role: ClassVar[str] = "shape"
    pairwise: ClassVar[bool] = False
    distance: ClassVar[Distance] = "euclidean"

    Options = AlignedOptions

    def __init__(self, options: AlignedOptions, runtime: Runtime) -> None:
        from bench.extractors.iresnet import insightface

        source = f"{options.weights} (MICA)"
        state = load_state(options.weights)
        self._device = runtime.device
        self._network = insightface(select(state, "arcface."), "iresnet100", source, runtime.device)
        self._mapping = mapping(select(state, "flameModel.regressor."), f"{source}: mapping", runtime.device)

    def extract(self, crops: Crops) -> Mapping[str, NDArray[np.float32]]:
        """Return "feature" (b, 300) float32: FLAME's shape parameters of (b, 112, 112, 3) uint8 RGB crops."""
        import torch

        with torch.inference_mode():
            embedding = torch.nn.functional.normalize(self._network(pixels(crops, self._device) * 2 - 1))
            return {"feature": self._mapping(embedding).cpu().numpy()}


def mapping(state: State, source: str, device: str) -> nn.Module:
    """Return MICA's mapping from a unit embedding to shape parameters, its depth and widths as the file has them.

    A layer that is wider than what comes before it reads the embedding again, put in front.

    Raises:
        UserError: the state holds no mapping, or one of another form.
    """
    import torch
    from torch import nn

    class Mapping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            count = sum(key.startswith("network.") and key.endswith(".weight") for key in state)
            self.layers = [_linear(state, f"network.{index}", source) for index in range(count)]
            self.network = nn.ModuleList(self.layers)
            self.output = _linear(state, "output", source)

        def forward(self, embedding: Tensor) -> Tensor:
            x = embedding
            for layer in self.layers:
                x = torch.cat([embedding, x], 1) if layer.in_features > x.shape[1] else x
                x = nn.functional.leaky_relu(layer(x), SLOPE)
            return self.output(x)

    return assemble(Mapping, state, source, device)


def _linear(state: State, name: str, source: str) -> nn.Linear:
    from torch import nn

    weight = state.get(f"{name}.weight")
    if weight is None:
        raise UserError(f"{source} holds no {name}.weight")
    return nn.Linear(weight.shape[1], weight.shape[0])
