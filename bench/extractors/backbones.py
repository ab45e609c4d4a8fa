"""The recognition networks that we build, test and train, by name; torch is imported only where one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import nn

Backbone = Literal["ir_18", "ir_50", "ir_se_50", "ir_101", "mobileface"]
LAYOUTS: dict[Backbone, str] = {
    "ir_18": "IR-18, AdaFace's layout",
    "ir_50": "IR-50, AdaFace's layout",
    "ir_se_50": "IR-SE-50, AdaFace's layout (squeeze in all 24 units, batch norm between the convolutions)",
    "ir_101": "IR-101, AdaFace's layout",
    "mobileface": "MobileFaceNet-like, 0.3 M parameters (embedded world)",
}
"""What a reader must know of each: several networks are called IR-SE-50, and they don't reach the same accuracy."""


def build(name: Backbone) -> nn.Module:
    """Return a backbone with torch's own first values: (b, 3, 112, 112) in [-1, 1] -> (b, 512), not normalised."""
    from bench.extractors.iresnet import IResNet
    from bench.extractors.mobileface import MobileFace

    return MobileFace() if name == "mobileface" else IResNet(name)
