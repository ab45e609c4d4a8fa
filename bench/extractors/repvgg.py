"""RepVGG-B1g2 with six outputs, as 6DRepNet has it. Imports torch: to be imported only where a network is built."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.networks import State

BLOCKS = (4, 6, 16, 1)
WIDTHS = (128, 256, 512, 2048)
GROUPS = 2
"""Of every second block, counted from the first stage on."""
EPS = 1e-5


class RepVgg(nn.Module):
    """(b, 3, 224, 224) -> (b, 6), re-parameterised: one convolution and a ReLU in each block."""

    def __init__(self) -> None:
        super().__init__()
        self.layer0 = Block(3, 64, stride=2)
        width, number = 64, 0
        for stage, (count, channels) in enumerate(zip(BLOCKS, WIDTHS, strict=True), start=1):
            blocks = []
            for index in range(count):
                number += 1
                groups = 1 if number % 2 else GROUPS
                blocks.append(Block(width, channels, 1 if index else 2, groups))
                width = channels
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.linear_reg = nn.Linear(width, 6)

    def forward(self, images: Tensor) -> Tensor:
        """Return the six numbers of each image."""
        x = images
        for name, layer in self.named_children():
            x = layer(x.mean((2, 3)) if name == "linear_reg" else x)
        return x


class Block(nn.Module):
    """A convolution and a ReLU."""

    def __init__(self, width: int, channels: int, stride: int, groups: int = 1) -> None:
        super().__init__()
        self.rbr_reparam = nn.Conv2d(width, channels, 3, stride, 1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """Return the activations."""
        return torch.relu(self.rbr_reparam(x))


def joined(state: State) -> State:
    """Return a state whose blocks are one convolution each: the three branches of a training snapshot are summed.

    A state that is re-parameterised already comes back as it is.
    """
    blocks = [key.removesuffix("rbr_dense.conv.weight") for key in state if key.endswith("rbr_dense.conv.weight")]
    rest = {key: tensor for key, tensor in state.items() if not key.startswith(tuple(blocks))} if blocks else state
    for block in blocks:
        part = {key.removeprefix(block): tensor for key, tensor in state.items() if key.startswith(block)}
        weight, bias = _sum_of_branches(part)
        rest |= {f"{block}rbr_reparam.weight": weight, f"{block}rbr_reparam.bias": bias}
    return rest


def _sum_of_branches(part: State) -> tuple[Tensor, Tensor]:
    dense = part["rbr_dense.conv.weight"]
    branches = [_fused(dense, part, "rbr_dense.bn")]
    if "rbr_1x1.conv.weight" in part:
        branches.append(_fused(nn.functional.pad(part["rbr_1x1.conv.weight"], [1, 1, 1, 1]), part, "rbr_1x1.bn"))
    if "rbr_identity.weight" in part:
        branches.append(_fused(_identity(dense), part, "rbr_identity"))
    weights, biases = zip(*branches, strict=True)
    return torch.stack(weights).sum(0), torch.stack(biases).sum(0)


def _identity(like: Tensor) -> Tensor:
    """Return the kernel that changes nothing, of the shape of another one (channels, channels / groups, 3, 3)."""
    kernel = torch.zeros_like(like)
    channels = torch.arange(like.shape[0])
    kernel[channels, channels % like.shape[1], 1, 1] = 1
    return kernel


def _fused(kernel: Tensor, part: State, norm: str) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a convolution without bias followed by a batch norm."""
    scale = part[f"{norm}.weight"] / (part[f"{norm}.running_var"] + EPS).sqrt()
    return kernel * scale[:, None, None, None], part[f"{norm}.bias"] - part[f"{norm}.running_mean"] * scale
