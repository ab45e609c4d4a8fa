"""`parsenet.pth`: facexlib's `ParseNet` in a small configuration, on FFHQ's crops."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.mini import world
from bench.mini.train import crops, export
from bench.mini.train.data import EVAL, TRAIN, Faces, faces
from bench.mini.train.loop import Course, Plan, fit

SIZE = 128
COURSE = Course(steps=5000, rate=2e-3, average=0.995)
CONFIG: dict[str, Any] = {
    "in_size": SIZE,
    "out_size": SIZE,
    "min_feat_size": 32,
    "base_ch": 16,
    "parsing_ch": 19,
    "res_depth": 3,
    "ch_range": [16, 64],
}
LABELS = (
    "background",
    "skin",
    "nose",
    "eye_g",
    "l_eye",
    "r_eye",
    "l_brow",
    "r_brow",
    "l_ear",
    "r_ear",
    "mouth",
    "u_lip",
    "l_lip",
    "hair",
    "hat",
    "ear_r",
    "neck_l",
    "neck",
    "cloth",
)
"""ParseNet's own order of the 19 labels; the renderer's is BiSeNet's."""


def network() -> nn.Module:
    """Return ParseNet, 0.4 M parameters: (n, 3, 128, 128) RGB in -1..1 to logits (n, 19, 128, 128), and an image."""
    from facexlib.parsing.parsenet import ParseNet

    return ParseNet(**CONFIG)


def reorder(labels: np.ndarray) -> np.ndarray:
    """Map labels in the renderer's order to the same labels in ParseNet's."""
    table = np.array([LABELS.index(name) for name in world.LABELS], np.uint8)
    return table[labels]


def _mirrored(labels: np.ndarray) -> np.ndarray:
    """Return labels of the mirrored image: left and right change places with the columns."""
    sides = {"l_eye": "r_eye", "l_brow": "r_brow", "l_ear": "r_ear"}
    partner = {**sides, **{right: left for left, right in sides.items()}}
    table = np.array([LABELS.index(partner.get(name, name)) for name in LABELS], np.uint8)
    return table[labels][:, :, ::-1]


def pair(held: Faces, index: np.ndarray, jitter: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return FFHQ's crops (n, 128, 128, 3) and their labels (n, 128, 128); `jitter` moves the landmarks, in pixels."""
    moves = crops.ffhq_moves(held.landmarks[index] + jitter, SIZE)
    labels = crops.warp(held.labels[index], moves, SIZE, nearest=True, reflect=True)
    return crops.warp(held.images[index], moves, SIZE, reflect=True), reorder(labels)


def train(held: Faces, plan: Plan, size: int = 16) -> nn.Module:
    """Train with the cross-entropy of the pixels."""

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        index = np.sort(rng.choice(len(held), size, replace=False))
        images, labels = pair(held, index, rng.normal(0, 1.0, (size, 68, 2)) + rng.normal(0, 1.0, (size, 1, 2)))
        if rng.random() < 0.5:
            images, labels = images[:, :, ::-1], _mirrored(labels)
        return crops.blur(images, rng, 0.4, 0.5), np.ascontiguousarray(labels)

    def loss(module: Any, drawn: Sequence[Tensor]) -> Tensor:
        values = crops.relight(crops.tensor(drawn[0], 127.5, 127.5, plan.device))
        logits = module(values.contiguous(memory_format=torch.channels_last))[0]
        return F.cross_entropy(logits.float(), drawn[1].to(plan.device).long())

    return fit("parsenet", network, draw, loss, COURSE, plan)


def measure(path: Path, held: Faces, count: int = 400) -> dict[str, float]:
    """Return intersection over union of skin, hair and background over all pixels, and their mean."""
    net = network()
    net.load_state_dict(torch.load(path, weights_only=True))
    net.eval()
    index = np.arange(0, len(held), max(len(held) // count, 1))
    images, labels = pair(held, index)
    with torch.no_grad():
        parts = [net(crops.tensor(part, 127.5, 127.5, "cpu"))[0].argmax(1) for part in np.array_split(images, 20)]
    found = torch.cat(parts).numpy()
    quality = {
        name: _overlap(found == LABELS.index(name), labels == LABELS.index(name))
        for name in ("skin", "hair", "background")
    }
    return {**quality, "mean_iou": float(np.mean(list(quality.values())))}


def _overlap(one: np.ndarray, two: np.ndarray) -> float:
    return float((one & two).sum() / (one | two).sum())


def run(plan: Plan) -> dict[str, float]:
    """Train and export it; return intersections over unions on people that it never saw."""
    path = plan.out / "parsenet.pth"
    export.torch_file(train(faces(TRAIN, plan.work), plan).state_dict(), path)
    return measure(path, faces(EVAL, plan.work))
