"""SSCD (Pizzi et al., CVPR 2022): whether one image is a copy of another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.extractors.protocol import Crops
from bench.identity import IDENTITY, RECORDED, Spec, WeightFile
from bench.networks import IMAGENET_MEAN, IMAGENET_STD, assemble, load_state, pixels, select, standardise
from bench.runtime import Runtime

if TYPE_CHECKING:
    from torch import Tensor, nn

POWER = 3.0
FLOOR = 1e-6


class Sscd:
    """SSCD's ResNet-50 descriptor. Input RGB, ImageNet mean and std, of any size: the view decides it."""

    role: ClassVar[str] = "sscd"
    pairwise: ClassVar[bool] = False

    class Options(Spec):
        """Options of SSCD.

        Attributes:
            weights: `sscd_disc_mixup.torchvision.pt`: plain tensors. The TorchScript file of the same network is not
                read, because loading it would run it.
            view: the whole image stretched to 320 x 320, as the authors advise for batches.
            batch: images at a time.
        """

        weights: WeightFile
        view: Annotated[str, IDENTITY] = "whole320"
        batch: Annotated[int, Field(gt=0), RECORDED] = 8

    def __init__(self, options: Options, runtime: Runtime) -> None:
        source = f"{options.weights} (SSCD)"
        state = select(load_state(options.weights), "backbone.")
        self._device = runtime.device
        self._network = assemble(descriptor, state, source, runtime.device)

    def extract(self, crops: Crops) -> Mapping[str, NDArray[np.float32]]:
        """Return "feature" (b, 512) float32, of length 1, of (b, H, W, 3) uint8 RGB images."""
        import torch

        with torch.inference_mode():
            images = standardise(pixels(crops, self._device), IMAGENET_MEAN, IMAGENET_STD)
            return {"feature": torch.nn.functional.normalize(self._network(images)).cpu().numpy()}


def descriptor() -> nn.Module:
    """Return a ResNet-50 by torchvision's names with 512 outputs, whose average pool is a generalised mean."""
    from torch import nn
    from torchvision.models import resnet50

    class GeneralisedMean(nn.Module):
        """The cube root of the mean cube over the pixels."""

        def forward(self, x: Tensor) -> Tensor:
            """Return (b, C, 1, 1) of (b, C, h, w)."""
            return x.clamp(min=FLOOR).pow(POWER).mean((2, 3), keepdim=True).pow(1 / POWER)

    network: nn.Module = resnet50(num_classes=512)
    network.avgpool = GeneralisedMean()
    return network
