"""6DRepNet (Hempel et al., ICIP 2022) and 6DRepNet360: the rotation of a head, without any face model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.extractors.protocol import Crops
from bench.identity import IDENTITY, RECORDED, Spec, WeightFile
from bench.networks import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    State,
    assemble,
    load_state,
    pixels,
    require_side,
    select,
    standardise,
)
from bench.runtime import Runtime

if TYPE_CHECKING:
    from torch import Tensor, nn

SIDE = 224
SHORTEST = 1e-8
"""A vector that is shorter counts as one of this length."""
GIMBAL = 1e-6
"""Below this length of the first column's upper part, yaw is a right angle, and roll is set to 0."""


class SixDRepNet:
    """A 6DRepNet. Input RGB, 224, ImageNet mean and std, cut by the face's box from the image as it is."""

    role: ClassVar[str] = "head_pose"
    pairwise: ClassVar[bool] = False

    class Options(Spec):
        """Options of 6DRepNet.

        Attributes:
            weights: `6DRepNet_300W_LP_AFLW2000.pth`, or a snapshot of its training (whose three branches are joined
                while loading), or 6DRepNet360's `..._300W_LP+Panoptic.pth`.
            network: "repvgg_b1g2", or "resnet50" for 6DRepNet360.
            view: the crop it reads.
            batch: crops at a time.
        """

        weights: WeightFile
        network: Annotated[Literal["repvgg_b1g2", "resnet50"], IDENTITY] = "repvgg_b1g2"
        view: Annotated[str, IDENTITY] = "pose224"
        batch: Annotated[int, Field(gt=0), RECORDED] = 8

    def __init__(self, options: Options, runtime: Runtime) -> None:
        state = load_state(options.weights)
        state = select(state, "model_state_dict.") or state
        source = f"{options.weights} as 6DRepNet {options.network}"
        self._device = runtime.device
        self._network = (
            _repvgg(state, source, runtime) if options.network == "repvgg_b1g2" else _resnet(state, source, runtime)
        )

    def extract(self, crops: Crops) -> Mapping[str, NDArray[np.float32]]:
        """Return the rotations of (b, 224, 224, 3) uint8 RGB crops.

        Returns:
            "feature": (b, 9) float32, the rotation matrix R = Rz(roll) Ry(yaw) Rx(pitch) row by row; "pitch", "yaw",
            "roll": (b,) float32, degrees.

        Raises:
            UserError: crops of another size, which the network would take.
        """
        import torch

        require_side(crops, SIDE, "6DRepNet")
        with torch.inference_mode():
            images = standardise(pixels(crops, self._device), IMAGENET_MEAN, IMAGENET_STD)
            matrix = rotation(self._network(images))
            angles = euler(matrix).rad2deg().cpu().numpy()
        named = dict(zip(("pitch", "yaw", "roll"), angles.T, strict=True))
        return {"feature": matrix.flatten(1).cpu().numpy()} | named


def rotation(six: Tensor) -> Tensor:
    """Return the rotation matrices (b, 3, 3) of six numbers each: two vectors that span the first and third column.

    Args:
        six: (b, 6): a, then b. Columns are x = a / |a|, y = z cross x, z = x cross b normalised.
    """
    import torch

    first, second = six.split(3, dim=1)
    x = _unit(first)
    z = _unit(torch.linalg.cross(x, second))
    return torch.stack([x, torch.linalg.cross(z, x), z], dim=2)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=1, keepdim=True).clamp(min=SHORTEST)


def euler(matrix: Tensor) -> Tensor:
    """Return pitch, yaw and roll (b, 3) in radians of rotation matrices (b, 3, 3) = Rz(roll) Ry(yaw) Rx(pitch)."""
    import torch

    r = matrix
    cosine = (r[:, 0, 0].square() + r[:, 1, 0].square()).sqrt()
    locked = cosine < GIMBAL
    pitch = torch.where(locked, torch.atan2(-r[:, 1, 2], r[:, 1, 1]), torch.atan2(r[:, 2, 1], r[:, 2, 2]))
    roll = torch.where(locked, torch.zeros_like(pitch), torch.atan2(r[:, 1, 0], r[:, 0, 0]))
    return torch.stack([pitch, torch.atan2(-r[:, 2, 0], cosine), roll], dim=1)


def _repvgg(state: State, source: str, runtime: Runtime) -> nn.Module:
    from bench.extractors import repvgg

    return assemble(repvgg.RepVgg, repvgg.joined(state), source, runtime.device)


def _resnet(state: State, source: str, runtime: Runtime) -> nn.Module:
    from torchvision.models import resnet50

    renamed = {key.replace("linear_reg.", "fc."): tensor for key, tensor in state.items()}
    return assemble(partial(resnet50, num_classes=6), renamed, source, runtime.device)
