"""`judge.onnx`: the held-out recogniser: another architecture and seed, people that no other recogniser sees."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from bench.mini.train import recognition
from bench.mini.train.data import EVAL, Cast, faces
from bench.mini.train.loop import Course, Plan

COURSE = Course(steps=2000, rate=3e-3, decay=5e-4, half=False, average=0.995)
PEOPLE = Cast("train", 4000, 4, 3)


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
        """Map (n, before, h, w) to (n, after, h / stride, w / stride)."""
        return x + self.body(x) if self.sum else self.body(x)


def network() -> nn.Module:
    """Map (n, 3, 112, 112) in -1..1 RGB to (n, 512) by a global depthwise convolution; 0.6 M parameters."""
    return nn.Sequential(
        nn.Conv2d(3, 24, 3, 4, 1, bias=False),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        Bottleneck(24, 72, 48, 2),
        Bottleneck(48, 96, 48, 1),
        Bottleneck(48, 96, 48, 1),
        Bottleneck(48, 160, 80, 2),
        Bottleneck(80, 160, 80, 1),
        Bottleneck(80, 160, 80, 1),
        nn.Conv2d(80, 320, 1, bias=False),
        nn.BatchNorm2d(320),
        nn.ReLU(),
        nn.Conv2d(320, 320, 7, groups=320, bias=False),
        nn.BatchNorm2d(320),
        nn.Flatten(),
        nn.Linear(320, recognition.WIDTH, bias=False),
        nn.BatchNorm1d(recognition.WIDTH),
    )


def run(plan: Plan) -> dict[str, float]:
    """Train and export it; return its verification accuracy on people that it never saw."""
    plan = replace(plan, seed=plan.seed + 1000)
    shown = faces(PEOPLE, plan.work)
    trained = recognition.train("judge", network, shown, COURSE, plan)
    recognition.write(recognition.refit(trained, shown, plan.device), plan.out / "judge.onnx")
    held = faces(EVAL, plan.work)
    features = recognition.embed(plan.out / "judge.onnx", held.images, held.keypoints)
    return {"verification": recognition.verification(features, held.people)}
