"""The residual networks of face recognition, by the keys of face.evoLVe, AdaFace and CurricularFace.

Imports torch: to be imported only where a network is built.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from bench.extractors.layouts import LAYOUTS, Layout
from bench.networks import State, assemble

CHANNELS = (64, 128, 256, 512)


class IResNet(nn.Module):
    """(b, 3, 112, 112) -> (b, 512), not normalised. `name` is one of `bench.extractors.layouts.LAYOUTS`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        layout = LAYOUTS[name]
        self.input_layer = nn.Sequential(_conv(3, 64), nn.BatchNorm2d(64), nn.PReLU(64))
        self.body = nn.Sequential(*_units(layout))
        fully_connected = nn.Linear(512 * 7 * 7, 512)
        last = nn.BatchNorm1d(512, affine=layout.insightface)
        self.output_layer = nn.Sequential(nn.BatchNorm2d(512), nn.Dropout(0.4), nn.Flatten(), fully_connected, last)

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings of images."""
        return self.output_layer(self.body(self.input_layer(images)))


def _units(layout: Layout) -> Iterator[nn.Module]:
    width = 64
    for channels, count in zip(CHANNELS, layout.units, strict=True):
        for index in range(count):
            yield Unit(width, channels, 1 if index else 2, layout)
            width = channels


class Unit(nn.Module):
    """A residual unit; without a convolution in it, the shortcut takes every `stride`-th pixel."""

    def __init__(self, width: int, channels: int, stride: int, layout: Layout) -> None:
        super().__init__()
        norm = [nn.BatchNorm2d(channels)] if layout.norm_before_prelu else []
        first = [nn.BatchNorm2d(width), _conv(width, channels), *norm, nn.PReLU(channels)]
        second = [_conv(channels, channels, stride), nn.BatchNorm2d(channels)]
        self.res_layer = nn.Sequential(*first, *second)
        if layout.squeeze:
            self.res_layer.add_module("se_block", Squeeze(channels))
        convolved = width != channels or (layout.insightface and stride > 1)
        self.shortcut_layer = _shortcut(width, channels, stride) if convolved else nn.MaxPool2d(1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return residual plus shortcut."""
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
    return nn.Sequential(nn.Conv2d(width, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))


ENDS = {
    "conv1": "input_layer.0",
    "bn1": "input_layer.1",
    "prelu": "input_layer.2",
    "bn2": "output_layer.0",
    "fc": "output_layer.3",
    "features": "output_layer.4",
}
UNIT = {
    "bn1": "res_layer.0",
    "conv1": "res_layer.1",
    "bn2": "res_layer.2",
    "prelu": "res_layer.3",
    "conv2": "res_layer.4",
    "bn3": "res_layer.5",
    "downsample.0": "shortcut_layer.0",
    "downsample.1": "shortcut_layer.1",
}
"""insightface's names of the parts of a unit (and above, of the rest) -> the names in `IResNet`."""


def insightface(state: State, name: str, source: str, device: str, eps: float = 1e-5) -> nn.Module:
    """Return one of insightface's networks, filled from a state dict by its keys (conv1, layer1.0.bn1, ..., features).

    Args:
        state: by insightface's keys, without prefix.
        name: "iresnet50" or "iresnet100".
        source: the file and what of it, for the message.
        device: where the network shall lie.
        eps: of all its batch norms.

    Raises:
        UserError: the state is that of another network.
    """
    names = {_renamed(key, LAYOUTS[name].units): tensor for key, tensor in state.items()}
    network = assemble(partial(IResNet, name), names, f"{source} as {name} (keys renamed to AdaFace's)", device)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.eps = eps
    return network


def _renamed(key: str, units: tuple[int, ...]) -> str:
    """The key in `IResNet` of a key of insightface; an unknown one stays as it is.

    >>> _renamed("layer2.0.downsample.1.weight", (3, 4, 14, 3)), _renamed("fc.bias", (3, 4, 14, 3))
    ('body.3.shortcut_layer.1.weight', 'output_layer.3.bias')
    """
    part, _, leaf = key.rpartition(".")
    if found := re.fullmatch(r"layer([1-4])\.(\d+)\.(.+)", part):
        index = sum(units[: int(found[1]) - 1]) + int(found[2])
        return f"body.{index}.{UNIT[found[3]]}.{leaf}" if found[3] in UNIT else key
    return f"{ENDS[part]}.{leaf}" if part in ENDS else key
