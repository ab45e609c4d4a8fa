"""Inception features for FID and KID, by the network of pytorch-fid, from a local file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.extractors.protocol import Crops
from bench.identity import IDENTITY, RECORDED, Spec, WeightFile
from bench.networks import State, channels_last, fill, load_state, pixels
from bench.runtime import Runtime

if TYPE_CHECKING:
    from torch import Tensor, nn

UNUSED = ("fc.", "AuxLogits.")


class Inception:
    """pytorch-fid's FID-Inception, spatially averaged at one of its four blocks.

    Input RGB in [0, 1], resized to 299 by torch's bilinear filter (align_corners false, no antialiasing), then 2x - 1:
    exactly what pytorch-fid 0.3.0 does.
    """

    role: ClassVar[str] = "inception"
    pairwise: ClassVar[bool] = False

    class Options(Spec):
        """Options of Inception.

        Attributes:
            weights: `pt_inception-2015-12-05-6726825d.pth` of pytorch-fid; parts after the chosen block may be missing.
            dims: 2048 (last average pool, the usual FID), 768, 192 or 64.
            view: the crop it reads.
            batch: crops at a time.
        """

        weights: WeightFile
        dims: Annotated[Literal[64, 192, 768, 2048], IDENTITY] = 2048
        view: Annotated[str, IDENTITY] = "ffhq512"
        batch: Annotated[int, Field(gt=0), RECORDED] = 16

    def __init__(self, options: Inception.Options, runtime: Runtime) -> None:
        state = load_state(options.weights)
        source = f"{options.weights} (Inception up to {options.dims}-d)"
        self.network = channels_last(network(options.dims, state, source), runtime.device)
        self.device = runtime.device

    def extract(self, crops: Crops) -> dict[str, NDArray[np.float32]]:
        """Return `feature` (b, dims) float32 of (b, H, W, 3) uint8 RGB crops of any size."""
        import torch

        with torch.inference_mode():
            return {"feature": self.features(pixels(crops, self.device)).cpu().numpy()}

    def features(self, images: Tensor) -> Tensor:
        """Return (b, dims) of (b, 3, H, W) float32 RGB in [0, 1]."""
        from torch.nn.functional import adaptive_avg_pool2d

        return adaptive_avg_pool2d(self.network(images)[0], 1).flatten(1)


def network(dims: int, state: State, source: str) -> nn.Module:
    """Build pytorch-fid's `InceptionV3` up to the block of `dims`, from a state dict in its published layout.

    Raises:
        UserError: the state lacks a part in use, or holds what no FID-Inception has; `source` names it.
    """
    from unittest.mock import patch

    import torch
    from pytorch_fid import inception as package

    block = package.InceptionV3.BLOCK_INDEX_BY_DIM[dims]
    with torch.device("meta"):
        whole = _whole()
        with patch.object(package, "fid_inception_v3", lambda: whole):
            model = package.InceptionV3([block])
    inside = set(model.modules())
    used = torch.nn.ModuleDict({name: part for name, part in whole.named_children() if part in inside})
    later = tuple(f"{name}." for name, part in whole.named_children() if part not in inside)
    fill(used, state, source, unused=UNUSED + later)
    return model.eval()


def _whole() -> nn.Module:
    """Build the network as the package does, but for the last two things it does: a download, and loading it."""
    from unittest.mock import patch

    from pytorch_fid import inception as package
    from torchvision.models import Inception3

    with (
        patch.object(package, "load_state_dict_from_url", lambda *_, **__: {}),
        patch.object(Inception3, "load_state_dict", lambda *_: None),
    ):
        return package.fid_inception_v3()
