"""A small recogniser of the shape of MobileFaceNet, for the embedded world. Imports torch: only where one is built."""

from __future__ import annotations

from torch import Tensor, nn

WIDTH = 512
"""Length of its embedding."""


class Bottleneck(nn.Module):
    """MobileFaceNet's unit: 1x1 expansion, 3x3 depthwise of the stride, linear 1x1 projection; a sum where it can."""

    def __init__(self, before: int, inside: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, inside, 1, bias=False),
            nn.BatchNorm2d(inside),
            nn.ReLU(),
            nn.Conv2d(inside, inside, 3, stride, 1, groups=inside, bias=False),
            nn.BatchNorm2d(inside),
            nn.ReLU(),
            nn.Conv2d(inside, after, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.sum = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, after, h / stride, w / stride) of (n, before, h, w)."""
        return x + self.body(x) if self.sum else self.body(x)


class MobileFace(nn.Module):
    """(n, 3, 112, 112) in [-1, 1] -> (n, 512), not normalised, by a global depthwise convolution; 0.3 M parameters.

    The names of its three parts are those of `IResNet`, so that checkpoints of both are read alike.
    """

    def __init__(self) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(nn.Conv2d(3, 24, 3, 4, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU())
        self.body = nn.Sequential(
            Bottleneck(24, 72, 48, 2),
            Bottleneck(48, 96, 48, 1),
            Bottleneck(48, 96, 48, 1),
            Bottleneck(48, 160, 80, 2),
            Bottleneck(80, 160, 80, 1),
            Bottleneck(80, 160, 80, 1),
            nn.Conv2d(80, 320, 1, bias=False),
            nn.BatchNorm2d(320),
            nn.ReLU(),
        )
        self.output_layer = nn.Sequential(
            nn.Conv2d(320, 320, 7, groups=320, bias=False),
            nn.BatchNorm2d(320),
            nn.Flatten(),
            nn.Linear(320, WIDTH, bias=False),
            nn.BatchNorm1d(WIDTH),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings of images."""
        return self.output_layer(self.body(self.input_layer(images)))
