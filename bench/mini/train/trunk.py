"""What the perceptual trunks share: they learn to predict identity, expression and pose at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.mini.train import crops
from bench.mini.train.data import EVAL, TRAIN, Faces, faces
from bench.mini.train.loop import Course, Plan, fit


class Taught(nn.Module):
    """A trunk, and a head on the averages of all the maps that it hands on."""

    def __init__(self, trunk: nn.Module, widths: list[int], outputs: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Sequential(
            nn.BatchNorm1d(sum(widths)), nn.Linear(sum(widths), 256), nn.ReLU(), nn.Linear(256, outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map images to standardised parameters."""
        maps: Any = self.trunk(x)
        return self.head(torch.cat([part.float().mean((2, 3)) for part in maps], 1))


def known(held: Faces) -> np.ndarray:
    """Return (N, I + E + 3) identity, expression and pose."""
    return np.concatenate([held.identity, held.expression, held.pose], 1)


def picture(held: Faces, index: np.ndarray, size: int) -> np.ndarray:
    """Return FFHQ's crops (n, size, size, 3) uint8 RGB."""
    return crops.warp(held.images[index], crops.ffhq_moves(held.landmarks[index], size), size, reflect=True)


def train(
    name: str, trunk: Callable[[], nn.Module], widths: list[int], size: int, course: Course, plan: Plan, batch: int = 48
) -> tuple[nn.Module, dict[str, float]]:
    """Train a trunk on RGB in -1..1 of `size` pixels; return it, and the mean R² of its head on unseen people."""
    held, unseen = faces(TRAIN, plan.work), faces(EVAL, plan.work)
    truth = known(held)
    middle, spread = truth.mean(0), truth.std(0) + 1e-6

    def make() -> nn.Module:
        return Taught(trunk(), widths, truth.shape[1])

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        index = np.sort(rng.choice(len(held), batch, replace=False))
        images = crops.blur(picture(held, index, size), rng, 0.4, 0.3)
        return images, ((truth[index] - middle) / spread).astype(np.float32)

    def loss(module: Any, drawn: Sequence[Tensor]) -> Tensor:
        values = crops.relight(crops.tensor(drawn[0], 127.5, 127.5, plan.device))
        guess = module(values.contiguous(memory_format=torch.channels_last))
        return F.smooth_l1_loss(guess, drawn[1].to(plan.device))

    trained: Any = fit(name, make, draw, loss, course, plan)
    index = np.arange(0, len(unseen), max(len(unseen) // 400, 1))
    with torch.no_grad():
        values = crops.tensor(picture(unseen, index, size), 127.5, 127.5, "cpu")
        guess = torch.cat([trained(part) for part in values.split(40)]).numpy() * spread + middle
    residual = ((guess - known(unseen)[index]) ** 2).mean(0) / known(unseen)[index].var(0)
    return trained.trunk, {"mean_r2": float(1 - residual.mean())}
