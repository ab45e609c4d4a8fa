"""The detector's head of key points, trained further while the rest of the detector is frozen.

SCRFD's decoder keeps one row of a face, and what that row says of the key points rests on seven by seven cells of a
map. So everything before the head runs once: the windows around the best rows are kept, and the head trains on them
alone, many times as fast as the whole detector would.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from bench.mini.train import crops
from bench.mini.train.canvases import STRIDES, Canvas, enlarged, eye_distance, grid, pasted
from bench.mini.train.data import Faces
from bench.mini.train.loop import Course, Draw, Loss, Plan, batches, fit, say, seed_torch

COURSE = Course(steps=2000, rate=1e-3, decay=1e-3, half=False, average=0.998)
BATCH = 512
TURNS, MANY = 8000, 8
"""So often so many canvases are drawn."""
SIZES = (192, 256, 256, 256, 256, 320)
ROWS = 2
"""Rows of each face, the best first: the decoder takes the first, and small changes make the second one the first."""
REACH = 3
"""Cells on each side of a row that three convolutions see."""


class Windows(NamedTuple):
    """What the head trains on: tensors, or arrays of the same.

    Attributes:
        maps: (n, width + 1, 7, 7) float16, the map around a row; the last channel is 1 inside the map and 0 outside.
        points: (n, 5, 2) float32, key points from the row's cell, in strides.
        anchor: (n,) which of the two anchors of the cell.
        level: (n,) which stride.
        eyes: (n,) float32, distance of the eyes in strides.
    """

    maps: Any
    points: Any
    anchor: Any
    level: Any
    eyes: Any


class Head(nn.Module):
    """The tower and the last layer on windows: no padding, and the normalisations are part of the convolutions."""

    def __init__(self, detector: Any) -> None:
        super().__init__()
        fused = [fuse_conv_bn_eval(layer[0], layer[1]) for layer in detector.point_tower]
        self.tower = nn.ModuleList(_convolution(layer, 0) for layer in fused)
        self.last = deepcopy(detector.points)
        self.scales = nn.Parameter(detector.scales[:, 1].detach().clone())

    def forward(self, maps: Tensor, anchor: Tensor, level: Tensor) -> Tensor:
        """Map `Windows`' maps, anchors and levels to key points (n, 5, 2) in strides."""
        x, inside = maps[:, :-1], maps[:, -1:]
        for layer in self.tower:
            inside = inside[:, :, 1:-1, 1:-1]
            x = F.relu(layer(x)) * inside
        both = self.last(x).reshape(-1, 2, 5, 2)
        return both[torch.arange(len(x), device=x.device), anchor] * self.scales[level][:, None, None]


def _convolution(like: nn.Conv2d, padding: int) -> nn.Conv2d:
    """Return a copy with another padding."""
    layer = nn.Conv2d(like.in_channels, like.out_channels, 3, padding=padding)
    layer.load_state_dict(like.state_dict())
    return layer


def taught(detector: Any, held: Faces, plan: Plan) -> Any:
    """Return the detector with its head of key points trained further; in eval mode, on the CPU."""
    head = fit("keypoints", lambda: Head(detector), _draw(windows(detector, held, plan)), _loss(plan), COURSE, plan)
    return installed(detector, head)


def installed(detector: Any, head: Any) -> Any:
    """Put the head in its place."""
    detector.point_tower = nn.Sequential(*(nn.Sequential(_convolution(layer, 1), nn.ReLU()) for layer in head.tower))
    detector.points = head.last
    detector.scales.data[:, 1] = head.scales.data
    return detector


def _draw(held: Windows) -> Draw:
    def draw(rng: np.random.Generator) -> Windows:
        index = np.sort(rng.integers(len(held.maps), size=BATCH))
        return Windows(*(part[index] for part in held))

    return draw


def _loss(plan: Plan) -> Loss:
    """Return the mean distance from the truth, as a share of the eyes': what `detector.measure` measures."""

    def loss(module: Any, drawn: Sequence[Tensor]) -> Tensor:
        held = Windows(*(part.to(plan.device) for part in drawn))
        error = (module(held.maps.float(), held.anchor, held.level) - held.points) / held.eyes[:, None, None]
        return (error.square().sum(2) + 1e-5).sqrt().mean()

    return loss


def windows(detector: Any, held: Faces, plan: Plan) -> Windows:
    """Return the windows around the best rows of the faces on canvases, as the finished `detector` sees them."""

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        size = int(rng.choice(SIZES))
        canvases = [(enlarged if rng.random() < 0.75 else pasted)(held, size, rng) for _ in range(MANY)]
        images = crops.blur(np.stack([canvas.image for canvas in canvases]), rng, 0.5, 0.15)
        return images, _only(canvases, "boxes"), _only(canvases, "points")

    detector, found = detector.to(plan.device).eval(), []
    for turn, (images, boxes, points) in enumerate(islice(batches(draw, plan, 0), TURNS)):
        seed_torch(plan, turn, 2)
        values = crops.relight(crops.tensor(images, 127.5, 128.0, plan.device), 0.06)
        found.append(_around(detector, values, boxes.numpy(), points.numpy()))
        if turn % 500 == 499:
            say(f"keypoints drew {(turn + 1) * MANY} canvases of {TURNS * MANY}")
    detector.cpu()
    return Windows(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _only(canvases: list[Canvas], name: str) -> np.ndarray:
    return np.stack([getattr(canvas, name)[0] for canvas in canvases]).astype(np.float32)


@torch.no_grad()
def _around(detector: Any, values: Tensor, boxes: np.ndarray, points: np.ndarray) -> Windows:
    """Return the windows of the best rows of one batch of canvases with a face each."""
    maps = detector.maps(values.contiguous(memory_format=torch.channels_last))
    scores = torch.cat([detector.score(detector.tower(level)).permute(0, 2, 3, 1).flatten(1) for level in maps], 1)
    size = values.shape[-1]
    best, sure = _best(scores.sigmoid().cpu().numpy(), boxes, size)
    padded = [_padded(level).half().cpu().numpy() for level in maps]
    pixels, strides, _ = grid(size)
    who, rows = np.nonzero(sure)[0], best[sure]
    level, stride = np.searchsorted(STRIDES, strides[rows]), strides[rows].astype(np.float32)
    x, y = (pixels[rows] / stride[:, None]).astype(int).T
    span = 2 * REACH + 1
    cut = [padded[k][n, :, j : j + span, i : i + span] for k, n, i, j in zip(level, who, x, y, strict=True)]
    away = (points[who] - pixels[rows][:, None]) / stride[:, None, None]
    return Windows(np.stack(cut), away, rows % 2, level, eye_distance(points, boxes)[who] / stride)


def _padded(level: Tensor) -> Tensor:
    """Map (n, c, h, w) to (n, c + 1, h + 6, w + 6) with a last channel that is 1 inside."""
    return F.pad(torch.cat([level, torch.ones_like(level[:, :1])], 1), (REACH,) * 4)


def _best(scores: np.ndarray, boxes: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the best rows (n, 2) by scores (n, rows) near each face's middle, and whether each is above 0.3."""
    pixels, strides, _ = grid(size)
    side = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    away = np.abs(pixels[None] - ((boxes[:, :2] + boxes[:, 2:]) / 2)[:, None]).max(2)
    near = np.where(away < np.maximum(0.3 * side[:, None], strides), scores, 0.0)
    best = np.argsort(-near, axis=1)[:, :ROWS]
    return best, np.take_along_axis(near, best, 1) > 0.3
