"""`arcface.onnx`: the recogniser that Arc2Face is conditioned on, an improved-residual network."""

from __future__ import annotations

from torch import Tensor, nn

from bench.mini.train import recognition
from bench.mini.train.data import EVAL, TRAIN, faces
from bench.mini.train.loop import Course, Plan

COURSE = Course(steps=5000, rate=3e-3, decay=5e-4, average=0.995)


class Unit(nn.Module):
    """Improved residual unit of ArcFace: BN, conv, BN, ReLU, conv of the stride, BN; a 1x1 shortcut where it must."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(before),
            nn.Conv2d(before, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        plain = before == after and stride == 1
        self.short = (
            nn.Identity()
            if plain
            else nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, before, h, w) to (n, after, h / stride, w / stride)."""
        return self.body(x) + self.short(x)


def network() -> nn.Module:
    """Map (n, 3, 112, 112) in -1..1 RGB to (n, 512); 1.0 M parameters."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 40, 3, 2, 1, bias=False),
        nn.BatchNorm2d(40),
        nn.ReLU(),
        Unit(40, 40, 1),
        Unit(40, 80, 2),
        Unit(80, 80, 1),
        Unit(80, 112, 2),
        nn.Conv2d(112, 16, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.Flatten(),
        nn.Linear(16 * 49, recognition.WIDTH),
        nn.BatchNorm1d(recognition.WIDTH),
    )


def run(plan: Plan) -> dict[str, float]:
    """Train and export it; return its verification accuracy on people that it never saw."""
    shown = faces(TRAIN, plan.work)
    trained = recognition.train("arcface", network, shown, COURSE, plan)
    recognition.write(recognition.refit(trained, shown, plan.device), plan.out / "arcface.onnx")
    held = faces(EVAL, plan.work)
    features = recognition.embed(plan.out / "arcface.onnx", held.images, held.keypoints)
    return {"verification": recognition.verification(features, held.people)}
