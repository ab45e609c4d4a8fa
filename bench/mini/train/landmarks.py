"""`landmarks.onnx`: 68 landmarks in insightface's format (192 in, 136 out: `landmark_2d_68`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.mini.train import crops, export
from bench.mini.train.canvases import eye_distance
from bench.mini.train.data import EVAL, TRAIN, Faces, faces
from bench.mini.train.detector import Residual, _conv
from bench.mini.train.loop import Course, Plan, fit

SIZE = 192
COURSE = Course(steps=4000, rate=2e-3, average=0.995)


class Points(nn.Linear):
    """A linear layer that computes in 32 bits even where the rest doesn't: 16 would cost half a pixel."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, a) to (n, b)."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


def network() -> nn.Module:
    """Return a network, 0.5 M parameters: (n, 3, 192, 192), (RGB - 127.5) / 128, to (n, 136): x, y, -1 to 1."""
    return nn.Sequential(
        _conv(3, 12, 2),
        _conv(12, 24, 2),
        _conv(24, 48, 2),
        Residual(48),
        _conv(48, 72, 2),
        Residual(72),
        _conv(72, 80, 2),
        nn.Conv2d(80, 48, 1),
        nn.Flatten(),
        Points(48 * 36, 136),
    )


def box_moves(boxes: np.ndarray, size: int = SIZE) -> np.ndarray:
    """Return insightface's crop (n, 2, 3) of a box: its longer side times 1.5 fills the crop, in the crop's middle."""
    scale = size / ((boxes[:, 2:] - boxes[:, :2]).max(1) * 1.5)
    shift = size / 2 - (boxes[:, :2] + boxes[:, 2:]) / 2 * scale[:, None]
    return np.concatenate([np.eye(2)[None] * scale[:, None, None], shift[:, :, None]], 2)


def _shaken(boxes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return boxes as a detector finds them."""
    side = (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True)
    return boxes + side * (rng.normal(0, 0.03, (len(boxes), 4)) + np.tile(rng.normal(0, 0.03, (len(boxes), 2)), 2))


def train(held: Faces, plan: Plan, size: int = 32) -> nn.Module:
    """Train with the wing-like smooth L1 distance of the points."""

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        index = np.sort(rng.choice(len(held), size, replace=False))
        moves = box_moves(_shaken(held.boxes[index], rng))
        images = crops.blur(crops.warp(held.images[index], moves, SIZE), rng, 0.25, 0.4)
        truth = crops.move_points(held.landmarks[index], moves).reshape(size, 136) / (SIZE / 2) - 1
        return images, truth.astype(np.float32)

    def loss(module: Any, drawn: Sequence[Tensor]) -> Tensor:
        guess = module(crops.relight(crops.tensor(drawn[0], 127.5, 128.0, plan.device)))
        return F.smooth_l1_loss(guess, drawn[1].to(plan.device), beta=0.02) * 10

    return fit("landmarks", network, draw, loss, COURSE, plan)


def measure(path: Path, held: Faces, count: int = 400) -> dict[str, float]:
    """Return the landmarks' mean error as a share of the eye distance, by insightface's own class with true boxes."""
    from insightface.app.common import Face
    from insightface.model_zoo import get_model

    model = get_model(str(path), providers=["CPUExecutionProvider"])
    errors = []
    for index in range(0, len(held), max(len(held) // count, 1)):
        face = Face(bbox=np.array(held.boxes[index]))
        found = model.get(np.ascontiguousarray(held.images[index][:, :, ::-1]), face)
        scale = eye_distance(held.keypoints[index], held.boxes[index])
        errors.append(np.linalg.norm(found - held.landmarks[index], axis=1).mean() / scale)
    return {"landmark_error": float(np.mean(errors))}


def run(plan: Plan) -> dict[str, float]:
    """Train and export it; return its error on people that it never saw."""
    path = plan.out / "landmarks.onnx"
    module = train(faces(TRAIN, plan.work), plan).float()
    export.onnx_file(
        module, torch.zeros(1, 3, SIZE, SIZE), path, ["data"], ["fc1"], {"data": {0: "None"}, "fc1": {0: "None"}}
    )
    return measure(path, faces(EVAL, plan.work))
