"""Margin heads for training: AdaFace, ArcFace and CosFace. Imports torch: to be imported only where one is built.

A head turns unit embeddings and the lengths that they had into logits over the identities; the own class gets a margin.
It computes in the precision of its class centres, float32, whatever the precision around it.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Name = Literal["adaface", "arcface", "cosface"]

EPSILON = 1e-3
"""Cosines and angles keep this distance from the ends of their range (AdaFace)."""


def centres(width: int, classes: int) -> nn.Parameter:
    """Return the first class centres, (width, classes): uniform directions of length 1."""
    values = torch.empty(width, classes).uniform_(-1, 1)
    return nn.Parameter(F.normalize(values, dim=0))


def cosines(directions: Tensor, kernel: Tensor) -> Tensor:
    """Return the (b, classes) cosines between unit embeddings and class centres, in the kernel's precision."""
    return directions.to(kernel.dtype) @ F.normalize(kernel, dim=0)


class AdaFaceHead(nn.Module):
    """AdaFace (Kim et al., CVPR 2022): the margin depends on the length of the embedding, a measure of quality.

    Gradients run through the margin, as in the authors' code. Lengths enter as a running mean and deviation, which are
    updated before they are used.

    Args:
        width: length of an embedding.
        classes: number of identities.
        margin: m of the paper.
        slope: h of the paper.
        scale: s of the paper.
        momentum: share of the present batch in the running statistics (t_alpha in the authors' code).
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        width: int,
        classes: int,
        margin: float = 0.4,
        slope: float = 0.333,
        scale: float = 64.0,
        momentum: float = 0.01,
    ) -> None:
        super().__init__()
        self.kernel = centres(width, classes)
        self.margin, self.slope, self.scale, self.momentum = margin, slope, scale, momentum
        self.register_buffer("mean", torch.full((1,), 20.0))
        self.register_buffer("deviation", torch.full((1,), 100.0))

    def forward(self, directions: Tensor, lengths: Tensor, labels: Tensor) -> Tensor:
        """Return the (b, classes) scaled logits of unit embeddings (b, width) and their lengths (b,)."""
        cosine = cosines(directions, self.kernel).clamp(-1 + EPSILON, 1 - EPSILON)
        quality = self._quality(lengths.to(cosine.dtype))
        own = cosine.gather(1, labels[:, None])
        angle = (own.acos() - self.margin * quality).clamp(EPSILON, torch.pi - EPSILON)
        shifted = angle.cos() - (self.margin + self.margin * quality)
        return self.scale * cosine.scatter(1, labels[:, None], shifted)

    @torch.no_grad()
    def _quality(self, lengths: Tensor) -> Tensor:
        """(b, 1) in [-1, 1]: how far each length lies from the running mean."""
        lengths = lengths.detach().clamp(1e-3, 100)
        if self.training:
            self.mean.lerp_(lengths.mean()[None].to(self.mean.dtype), self.momentum)
            self.deviation.lerp_(lengths.std()[None].to(self.deviation.dtype), self.momentum)
        quality = (lengths - self.mean) / (self.deviation + EPSILON)
        return (quality * self.slope).clamp(-1, 1)[:, None]


class ArcFaceHead(nn.Module):
    """ArcFace (Deng et al., CVPR 2019): the own angle is widened by `margin` radians."""

    def __init__(self, width: int, classes: int, margin: float = 0.5, scale: float = 64.0) -> None:
        super().__init__()
        self.kernel = centres(width, classes)
        self.margin, self.scale = margin, scale

    def forward(self, directions: Tensor, lengths: Tensor, labels: Tensor) -> Tensor:
        """Return the (b, classes) scaled logits of unit embeddings (b, width) and their lengths (b,).

        Beyond the angle pi - margin the cosine falls on in a straight line, so that a larger angle is never rewarded.
        """
        cosine = cosines(directions, self.kernel)
        own = cosine.gather(1, labels[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)
        limit = torch.cos(own.new_tensor(torch.pi - self.margin))
        fall = torch.sin(own.new_tensor(torch.pi - self.margin)) * self.margin
        widened = torch.where(own > limit, torch.cos(own.acos() + self.margin), own - fall)
        return self.scale * cosine.scatter(1, labels[:, None], widened)


class CosFaceHead(nn.Module):
    """CosFace (Wang et al., CVPR 2018): `margin` is taken from the own cosine."""

    def __init__(self, width: int, classes: int, margin: float = 0.35, scale: float = 64.0) -> None:
        super().__init__()
        self.kernel = centres(width, classes)
        self.margin, self.scale = margin, scale

    def forward(self, directions: Tensor, lengths: Tensor, labels: Tensor) -> Tensor:
        """Return the (b, classes) scaled logits of unit embeddings (b, width) and their lengths (b,)."""
        cosine = cosines(directions, self.kernel)
        own = cosine.gather(1, labels[:, None])
        return self.scale * cosine.scatter(1, labels[:, None], own - self.margin)
