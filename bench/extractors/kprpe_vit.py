"""CVLface's vision transformers, with and without KP-RPE. Imports torch: to be imported only where one is built."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

SIDE = 14
"""Patches of 8 pixels along each side of the crop."""
WIDTH = 512
REACH = 3
"""Buckets of differences between patches in each direction, besides the one in the middle."""
BUCKETS = (2 * REACH + 1) ** 2
POINTS = 5


class Size(NamedTuple):
    """One of the published sizes.

    Attributes:
        depth: blocks.
        heads: of the attention.
        ratio: width of the layer inside a block's MLP, over the width outside.
    """

    depth: int
    heads: int
    ratio: int


SIZES = {"small": Size(12, 8, 5), "base": Size(24, 16, 3)}


class Transformer(nn.Module):
    """(b, 3, 112, 112) in [-1, 1], and key points where it has KP-RPE -> (b, 512), not normalised."""

    def __init__(self, size: Size, kprpe: bool) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.empty(1, SIDE**2, WIDTH))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, WIDTH, 8, 8)})
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.depth))
        self.norm = nn.LayerNorm(WIDTH)
        if kprpe:
            self.keypoint_linear = nn.Linear(2 * POINTS, BUCKETS * size.heads * size.depth)
        self.feature = nn.Sequential(
            nn.Linear(WIDTH * SIDE**2, 512, bias=False),
            nn.BatchNorm1d(512, eps=2e-5),
            nn.Linear(512, 512, bias=False),
            nn.BatchNorm1d(512, eps=2e-5),
        )
        self.size = size

    def forward(self, images: Tensor, keypoints: Tensor | None) -> Tensor:
        """Return the embeddings of images.

        Args:
            images: (b, 3, 112, 112).
            keypoints: (b, 5, 2) x, y as shares of the crop's side, of a network with KP-RPE; else None.
        """
        x = self.patch_embed["proj"](images).flatten(2).transpose(1, 2) + self.pos_embed
        scores = None if keypoints is None else self._scores(keypoints)
        place = torch.from_numpy(buckets()).to(x.device)
        for index, block in enumerate(self.blocks):
            x = block(x, None if scores is None else _bias(scores[:, :, index], place))
        return self.feature(self.norm(x).flatten(1))

    def _scores(self, keypoints: Tensor) -> Tensor:
        """Return (b, patches, depth, heads, buckets) of key points (b, 5, 2)."""
        apart = torch.from_numpy(centres()).to(keypoints)[None, :, None] - keypoints[:, None]
        shape = (len(keypoints), SIDE**2, self.size.depth, self.size.heads, BUCKETS)
        return self.keypoint_linear(apart.flatten(2)).reshape(shape)


def _bias(scores: Tensor, place: Tensor) -> Tensor:
    """Return what is added to the attention (b, heads, query, key).

    Args:
        scores: (b, query, heads, buckets).
        place: (query, key) buckets.
    """
    table = scores.transpose(1, 2)
    return table.gather(3, place.expand(*table.shape[:2], *place.shape))


class Block(nn.Module):
    """Attention and MLP, each added to its input."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.attn = Attention(size.heads)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.mlp = Mlp(WIDTH * size.ratio)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Return the tokens after the block."""
        x = x + self.attn(self.norm1(x), bias)
        return x + self.mlp(self.norm2(x))


class Attention(nn.Module):
    """Attention of several heads with a bias that is added to its logits."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.proj = nn.Linear(WIDTH, WIDTH)
        self.heads = heads

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Return the tokens that each token attends to, weighted."""
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        out = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self.proj(out.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear layers with a ReLU6 between them."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(WIDTH, inner)
        self.fc2 = nn.Linear(inner, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens, each changed on its own."""
        return self.fc2(nn.functional.relu6(self.fc1(x)))


def centres() -> NDArray[np.float32]:
    """Return the centres (196, 2) of the patches, x then y, as shares of the crop's side, row by row."""
    along = (np.arange(SIDE) + 0.5) / SIDE
    y, x = np.meshgrid(along, along, indexing="ij")
    return np.stack([x, y], axis=-1).reshape(-1, 2).astype(np.float32)


def buckets() -> NDArray[np.int64]:
    """Return the bucket (196, 196) of the difference between a query patch and a key patch: rows, then columns.

    Differences of a patch or none have buckets of their own; larger ones share them by their logarithm (iRPE).
    """
    row, column = np.divmod(np.arange(SIDE**2), SIDE)
    down, right = (_piece(line[:, None] - line[None]) for line in (row, column))
    return (2 * REACH + 1) * (down + REACH) + right + REACH


def _piece(difference: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a whole number from -3 to 3 that grows with the difference, ever more slowly.

    >>> _piece(np.array([-13, -2, -1, 0, 1, 2, 4, 13])).tolist()
    [-3, -2, -1, 0, 1, 2, 3, 3]
    """
    alpha, beta, gamma = 1.9, 3.8, 15.2
    size = np.abs(difference).astype(np.float64)
    slow = np.round(alpha + np.log(np.maximum(size, 1) / alpha) / np.log(gamma / alpha) * (beta - alpha))
    far = (np.sign(difference) * np.minimum(slow, beta)).astype(np.int64)
    return np.where(size <= alpha, difference, far)
