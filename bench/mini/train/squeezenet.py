"""`squeezenet.pth`: SqueezeNet 1.1's trunk in torchvision's layout (`features.*`), for lpips' net="squeeze"."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.mini.train import export, trunk
from bench.mini.train.loop import Course, Plan

COURSE = Course(steps=700, rate=1e-3, average=0.99)
TAPS = (1, 4, 7, 9, 10, 11, 12)
"""The layers of `features` whose outputs lpips compares."""
WIDTHS = [64, 128, 256, 384, 384, 512, 512]
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""lpips' own normalisation of RGB in -1..1."""


class Tapped(nn.Module):
    """torchvision's features, each tapped where lpips taps it."""

    def __init__(self) -> None:
        from torchvision.models import squeezenet1_1

        super().__init__()
        self.features = squeezenet1_1(weights=None).features
        for layer in self.features.modules():
            if isinstance(layer, nn.ReLU):
                layer.inplace = False
        self.register_buffer("shift", torch.tensor(SHIFT)[None, :, None, None])
        self.register_buffer("scale", torch.tensor(SCALE)[None, :, None, None])

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map RGB in -1..1 to seven maps."""
        shift, scale = (self.get_buffer(name) for name in ("shift", "scale"))
        x, found = (x - shift) / scale, []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in TAPS:
                found.append(x)
        return found


def run(plan: Plan) -> dict[str, float]:
    """Train at 128 pixels and export it; return how well its maps predict the world's parameters on unseen people."""
    trained, quality = trunk.train("squeezenet", Tapped, WIDTHS, 128, COURSE, plan)
    state = {name: value for name, value in trained.state_dict().items() if name.startswith("features.")}
    export.torch_file(state, plan.out / "squeezenet.pth")
    return quality
