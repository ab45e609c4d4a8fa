"""`detector.onnx`: a detector of faces and five key points with the outputs of SCRFD, for insightface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.mini.train import crops, export, keypoints
from bench.mini.train.canvases import STRIDES, Canvas, eye_distance, grid, mixed
from bench.mini.train.data import EVAL, TRAIN, Faces, faces
from bench.mini.train.loop import Course, Plan, fit

COURSE = Course(steps=13000, rate=2e-3, average=0.998)
CANVASES = ((128, 96), (192, 48), (256, 24), (320, 16))
"""Sides of the training canvases, and how many make a batch."""


def _conv(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())


class Residual(nn.Module):
    """x + two convolutions of x."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(width, width), nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, h, w) to the same shape."""
        return F.relu(x + self.body(x))


class Detector(nn.Module):
    """Backbone, feature pyramid and shared heads; points, which need the finest answer, have a tower of their own."""

    def __init__(self, width: int = 48, wide: int = 80) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv(3, 16, 2), _conv(16, 32, 2))
        self.stages = nn.ModuleList(
            [
                nn.Sequential(_conv(32, 48, 2), Residual(48)),
                nn.Sequential(_conv(48, 72, 2), Residual(72)),
                nn.Sequential(_conv(72, 96, 2), Residual(96)),
            ]
        )
        self.side = nn.ModuleList(nn.Conv2d(before, width, 1) for before in (48, 72, 96))
        self.tower = nn.Sequential(_conv(width, width), _conv(width, width))
        self.point_tower = nn.Sequential(_conv(width, wide), _conv(wide, wide), _conv(wide, wide))
        self.score, self.box, self.points = nn.Conv2d(width, 2, 1), nn.Conv2d(width, 8, 1), nn.Conv2d(wide, 20, 1)
        assert self.score.bias is not None
        self.score.bias.data.fill_(-4.0)
        self.scales = nn.Parameter(torch.ones(3, 2))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map (n, 3, h, w), (RGB - 127.5) / 128, sides divisible by 32, to 9 maps: 3 of scores, of boxes, of points.

        Rows of every map: pixels in reading order, the two anchors of a pixel together. Scores (n, rows, 1) are logits
        in training and in 0..1 in evaluation; boxes (n, rows, 4) and points (n, rows, 10) are in strides from it.
        """
        maps = self.maps(x)
        levels = [self._heads(self.tower(level), self.point_tower(level), k) for k, level in enumerate(maps)]
        return [level[part] for part in range(3) for level in levels]

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return the pyramid's maps (n, width, h / stride, w / stride), which all heads read."""
        x, found = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        merged = [side(feature) for side, feature in zip(self.side, found, strict=True)]
        for k in (1, 0):
            merged[k] = merged[k] + F.interpolate(merged[k + 1], scale_factor=2.0, mode="nearest")
        return merged

    def _heads(self, x: Tensor, fine: Tensor, level: int) -> list[Tensor]:
        with torch.autocast(x.device.type, enabled=False):
            x, fine = x.float(), fine.float()
            score, box, points = _rows(self.score(x), 1), _rows(self.box(x), 4), _rows(self.points(fine), 10)
        scale = self.scales[level]
        return [score if self.training else score.sigmoid(), box * scale[0], points * scale[1]]


def _rows(x: Tensor, width: int) -> Tensor:
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, width)


class Exported(nn.Module):
    """One image in, and rows without the batch out, as SCRFD's files have it."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map (1, 3, h, w) to 9 maps of (rows, 1), (rows, 4), (rows, 10)."""
        return [part[0] for part in self.detector(x)]


class Target(NamedTuple):
    """What the rows of all levels should say; arrays of float32, or tensors of the same.

    Attributes:
        score: (n, rows) 1 for a face, 0 for none, -1 where nothing is asked.
        box: (n, rows, 4) in strides.
        points: (n, rows, 10) in strides.
        size: (n, rows) side of the face in strides.
    """

    score: Any
    box: Any
    points: Any
    size: Any


def targets(canvases: list[Canvas], size: int) -> Target:
    """Assign faces to the pixels near their middle, at the anchor nearest to their size; near misses don't count."""
    pixels, strides, anchors = grid(size)
    n, rows = len(canvases), len(pixels)
    out = Target(*(np.zeros((n, rows, *width), np.float32) for width in ((), (4,), (10,), ())))
    out.size[:] = 1
    for k, canvas in enumerate(canvases):
        for box, points in zip(canvas.boxes, canvas.points, strict=True):
            side = np.sqrt(np.prod(box[2:] - box[:2]))
            away = np.abs(pixels - (box[:2] + box[2:]) / 2).max(1)
            octaves = np.abs(np.log2(side / anchors))
            near = (away < np.maximum(0.16 * side, 0.6 * strides)) & (octaves <= octaves.min() + 1e-6)
            maybe = (away < 0.35 * side) & (octaves < 1.2)
            out.score[k][maybe & ~near & (out.score[k] == 0)] = -1
            out.score[k][near] = 1
            scale = strides[near, None]
            out.box[k][near] = np.c_[pixels[near] - box[:2], box[2:] - pixels[near]] / scale
            out.points[k][near] = (points[None] - pixels[near, None]).reshape(-1, 10) / scale
            out.size[k][near] = side / strides[near]
    return out


