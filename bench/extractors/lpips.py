"""LPIPS v0.1 between the crops of one item: a crop goes through the trunk once, pairs are differences of features."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.errors import UserError
from bench.extractors.protocol import Crops
from bench.hashing import sha256_path
from bench.identity import IDENTITY, RECORDED, Spec, WeightFile
from bench.networks import State, channels_last, fill, load_state, pixels, select
from bench.runtime import Runtime

if TYPE_CHECKING:
    from torch import Tensor, nn

Net = Literal["alex", "vgg", "squeeze"]

HEADS: dict[Net, str] = {
    "alex": "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    "vgg": "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    "squeeze": "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
}
"""sha256 of the v0.1 heads inside the package `lpips`: no option names them, so that they are pinned here."""

ELEMENTS = 1 << 19
"""Elements of a difference that are taken at a time: they stay in the cache of a core."""


class Lpips:
    """LPIPS (Zhang et al., CVPR 2018; package `lpips` 0.1.4, version 0.1), lower is more alike, 0 is equal.

    Input is RGB, u8 / 127.5 - 1, without any resizing: the value depends on the crop's size. The trunk (AlexNet, VGG-16
    or SqueezeNet 1.1) comes from a torchvision state dict on disk, the heads from the installed package.
    """

    role: ClassVar[str] = "lpips"
    pairwise: ClassVar[bool] = True

    class Options(Spec):
        """Options of LPIPS.

        Attributes:
            trunk: torchvision's `alexnet`, `vgg16` or `squeezenet1_1` state dict; its classifier is not read.
            net: which of the three.
            view: the crop it reads.
            batch: crops that go through the trunk at a time. A vgg at 512 keeps 0.13 GB of features for each.
        """

        trunk: WeightFile
        net: Annotated[Net, IDENTITY] = "alex"
        view: Annotated[str, IDENTITY] = "ffhq512_masked"
        batch: Annotated[int, Field(gt=0), RECORDED] = 1

    def __init__(self, options: Lpips.Options, runtime: Runtime) -> None:
        self.batch = options.batch
        self.device = runtime.device
        self.network: Any = channels_last(network(options.net, options.trunk), runtime.device)

    def distances(self, crops: Crops) -> NDArray[np.float64]:
        """Return (b, b) symmetric LPIPS distances of (b, H, W, 3) uint8 RGB crops, 0 on the diagonal."""
        import torch

        table = np.zeros((len(crops), len(crops)))
        with torch.inference_mode():
            features = self.features(crops)
            for i, j in combinations(range(len(crops)), 2):
                table[i, j] = table[j, i] = self._distance(features[i], features[j])
        return table

    def features(self, crops: Crops) -> list[tuple[Tensor, ...]]:
        """Return, per crop and stage, (C, h, w) activations of the trunk divided by their norm over the channels."""
        from lpips import normalize_tensor

        rows: list[tuple[Tensor, ...]] = []
        for batch in self._batches(crops):
            stages = self.network.net(self.network.scaling_layer(batch))
            rows += zip(*(normalize_tensor(stage).unbind() for stage in stages), strict=True)
        return rows[: len(crops)]

    def _batches(self, crops: Crops) -> Iterator[Tensor]:
        padding = np.zeros((-len(crops) % self.batch, *crops.shape[1:]), dtype=np.uint8)
        padded = np.concatenate([crops, padding])
        for start in range(0, len(padded), self.batch):
            yield pixels(padded[start : start + self.batch], self.device).mul(2).sub(1)

    def _distance(self, one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> float:
        weights = (head.model[-1].weight.flatten() for head in self.network.lins)
        return float(sum(weighted(a, b, w) for a, b, w in zip(one, other, weights, strict=True)))


def weighted(one: Tensor, other: Tensor, weight: Tensor) -> Tensor:
    """Return the mean over the pixels of the weighted sum over the channels of squared differences, in float64.

    Args:
        one: (C, h, w).
        other: (C, h, w).
        weight: (C,) of a head.
    """
    channels = max(1, ELEMENTS // one[0].numel())
    parts = zip(one.split(channels), other.split(channels), weight.double().split(channels), strict=True)
    return sum((a - b).square_().mean((1, 2)).double() @ w for a, b, w in parts)


def network(net: Net, trunk: Path) -> nn.Module:
    """Build the package's network with its own heads and the trunk's weights from a file; nothing is downloaded.

    Raises:
        UserError: the trunk's file is missing or another network's, or the package ships other heads.
    """
    import lpips
    import torch

    with torch.device("meta"), warnings.catch_warnings():
        # torchvision warns of the argument `pretrained`, which lpips passes.
        warnings.simplefilter("ignore")
        model = lpips.LPIPS(pretrained=False, pnet_rand=True, net=net, verbose=False)
    layers = {name: layer for stage in model.net.children() for name, layer in stage.named_children()}
    fill(torch.nn.ModuleDict(layers), select(load_state(trunk), "features."), f"{trunk} (features of {net})")
    fill(model.lins, heads(net), f"heads of {net}")
    return model.eval().requires_grad_(False)


def heads(net: Net) -> State:
    """Return the linear heads that the package `lpips` ships, by the keys of its list of heads.

    Raises:
        UserError: they are not those of version 0.1.
    """
    import lpips

    path = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth"
    if sha256_path(path) != HEADS[net]:
        raise UserError(
            f"{path} is not LPIPS v0.1: sha256 {sha256_path(path)}, expected {HEADS[net]}; install lpips 0.1.4"
        )
    return {key.removeprefix("lin"): tensor for key, tensor in load_state(path).items()}
