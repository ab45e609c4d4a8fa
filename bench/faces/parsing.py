"""Face parsing: which pixel of an aligned 512 crop is skin, hair, background; and the crop without its background."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.errors import UserError
from bench.extractors.protocol import Crops
from bench.identity import IDENTITY, RECORDED, Spec, WeightFile
from bench.networks import IMAGENET_MEAN, IMAGENET_STD, State, fill, load_state, pixels, standardise
from bench.runtime import Runtime

if TYPE_CHECKING:
    from torch import Tensor, nn

SIZE = 512


class Label(IntEnum):
    """The 19 labels in the order and by the names of BiSeNet: EYE_G is glasses, EAR_R an earring, NECK_L a necklace."""

    BACKGROUND = 0
    SKIN = 1
    L_BROW = 2
    R_BROW = 3
    L_EYE = 4
    R_EYE = 5
    EYE_G = 6
    L_EAR = 7
    R_EAR = 8
    EAR_R = 9
    NOSE = 10
    MOUTH = 11
    U_LIP = 12
    L_LIP = 13
    NECK = 14
    NECK_L = 15
    CLOTH = 16
    HAIR = 17
    HAT = 18


PARSENET_ORDER = (
    Label.BACKGROUND,
    Label.SKIN,
    Label.NOSE,
    Label.EYE_G,
    Label.L_EYE,
    Label.R_EYE,
    Label.L_BROW,
    Label.R_BROW,
    Label.L_EAR,
    Label.R_EAR,
    Label.MOUTH,
    Label.U_LIP,
    Label.L_LIP,
    Label.HAIR,
    Label.HAT,
    Label.EAR_R,
    Label.NECK_L,
    Label.NECK,
    Label.CLOTH,
)
"""ParseNet's output channel -> label."""


class BiSeNet:
    """The face parser of facexlib and zllrunning/face-parsing.PyTorch (BiSeNet on a ResNet-18).

    Input RGB, (x / 255 - ImageNet mean) / std, at 512; of its three outputs the first, argmax over 19 channels.
    """

    class Options(Spec):
        """Options of BiSeNet.

        Attributes:
            weights: `parsing_bisenet.pth` of facexlib (or `79999_iter.pth`, the same file).
            batch: crops at a time.
        """

        weights: WeightFile
        batch: Annotated[int, Field(gt=0), RECORDED] = 1

    def __init__(self, options: BiSeNet.Options, runtime: Runtime) -> None:
        import torch
        from facexlib.parsing.bisenet import BiSeNet as Network

        with torch.device("meta"):
            self.network = Network(num_class=len(Label))
        fill(self.network, load_state(options.weights), f"{options.weights} (BiSeNet)")
        self.device = runtime.device
        self.network.to(self.device)

    def labels(self, crops: Crops) -> NDArray[np.uint8]:
        """Return (b, 512, 512) `Label` values of (b, 512, 512, 3) uint8 RGB crops."""
        import torch

        with torch.inference_mode():
            return _argmax(self.logits(pixels(crops, self.device)))

    def logits(self, images: Tensor) -> Tensor:
        """Return (b, 19, H, W), in the order of `Label`, of (b, 3, H, W) float32 RGB in [0, 1]."""
        from torch.nn.functional import interpolate

        context = self.network.cp(standardise(images, IMAGENET_MEAN, IMAGENET_STD))
        # The other two outputs are for training.
        coarse, _ = self.network.conv_out(self.network.ffm(*context[:2]))
        return interpolate(coarse, images.shape[2:], mode="bilinear", align_corners=True)


