"""ArcFace recognisers in torch files: insightface's residual networks, and facexlib's squeeze-and-excitation one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from bench.extractors.options import AlignedOptions
from bench.extractors.protocol import Crops, Distance
from bench.extractors.recognition import with_norm
from bench.identity import IDENTITY
from bench.networks import State, assemble, load_state, pixels
from bench.runtime import Runtime

if TYPE_CHECKING:
    from torch import Tensor, nn

Network = Literal["iresnet50", "iresnet100", "ir_se50"]


class ArcFaceTorch:
    """An ArcFace network in torch: aligned 112 crops in, embeddings and their norms out."""

    role: ClassVar[str] = "recognition"
    pairwise: ClassVar[bool] = False
    distance: ClassVar[Distance] = "cosine"

    class Options(AlignedOptions):
        """Options of an ArcFace network.

        Attributes:
            network: "iresnet50" and "iresnet100": keys of insightface's arcface_torch (`conv1`, `layer1.0.bn1`,
                `features`); the embedding is raw. "ir_se50": facexlib's `recognition_arcface_ir_se50.pth`; the
                embedding has norm 1.
            colour: the order of channels that the network reads.
        """

        network: Annotated[Network, IDENTITY] = "iresnet100"
        colour: Annotated[Literal["rgb", "bgr"], IDENTITY] = "rgb"

    def __init__(self, options: Options, runtime: Runtime) -> None:
        self.options = options
        self._device = runtime.device
        source = f"{options.weights} as ArcFace {options.network}"
        self._network = build(options.network, load_state(options.weights), source, runtime.device)

    def extract(self, crops: Crops) -> Mapping[str, NDArray[np.float32]]:
        """Return the embeddings of (b, 112, 112, 3) uint8 RGB crops.

        Returns:
            "feature": (b, 512) float32; "norm": (b,) its length. Rows in which the network answered with something
            that is not a number are NaN throughout.
        """
        import torch

        with torch.inference_mode():
            feature: Tensor = self._network(network_input(crops, self.options.colour, self._device))
        return with_norm(feature.cpu().numpy())


def network_input(crops: Crops, colour: Literal["rgb", "bgr"], device: str) -> Tensor:
    """Return (b, 112, 112, 3) uint8 RGB crops as (b, 3, 112, 112) float32 in [-1, 1], channels in order `colour`."""
    images = pixels(crops, device)
    return (images if colour == "rgb" else images.flip(1)) * 2 - 1


def build(network: Network, state: State, source: str, device: str) -> nn.Module:
    """Return a network on its device, filled from a state dict by its official keys.

    Raises:
        UserError: the state is that of another network; `source` is named.
    """
    if network == "ir_se50":
        import torch
        from facexlib.recognition.arcface_arch import Backbone

        backbone = assemble(lambda: Backbone(50, 0.6, "ir_se"), state, source, device)
        # It flattens by a view, which channels-last memory does not allow.
        return backbone.to(memory_format=torch.contiguous_format)

    from bench.extractors.iresnet import insightface

    return insightface(state, network, source, device)
