"""EdgeFace (George et al., T-BIOM 2024): small recognisers made of timm's EdgeNeXt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.extractors.options import AlignedOptions
from bench.extractors.protocol import Crops, Distance
from bench.extractors.recognition import with_norm
from bench.identity import IDENTITY
from bench.networks import assemble, load_state, pixels, select
from bench.runtime import Runtime

if TYPE_CHECKING:
    from torch import nn

Name = Literal["base", "s_gamma_05", "xs_gamma_06", "xxs"]


class Variant(NamedTuple):
    """One of the published networks.

    Attributes:
        trunk: timm's name.
        gamma: rank of the two factors of a linear layer over its smaller side; None: not factorised.
    """

    trunk: str
    gamma: float | None = None


VARIANTS: dict[Name, Variant] = {
    "base": Variant("edgenext_base"),
    "s_gamma_05": Variant("edgenext_small", 0.5),
    "xs_gamma_06": Variant("edgenext_x_small", 0.6),
    "xxs": Variant("edgenext_xx_small"),
}


class EdgeFace:
    """An EdgeFace network. Input RGB in [-1, 1], 112."""

    role: ClassVar[str] = "recognition"
    pairwise: ClassVar[bool] = False
    distance: ClassVar[Distance] = "cosine"

    class Options(AlignedOptions):
        """Options of EdgeFace.

        Attributes:
            network: which of the published ones; the file is `edgeface_<network>.pt`.
        """

        network: Annotated[Name, IDENTITY] = "base"

    def __init__(self, options: Options, runtime: Runtime) -> None:
        state = load_state(options.weights)
        source = f"{options.weights} as EdgeFace {options.network}"
        variant = VARIANTS[options.network]
        self._device = runtime.device
        self._network = assemble(lambda: _network(variant), select(state, "model.") or state, source, runtime.device)

    def extract(self, crops: Crops) -> Mapping[str, NDArray[np.float32]]:
        """Return the embeddings of (b, 112, 112, 3) uint8 RGB crops.

        Returns:
            "feature": (b, 512) float32, not normalised; "norm": (b,) its length.
        """
        import torch

        with torch.inference_mode():
            return with_norm(self._network(pixels(crops, self._device) * 2 - 1).cpu().numpy())


def _network(variant: Variant) -> nn.Module:
    import timm

    network: nn.Module = timm.create_model(variant.trunk, pretrained=False, num_classes=512)
    if variant.gamma is not None:
        _factorise(network, variant.gamma)
    return network


def _factorise(module: nn.Module, gamma: float) -> None:
    """Replace every linear layer by a product of two, the head's too."""
    from torch import nn

    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            rank = max(2, int(gamma * min(child.in_features, child.out_features)))
            pair = nn.Sequential()
            pair.add_module("linear1", nn.Linear(child.in_features, rank, bias=False))
            pair.add_module("linear2", nn.Linear(rank, child.out_features, bias=child.bias is not None))
            module.add_module(name, pair)
        else:
            _factorise(child, gamma)