class ParseNet:
    """The face parser of facexlib and GFPGAN (ParseNet), of any width and depth: read off the file's shapes.

    Input RGB, x / 127.5 - 1, at `size`: crops are shrunk by torch's antialiased bilinear filter, and the logits brought
    back to 512 by bilinear interpolation (align_corners false) before the argmax. Its label order is not BiSeNet's.
    """

    class Options(Spec):
        """Options of ParseNet.

        Attributes:
            weights: `parsing_parsenet.pth` of facexlib, or a smaller network in its layout.
            size: side of the square that the network reads, a multiple of its largest stride.
            batch: crops at a time.
        """

        weights: WeightFile
        size: Annotated[int, Field(gt=0), IDENTITY] = SIZE
        batch: Annotated[int, Field(gt=0), RECORDED] = 1

    def __init__(self, options: ParseNet.Options, runtime: Runtime) -> None:
        state = load_state(options.weights)
        self.network = parsenet(state, f"{options.weights} (ParseNet)").to(runtime.device)
        self.device, self.size = runtime.device, options.size

    def labels(self, crops: Crops) -> NDArray[np.uint8]:
        """Return (b, 512, 512) `Label` values of (b, 512, 512, 3) uint8 RGB crops."""
        import torch

        with torch.inference_mode():
            own = _argmax(self.logits(pixels(crops, self.device)))
        return np.array(PARSENET_ORDER, dtype=np.uint8)[own]

    def logits(self, images: Tensor) -> Tensor:
        """Return (b, 19, H, W), in ParseNet's own order, of (b, 3, H, W) float32 RGB in [0, 1]."""
        from torch.nn.functional import interpolate

        square = (self.size, self.size)
        side = images.shape[2:]
        if side != square:
            images = interpolate(images, square, mode="bilinear", align_corners=False, antialias=True)
        logits: Tensor = self.network(images * 2 - 1)[0]
        return logits if side == square else interpolate(logits, side, mode="bilinear", align_corners=False)


def parsenet(state: State, source: str) -> nn.Module:
    """Return facexlib's ParseNet in the configuration that the shapes of `state` give, filled with it.

    Raises:
        UserError: not a ParseNet; `source` names it.
    """
    import torch
    from facexlib.parsing.parsenet import ParseNet as Network

    first = "encoder.0.conv2d.weight"
    if first not in state:
        raise UserError(f"{source} does not fit the network: no {first}; expected facexlib's ParseNet state dict")
    down, depth, up = (_blocks(state, part) for part in ("encoder", "body", "decoder"))
    widths = [t.shape[0] for key, t in state.items() if re.fullmatch(r"(en|de)coder\.\d+\.conv2\.conv2d\.weight", key)]
    widths.append(state[first].shape[0])
    with torch.device("meta"):
        network = Network(
            in_size=2 ** (down - 1), out_size=2**up, min_feat_size=1, base_ch=state[first].shape[0],
            parsing_ch=len(Label), res_depth=depth, ch_range=[min(widths), max(widths)],
        )  # fmt: skip
    fill(network, state, source)
    return network


def _blocks(state: State, part: str) -> int:
    return len({key.split(".")[1] for key in state if key.startswith(f"{part}.")})


def _argmax(logits: Tensor) -> NDArray[np.uint8]:
    import torch

    # Five times as fast as argmax over channels.
    return logits.max(dim=1).indices.to(torch.uint8).cpu().numpy()


def mask_background(
    crop: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    background: frozenset[Label] = frozenset({Label.BACKGROUND}),
    fill: tuple[int, int, int] = (0, 0, 0),
) -> tuple[NDArray[np.uint8], float]:
    """Return the crop with every background pixel replaced, and the fraction of pixels that are foreground.

    Args:
        crop: (H, W, 3) uint8 RGB.
        labels: (H, W) values of `Label`.
        background: labels that are replaced. The Arc2Face paper says "background removed" and no more.
        fill: RGB, 0 to 255, that replaces them.

    Returns:
        A new (H, W, 3) uint8 image and the foreground fraction, 0 to 1.

    >>> crop = np.full((1, 4, 3), 9, dtype=np.uint8)
    >>> masked, share = mask_background(crop, np.array([[0, 1, 17, 16]], dtype=np.uint8))
    >>> masked[0, :, 0].tolist(), share
    ([0, 9, 9, 9], 0.75)
    """
    removed = np.isin(np.arange(len(Label)), [int(label) for label in background])[labels]
    masked = np.where(removed[..., None], np.array(fill, dtype=np.uint8), crop)
    return masked, float(1 - removed.mean())
