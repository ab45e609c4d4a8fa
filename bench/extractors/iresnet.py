"""The residual networks of AdaFace with its keys. Imports torch: to be imported only where a network is built."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

UNITS = {"ir_18": (2, 2, 2, 2), "ir_50": (3, 4, 14, 3), "ir_se_50": (3, 4, 14, 3), "ir_101": (3, 13, 30, 3)}
"""Residual units in each of the four stages."""

CHANNELS = (64, 128, 256, 512)


class IResNet(nn.Module):
    """(b, 3, 112, 112) in [-1, 1] -> (b, 512), not normalised. `name` is one of `UNITS`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(_conv(3, 64), nn.BatchNorm2d(64), nn.PReLU(64))
        self.body = nn.Sequential(*_units(name))
        fully_connected = nn.Linear(512 * 7 * 7, 512)
        last = nn.BatchNorm1d(512, affine=False)
        self.output_layer = nn.Sequential(nn.BatchNorm2d(512), nn.Dropout(0.4), nn.Flatten(), fully_connected, last)

    def forward(self, images: Tensor) -> Tensor:
        """Return embeddings of images."""
        return self.output_layer(self.body(self.input_layer(images)))


def _units(name: str) -> Iterator[nn.Module]:
    width = 64
    for channels, count in zip(CHANNELS, UNITS[name], strict=True):
        for index in range(count):
            yield Unit(width, channels, stride=1 if index else 2, squeeze="_se_" in name)
            width = channels


class Unit(nn.Module):
    """A residual unit; where its width stays, the shortcut takes every `stride`-th pixel."""

    def __init__(self, width: int, channels: int, stride: int, squeeze: bool) -> None:
        super().__init__()
        first = [nn.BatchNorm2d(width), _conv(width, channels), nn.BatchNorm2d(channels), nn.PReLU(channels)]
        second = [_conv(channels, channels, stride), nn.BatchNorm2d(channels)]
        self.res_layer = nn.Sequential(*first, *second)
        if squeeze:
            self.res_layer.add_module("se_block", Squeeze(channels))
        self.shortcut_layer = _shortcut(width, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the residual plus the shortcut."""
        return self.res_layer(x) + self.shortcut_layer(x)


class Squeeze(nn.Module):
    """Squeeze-and-excitation: each channel times a factor that is read from all channels' means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // 16, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // 16, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted channels."""
        mean = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.fc2(torch.relu(self.fc1(mean))))


def _conv(width: int, channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(width, channels, 3, stride, 1, bias=False)


def _shortcut(width: int, channels: int, stride: int) -> nn.Module:
    if width == channels:
        return nn.MaxPool2d(1, stride)
    return nn.Sequential(nn.Conv2d(width, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
