"""The recognition networks that we build, test and train, by name; torch is imported only where one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bench.extractors.layouts import LAYOUTS

if TYPE_CHECKING:
    from torch import nn

Backbone = Literal[
    "ir_18", "ir_50", "ir_se_50", "ir_101", "curricular_101", "iresnet50", "iresnet100", "mobileface"
]  # fmt: skip
TITLES: dict[str, str] = {
    **{name: layout.title for name, layout in LAYOUTS.items()},
    "mobileface": "MobileFaceNet-like, 0.3 M parameters (embedded world)",
}
"""Name -> what a reader must know of the network."""


def build(name: Backbone) -> nn.Module:
    """Return a backbone with torch's own first values: (b, 3, 112, 112) in [-1, 1] -> (b, 512), not normalised."""
    from bench.extractors.iresnet import IResNet
    from bench.extractors.mobileface import MobileFace

    return MobileFace() if name == "mobileface" else IResNet(name)
