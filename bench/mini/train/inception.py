"""`inception.pth`: the first blocks of pytorch-fid's Inception, up to the 192-d features, under their names there."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from bench.mini.train import export, trunk
from bench.mini.train.loop import Course, Plan

COURSE = Course(steps=900, rate=2e-3, average=0.99)
SIZE = 112
"""Pixels in training; pytorch-fid feeds 299, whose cost is seven times as high."""
LAYERS = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")


class Cut(nn.Module):
    """The layers that the 192-d features need, taken from pytorch-fid's constructor of the network."""

    def __init__(self) -> None:
        from torchvision.models import inception_v3

        super().__init__()
        whole = inception_v3(num_classes=1008, aux_logits=False, weights=None, init_weights=False)
        for name in LAYERS:
            setattr(self, name, getattr(whole, name))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map RGB in -1..1 to the maps that pytorch-fid averages for its 64-d and its 192-d features."""
        layers = [self.get_submodule(name) for name in LAYERS]
        first = F.max_pool2d(nn.Sequential(*layers[:3])(x), 3, 2)
        return [first, F.max_pool2d(nn.Sequential(*layers[3:])(first), 3, 2)]


def run(plan: Plan) -> dict[str, float]:
    """Train and export it; return how well its features predict the world's parameters on unseen people."""
    trained, quality = trunk.train("inception", Cut, [64, 192], SIZE, COURSE, plan)
    export.torch_file(trained.state_dict(), plan.out / "inception.pth")
    return quality
