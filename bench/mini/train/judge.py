"""`judge.onnx`: the held-out recogniser: another architecture and seed, people that no other recogniser sees."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from bench.extractors.mobileface import MobileFace
from bench.mini.train import recognition
from bench.mini.train.data import EVAL, Cast, faces
from bench.mini.train.loop import Course, Plan

COURSE = Course(steps=2000, rate=3e-3, decay=5e-4, half=False, average=0.995)
PEOPLE = Cast("train", 4000, 4, 3)


def network() -> nn.Module:
    """Map (n, 3, 112, 112) in -1..1 RGB to (n, 512), as a chain of layers, the last two of which are solved anew."""
    whole = MobileFace()
    return nn.Sequential(*whole.input_layer, *whole.body, *whole.output_layer)


def run(plan: Plan) -> dict[str, float]:
    """Train and export it; return its verification accuracy on people that it never saw."""
    plan = replace(plan, seed=plan.seed + 1000)
    shown = faces(PEOPLE, plan.work)
    trained = recognition.train("judge", network, shown, COURSE, plan)
    recognition.write(recognition.refit(trained, shown, plan.device), plan.out / "judge.onnx")
    held = faces(EVAL, plan.work)
    features = recognition.embed(plan.out / "judge.onnx", held.images, held.keypoints)
    return {"verification": recognition.verification(features, held.people)}
