"""The crops that the networks see, cut from renders by their true points. All images are uint8 RGB."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

ARCFACE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
"""insightface's five points in its 112-pixel crop."""


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the similarities (n, 2, 3) that move `source` (n, p, 2) to `target` (p, 2): least squares, no reflection.

    >>> move = similarity(np.array([[[0.0, 0], [1, 0], [0, 1]]]), np.array([[5.0, 5], [7, 5], [5, 7]]))
    >>> move.round(6).tolist()
    [[[2.0, 0.0, 5.0], [0.0, 2.0, 5.0]]]
    """
    middle, goal = source.mean(1, keepdims=True), target.mean(0)
    a, b = source - middle, target - goal
    power = (a**2).sum((1, 2))
    cosine = (a * b).sum((1, 2)) / power
    sine = (a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]).sum(1) / power
    turn = np.stack([np.stack([cosine, -sine], 1), np.stack([sine, cosine], 1)], 1)
    shift = goal[None] - np.einsum("nij,nj->ni", turn, middle[:, 0])
    return np.concatenate([turn, shift[:, :, None]], 2)


def warp(
    images: np.ndarray, moves: np.ndarray, size: int, *, nearest: bool = False, reflect: bool = False
) -> np.ndarray:
    """Apply (n, 2, 3) maps from image to crop pixels; bilinear unless `nearest`, outside black unless `reflect`."""
    flags = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    border = cv2.BORDER_REFLECT if reflect else cv2.BORDER_CONSTANT
    pairs = zip(images, moves, strict=True)
    return np.stack(
        [cv2.warpAffine(image, move, (size, size), flags=flags, borderMode=border) for image, move in pairs]
    )


def move_points(points: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Return points (n, p, 2) under the maps (n, 2, 3)."""
    return np.einsum("nij,npj->npi", moves[:, :, :2], points) + moves[:, None, :, 2]


def ffhq_moves(landmarks: np.ndarray, size: int) -> np.ndarray:
    """Return the maps (n, 2, 3) onto FFHQ's aligned square of `size` pixels, from 68 landmarks (n, 68, 2).

    Follows `recreate_aligned_images` of NVlabs/ffhq-dataset: an oriented square around eyes and mouth.
    """
    left, right = landmarks[:, 36:42].mean(1), landmarks[:, 42:48].mean(1)
    eyes, mouth = (left + right) / 2, (landmarks[:, 48] + landmarks[:, 54]) / 2
    between, down = right - left, mouth - eyes
    x = between - down[:, ::-1] * [-1, 1]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    half = np.maximum(2.0 * np.linalg.norm(between, axis=1), 1.8 * np.linalg.norm(down, axis=1))
    x *= half[:, None]
    y = x[:, ::-1] * [-1, 1]
    centre = eyes + 0.1 * down
    corners = np.stack([centre - x - y, centre - x + y, centre + x + y], 1) - 0.5
    target = np.array([[0, 0], [0, size], [size, size]]) - 0.5
    return similarity(corners, target)


def halved(images: np.ndarray) -> np.ndarray:
    """Return (n, s, s, c) images at half the side, each pixel the mean of four: fine detail doesn't alias."""
    n, side, _, channels = images.shape
    return np.rint(images.reshape(n, side // 2, 2, side // 2, 2, channels).mean((2, 4))).astype(np.uint8)


def portraits(images: np.ndarray, landmarks: np.ndarray, index: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return FFHQ's crops (n, size, size, 3) of rows in `index`, cut at twice the size, and the maps (n, 2, 3) to them.

    In parts: all rows at twice the size would take gigabytes.
    """
    parts = [index[k : k + 500] for k in range(0, len(index), 500)]
    large = (warp(images[k], ffhq_moves(landmarks[k], 2 * size), 2 * size, reflect=True) for k in parts)
    return np.concatenate([halved(part) for part in large]), ffhq_moves(landmarks[index], size)


def bounds_moves(points: np.ndarray, scale: float, size: int) -> np.ndarray:
    """Return the maps to a square around the points' bounding box: mean side times `scale` becomes `size - 1` pixels.

    With 68 landmarks and scale 1.1 * 1.25 this is DECA's crop for "kpt68".
    """
    low, high = points.min(1), points.max(1)
    side = ((high - low).mean(1) * scale).astype(int).astype(float)
    factor = (size - 1) / side
    corner = (low + high) / 2 - side[:, None] / 2
    turn = np.eye(2)[None] * factor[:, None, None]
    return np.concatenate([turn, -(corner * factor[:, None])[:, :, None]], 2)


def blur(images: np.ndarray, rng: np.random.Generator, lowest: float, share: float) -> np.ndarray:
    """Shrink some images to as little as `lowest` of their side, and enlarge them again."""
    size, out = images.shape[1], images.copy()
    for index in np.flatnonzero(rng.random(len(images)) < share):
        small = int(size * rng.uniform(lowest, 1.0))
        shrunk = cv2.resize(images[index], (small, small), interpolation=cv2.INTER_AREA)
        out[index] = cv2.resize(shrunk, (size, size), interpolation=cv2.INTER_LINEAR)
    return out


def relight(batch: Tensor, amount: float = 0.1) -> Tensor:
    """Change a batch in -1..1 by random gain, tint, offset and noise: the camera's part of the variation."""
    n = len(batch)
    gain = 1 + amount * _signed(batch, n, 1) + amount / 3 * _signed(batch, n, 3)
    grain = torch.randn_like(batch) * (0.015 + 0.015 * _signed(batch, n, 1))
    return (batch * gain + amount * _signed(batch, n, 1) + grain).clamp(-1, 1)


def _signed(like: Tensor, n: int, channels: int) -> Tensor:
    return torch.rand(n, channels, 1, 1, device=like.device) * 2 - 1


def tensor(images: np.ndarray | Tensor, mean: float, deviation: float, device: str) -> Tensor:
    """Return (n, h, w, 3) images as an (n, 3, h, w) tensor of (value - mean) / deviation, channels last in memory."""
    held = images if isinstance(images, Tensor) else torch.from_numpy(np.ascontiguousarray(images))
    values = held.to(device, non_blocking=True).float()
    return values.sub_(mean).div_(deviation).permute(0, 3, 1, 2)