def _focal(logits: Tensor, truth: Tensor) -> Tensor:
    """Return the focal loss (gamma 2, alpha 0.25) per face, over the rows that are asked."""
    asked = truth >= 0
    share = torch.sigmoid(logits)
    error = torch.where(truth > 0, 0.25 * (1 - share) ** 2, 0.75 * share**2)
    entropy = F.binary_cross_entropy_with_logits(logits, truth.clamp(min=0), reduction="none")
    return (error * entropy * asked).sum() / (truth > 0).sum().clamp(min=1)


def _loss(outputs: list[Tensor], target: Target) -> Tensor:
    """Return the focal loss of the scores, and smooth L1 of boxes and points where a face is, per side of the face."""
    logits, boxes, points = (torch.cat(outputs[k : k + 3], 1) for k in (0, 3, 6))
    own = (target.score > 0).float()
    share = (own / own.sum().clamp(min=1))[..., None]
    boxed = _smooth((boxes - target.box) / target.size[..., None], 0.02) * share / 4
    pointed = _smooth((points - target.points) / target.size[..., None], 0.005) * share / 10
    return _focal(logits[..., 0].float(), target.score) + 4 * boxed.sum() + 20 * pointed.sum()


def _smooth(error: Tensor, beta: float) -> Tensor:
    return F.smooth_l1_loss(error, torch.zeros_like(error), beta=beta, reduction="none")


def train(held: Faces, plan: Plan) -> nn.Module:
    """Train on canvases of several sizes."""

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, Target]:
        size, many = CANVASES[int(rng.choice(len(CANVASES), p=[0.3, 0.4, 0.2, 0.1]))]
        canvases = [mixed(held, size, rng) for _ in range(many)]
        images = crops.blur(np.stack([canvas.image for canvas in canvases]), rng, 0.2, 0.5)
        return images, targets(canvases, size)

    def loss(module: Any, drawn: tuple[Tensor, Sequence[Tensor]]) -> Tensor:
        values = crops.relight(crops.tensor(drawn[0], 127.5, 128.0, plan.device))
        target = Target(*(part.to(plan.device) for part in drawn[1]))
        return _loss(module(values.contiguous(memory_format=torch.channels_last)), target)

    return fit("detector", Detector, draw, loss, COURSE, plan)


def measure(path: str, held: Faces, size: int, count: int = 600) -> dict[str, float]:
    """Return recall at IoU 0.5 and the key points' mean error, as a share of the eye distance, by SCRFD's decoder.

    The eye distance of a turned head shrinks: it counts as at least the box's side over 2.6, about a frontal face's.
    """
    from insightface.model_zoo import get_model

    network = get_model(path, providers=["CPUExecutionProvider"])
    network.prepare(0, input_size=(size, size), det_thresh=0.5)
    hits, errors = [], []
    for index in range(0, len(held), max(len(held) // count, 1)):
        boxes, points = network.detect(np.ascontiguousarray(held.images[index][:, :, ::-1]))
        overlap = [_overlap(box[:4], held.boxes[index]) for box in boxes]
        hits.append(bool(overlap) and max(overlap) >= 0.5)
        if hits[-1]:
            truth, best = held.keypoints[index], points[int(np.argmax(overlap))]
            errors.append(np.linalg.norm(best - truth, axis=1).mean() / eye_distance(truth, held.boxes[index]))
    return {"recall": float(np.mean(hits)), "keypoint_error": float(np.mean(errors or [9.0]))}


def _overlap(one: np.ndarray, two: np.ndarray) -> float:
    inner = np.prod(np.clip(np.minimum(one[2:], two[2:]) - np.maximum(one[:2], two[:2]), 0, None))
    areas = np.prod(one[2:] - one[:2]) + np.prod(two[2:] - two[:2])
    return float(inner / (areas - inner))


def run(plan: Plan) -> dict[str, float]:
    """Train and export it; return recall and the error of key points on people that it never saw."""
    path = plan.out / "detector.onnx"
    names = [f"{part}_{stride}" for part in ("score", "bbox", "kps") for stride in STRIDES]
    axes = {"input.1": {2: "?", 3: "?"}, **{name: {0: f"rows_{name}"} for name in names}}
    held = faces(TRAIN, plan.work)
    module = Exported(keypoints.taught(train(held, plan), held, plan)).float().eval()
    export.onnx_file(module, torch.zeros(1, 3, 192, 192), path, ["input.1"], names, axes)
    return measure(str(path), faces(EVAL, plan.work), 192)
