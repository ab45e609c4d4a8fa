"""The residual networks of insightface's arcface_torch with its keys. Imports torch: import it where one is built."""

from __future__ import annotations

from torch import Tensor, nn

UNITS = {"r18": (2, 2, 2, 2), "r50": (3, 4, 14, 3), "r100": (3, 13, 30, 3)}
"""Residual units in each of the four stages."""

CHANNELS = (64, 128, 256, 512)


class InsightfaceResNet(nn.Module):
    """(b, 3, 112, 112) in [-1, 1] -> (b, 512), not normalised. `name` is one of `UNITS`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.conv1, self.bn1, self.prelu = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64)
        stages, width = [], 64
        for channels, count in zip(CHANNELS, UNITS[name], strict=True):
            first = Unit(width, channels, stride=2)
            stages.append(nn.Sequential(first, *(Unit(channels, channels, stride=1) for _ in range(count - 1))))
            width = channels
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.bn2 = nn.BatchNorm2d(512)
        self.fc = nn.Linear(512 * 7 * 7, 512)
        self.features = nn.BatchNorm1d(512)

    def forward(self, images: Tensor) -> Tensor:
        """Return embeddings of images."""
        x = self.prelu(self.bn1(self.conv1(images)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.features(self.fc(self.bn2(x).flatten(1)))


class Unit(nn.Module):
    """A residual unit; where its size changes, the shortcut is a convolution of one pixel."""

    def __init__(self, width: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(width, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.prelu = nn.PReLU(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        shortcut = (nn.Conv2d(width, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
        self.downsample = nn.Sequential(*shortcut) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return residual plus shortcut."""
        inner = self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x)))))
        return self.bn3(inner) + self.downsample(x)
