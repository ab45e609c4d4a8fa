"""ArcFace recognisers in torch files: insightface's residual networks, and facexlib's squeeze-and-excitation one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.extractors.protocol import Crops
from bench.extractors.recognition import with_norm
from bench.identity import IDENTITY, RECORDED, Spec, WeightFile
from bench.networks import fill, load_state, pixels
from bench.runtime import Runtime

if TYPE_CHECKING:
    from torch import Tensor, nn

Network = Literal["r18", "r50", "r100", "ir_se50"]


class ArcFaceTorch:
    """An ArcFace network in torch: aligned 112 crops in, embeddings and their norms out."""

    role: ClassVar[str] = "recognition"
    pairwise: ClassVar[bool] = False

    class Options(Spec):
        """How a file wants its crops, and where it comes from.

        Attributes:
            weights: a state dict.
            network: r18, r50, r100: keys of insightface's arcface_torch (`conv1`, `layer1.0.bn1`, `features`), the
                embedding is raw. ir_se50: facexlib's `recognition_arcface_ir_se50.pth`, the embedding has norm 1.
            colour: order of the channels that the network was trained on.
            view: name of the crop.
            trained_on: name of the training set.
            batch: crops at a time.
        """

        weights: WeightFile
        network: Annotated[Network, IDENTITY] = "r100"
        colour: Annotated[Literal["rgb", "bgr"], IDENTITY] = "rgb"
        view: Annotated[str, IDENTITY] = "arcface112"
        trained_on: Annotated[str, RECORDED] = ""
        batch: Annotated[int, Field(gt=0), RECORDED] = 16

    def __init__(self, options: Options, runtime: Runtime) -> None:
        import torch

        self.options, self._device = options, runtime.device
        with torch.device("meta"):
            network = build(options.network)
        fill(network, load_state(options.weights), f"{options.weights} as ArcFace {options.network}")
        self._network = network.to(runtime.device)

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


def build(network: Network) -> nn.Module:
    """Return a network without weights; it lies on torch's current device."""
    if network == "ir_se50":
        from facexlib.recognition.arcface_arch import Backbone

        return Backbone(50, 0.6, "ir_se")

    from bench.extractors.insightface_resnet import InsightfaceResNet

    return InsightfaceResNet(network)
