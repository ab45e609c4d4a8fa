"""DINOv2 features for FD-DINOv2 and for finding copies."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.extractors.protocol import Crops
from bench.identity import IDENTITY, RECORDED, Spec, WeightFile
from bench.networks import IMAGENET_MEAN, IMAGENET_STD, bicubic, pixels, standardise
from bench.runtime import Runtime
from bench.weights import load_renamed

if TYPE_CHECKING:
    from torch import Tensor

SIZE = 224
OFFSET = 0.1
"""What facebookresearch/dinov2 adds to the grid's side when it resamples its position table (transformers does not)."""


class Dinov2:
    """The normalised class token of DINOv2 (Oquab et al., 2023), as dgm-eval (Stein et al., NeurIPS 2023) takes it.

    Input RGB, shrunk to 224 by Pillow's bicubic filter on bytes, / 255, ImageNet mean and std. ViT-L/14 answers 1024
    numbers. The position table, trained for 518, is resampled once, by the rule of the official repository.
    """

    role: ClassVar[str] = "dinov2"
    pairwise: ClassVar[bool] = False

    class Options(Spec):
        """Options of DINOv2.

        Attributes:
            weights: folder in Hugging Face layout, e.g. of `facebook/dinov2-large`.
            view: the crop it reads.
            batch: crops at a time.
        """

        weights: WeightFile
        view: Annotated[str, IDENTITY] = "ffhq512"
        batch: Annotated[int, Field(gt=0), RECORDED] = 8

    def __init__(self, options: Dinov2.Options, runtime: Runtime) -> None:
        import torch
        from transformers import Dinov2Model

        self.network = load_renamed(Dinov2Model, options.weights)
        embeddings = self.network.embeddings
        table = resampled(embeddings.position_embeddings, SIZE // embeddings.patch_embeddings.patch_size[0])
        embeddings.position_embeddings = torch.nn.Parameter(table, requires_grad=False)
        self.device = runtime.device
        self.network.to(self.device)

    def extract(self, crops: Crops) -> dict[str, NDArray[np.float32]]:
        """Return `feature` (b, d) float32 of (b, H, W, 3) uint8 RGB crops of any size."""
        import torch

        with torch.inference_mode():
            images = standardise(pixels(bicubic(crops, SIZE), self.device), IMAGENET_MEAN, IMAGENET_STD)
            return {"feature": self.network(images).pooler_output.cpu().numpy()}


def resampled(table: Tensor, side: int) -> Tensor:
    """Resample a position table to a grid of another side as facebookresearch/dinov2 does: bicubic, by a scale factor.

    Args:
        table: (1, 1 + n * n, d): the class token's row, then the grid's.
        side: of the new grid.

    Returns:
        (1, 1 + side * side, d); the table itself where its grid has that side.
    """
    import torch
    from torch.nn.functional import interpolate

    n = isqrt(table.shape[1] - 1)
    if n == side:
        return table.detach()
    grid = table[:, 1:].unflatten(1, (n, n)).permute(0, 3, 1, 2)
    scaled = interpolate(grid, scale_factor=(side + OFFSET) / n, mode="bicubic")
    return torch.cat([table[:, :1], scaled.flatten(2).transpose(1, 2)], dim=1).detach()
