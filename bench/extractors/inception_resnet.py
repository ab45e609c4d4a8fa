"""Inception-ResNet v1 by the keys of facenet-pytorch. Imports torch: to be imported only where a network is built."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

EPS = 1e-3
"""Of all batch norms."""

Size = int | tuple[int, int]


class Convolution(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, width: int, channels: int, size: Size, stride: int = 1, padding: Size = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, channels, size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Return the activations."""
        return torch.relu(self.bn(self.conv(x)))


class Branches(nn.Module):
    """Several paths over the same input, their channels side by side."""

    def __init__(self, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        for index, branch in enumerate(branches):
            self.add_module(f"branch{index}", branch)
        self.count = len(branches)

    def forward(self, x: Tensor) -> Tensor:
        """Return the channels of all paths."""
        return torch.cat([getattr(self, f"branch{index}")(x) for index in range(self.count)], dim=1)


class Residual(Branches):
    """Branches, projected to the input's width, scaled and added to it."""

    def __init__(self, branches: Sequence[nn.Module], inner: int, width: int, scale: float, relu: bool = True) -> None:
        super().__init__(branches)
        self.conv2d = nn.Conv2d(inner, width, 1)
        self.scale = scale
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum, cut at zero but in the last block of the network."""
        out = self.conv2d(super().forward(x)) * self.scale + x
        return torch.relu(out) if self.relu else out


def _path(width: int, *steps: tuple[int, Size, int, Size]) -> nn.Module:
    """A path of convolutions, each (channels, size, stride, padding); a single one is not numbered in the keys."""
    widths = [width, *(step[0] for step in steps)]
    layers = [Convolution(before, *step) for before, step in zip(widths, steps, strict=False)]
    return layers[0] if len(layers) == 1 else nn.Sequential(*layers)


def _block35() -> Residual:
    paths = [
        _path(256, (32, 1, 1, 0)),
        _path(256, (32, 1, 1, 0), (32, 3, 1, 1)),
        _path(256, (32, 1, 1, 0), (32, 3, 1, 1), (32, 3, 1, 1)),
    ]
    return Residual(paths, 96, 256, scale=0.17)


def _block17() -> Residual:
    long = _path(896, (128, 1, 1, 0), (128, (1, 7), 1, (0, 3)), (128, (7, 1), 1, (3, 0)))
    return Residual([_path(896, (128, 1, 1, 0)), long], 256, 896, scale=0.1)


def _block8(scale: float = 0.2, relu: bool = True) -> Residual:
    long = _path(1792, (192, 1, 1, 0), (192, (1, 3), 1, (0, 1)), (192, (3, 1), 1, (1, 0)))
    return Residual([_path(1792, (192, 1, 1, 0)), long], 384, 1792, scale, relu)


def _mixed_6a() -> Branches:
    long = _path(256, (192, 1, 1, 0), (192, 3, 1, 1), (256, 3, 2, 0))
    return Branches([_path(256, (384, 3, 2, 0)), long, nn.MaxPool2d(3, 2)])


def _mixed_7a() -> Branches:
    start = (256, 1, 1, 0)
    paths = [
        _path(896, start, (384, 3, 2, 0)),
        _path(896, start, (256, 3, 2, 0)),
        _path(896, start, (256, 3, 1, 1), (256, 3, 2, 0)),
    ]
    return Branches([*paths, nn.MaxPool2d(3, 2)])


class InceptionResnetV1(nn.Module):
    """(b, 3, 160, 160) -> (b, 512), before the normalisation that the official network ends in."""

    def __init__(self) -> None:
        super().__init__()
        self.conv2d_1a = Convolution(3, 32, 3, stride=2)
        self.conv2d_2a = Convolution(32, 32, 3)
        self.conv2d_2b = Convolution(32, 64, 3, padding=1)
        self.maxpool_3a = nn.MaxPool2d(3, 2)
        self.conv2d_3b = Convolution(64, 80, 1)
        self.conv2d_4a = Convolution(80, 192, 3)
        self.conv2d_4b = Convolution(192, 256, 3, stride=2)
        self.repeat_1 = _repeat(5, _block35)
        self.mixed_6a = _mixed_6a()
        self.repeat_2 = _repeat(10, _block17)
        self.mixed_7a = _mixed_7a()
        self.repeat_3 = _repeat(5, _block8)
        self.block8 = _block8(scale=1.0, relu=False)
        self.last_linear = nn.Linear(1792, 512, bias=False)
        self.last_bn = nn.BatchNorm1d(512, eps=EPS)

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings of images."""
        x = images
        for name, layer in self.named_children():
            x = layer(x.mean((2, 3)) if name == "last_linear" else x)
        return x


def _repeat(count: int, make: Callable[[], Residual]) -> nn.Sequential:
    return nn.Sequential(*(make() for _ in range(count)))
