"""The training images of the detector, and the rows of its maps."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from bench.mini.train import crops
from bench.mini.train.data import Faces

STRIDES = (8, 16, 32)
ANCHORS = np.array([[16, 32], [64, 128], [256, 512]], np.float32)
"""Sides of the two anchors of each stride, as in SCRFD: a face belongs to the nearest one in the logarithm."""


@dataclass
class Canvas:
    """A training image (s, s, 3) uint8 RGB and the faces on it: boxes (k, 4), key points (k, 5, 2)."""

    image: np.ndarray
    boxes: list[np.ndarray]
    points: list[np.ndarray]


def _backdrop(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return black, or smooth colours."""
    if rng.random() < 0.3:
        return np.zeros((size, size, 3), np.uint8)
    coarse = rng.integers(0, 256, (rng.integers(2, 9), rng.integers(2, 9), 3)).astype(np.uint8)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR)


def _place(box: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return a similarity (2, 3) that brings a face to a random size, angle and place in a cell of `size` pixels."""
    side = np.sqrt((box[2] - box[0]) * (box[3] - box[1]))
    share = np.exp(rng.uniform(np.log(0.17), np.log(0.8)))
    angle, scale = rng.normal(0, 0.12), share * size / side
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    slack = 0.5 - 0.45 * share
    goal = size * (0.5 + rng.uniform(-slack, slack, 2))
    return np.c_[turn, goal - turn @ ((box[:2] + box[2:]) / 2)].astype(np.float32)


def _paste(held: Faces, index: int, canvas: Canvas, corner: np.ndarray, size: int, rng: np.random.Generator) -> None:
    """Draw one render into a cell of the canvas; its face joins the canvas's."""
    move = _place(held.boxes[index], size, rng)
    cell = canvas.image[corner[1] : corner[1] + size, corner[0] : corner[0] + size]
    factor = float(np.sqrt(abs(np.linalg.det(move[:, :2]))))
    image = _softened(held.images[index], factor)
    border = cv2.BORDER_TRANSPARENT if rng.random() < 0.7 else cv2.BORDER_REPLICATE
    cell[:] = cv2.warpAffine(image, move, (size, size), dst=cell.copy(), flags=cv2.INTER_LINEAR, borderMode=border)
    box = held.boxes[index].reshape(2, 2)
    middle, half = move[:, :2] @ box.mean(0) + move[:, 2] + corner, (box[1] - box[0]) / 2 * factor
    canvas.boxes.append(np.r_[middle - half, middle + half])
    canvas.points.append(crops.move_points(held.keypoints[index][None], move[None])[0] + corner)


def _softened(image: np.ndarray, factor: float) -> np.ndarray:
    """Return the image without the detail that would alias when it shrinks by the factor."""
    return cv2.GaussianBlur(image, (0, 0), 0.45 / factor) if factor < 0.7 else image


def pasted(held: Faces, size: int, rng: np.random.Generator) -> Canvas:
    """Return one face, turned, at any place and size, before a backdrop or its own."""
    canvas = Canvas(_backdrop(size, rng), [], [])
    _paste(held, int(rng.integers(len(held))), canvas, np.zeros(2, int), size, rng)
    return canvas


def enlarged(held: Faces, size: int, rng: np.random.Generator) -> Canvas:
    """Return a render that fills the canvas as insightface enlarges an image; some have fewer pixels or are moved.

    insightface divides what it finds by the factor alone: so the truth is multiplied by it, without half a pixel. Both
    the move and the enlargement are bilinear.
    """
    index, width = int(rng.integers(len(held))), held.images.shape[2]
    small = int(rng.integers(56, width)) if rng.random() < 0.35 else width
    zoom, aside = (np.exp(rng.uniform(-0.3, 0.25)), rng.uniform(-0.12, 0.12, 2)) if rng.random() < 0.6 else (1.0, 0.0)
    factor = zoom * small / width
    shift = small * (0.5 + aside) - factor * width / 2 + np.zeros(2)
    border = cv2.BORDER_REFLECT if rng.random() < 0.5 else cv2.BORDER_CONSTANT
    move = np.c_[factor * np.eye(2), shift]
    image = cv2.warpAffine(_softened(held.images[index], factor), move, (small, small), borderMode=border)
    box, points = (held.boxes[index] * factor + np.tile(shift, 2), held.keypoints[index] * factor + shift)
    return Canvas(cv2.resize(image, (size, size)), [box * size / small], [points * size / small])


def _without(held: Faces, index: int, canvas: Canvas, corner: np.ndarray, size: int) -> None:
    """Fill a cell with a piece of a render that shows no face, if it has one."""
    x0, _, x1, _ = held.boxes[index]
    width = held.images.shape[2]
    piece = (
        held.images[index][:, : max(int(x0), 0)]
        if x0 > width - x1
        else held.images[index][:, min(int(x1) + 1, width) :]
    )
    if piece.shape[1] > 16:
        canvas.image[corner[1] : corner[1] + size, corner[0] : corner[0] + size] = cv2.resize(piece, (size, size))


def mixed(held: Faces, size: int, rng: np.random.Generator) -> Canvas:
    """Return one face over the whole canvas, or four cells with a face each, some without."""
    canvas = Canvas(_backdrop(size, rng), [], [])
    cells = 2 if rng.random() < 0.3 else 1
    for k in range(cells * cells):
        corner = np.array([k % cells, k // cells]) * (size // cells)
        index = int(rng.integers(len(held)))
        if rng.random() < 0.15:
            _without(held, index, canvas, corner, size // cells)
        else:
            _paste(held, index, canvas, corner, size // cells, rng)
    return canvas


def grid(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (rows, 2) pixels, (rows,) strides and (rows,) anchors of all levels of a canvas."""
    pixels, strides, anchors = [], [], []
    for level, stride in enumerate(STRIDES):
        side = size // stride
        y, x = np.mgrid[:side, :side]
        pixels.append(np.repeat(np.stack([x, y], 2).reshape(-1, 2) * stride, 2, axis=0))
        strides.append(np.full(side * side * 2, stride))
        anchors.append(np.tile(ANCHORS[level], side * side))
    return np.concatenate(pixels).astype(np.float32), np.concatenate(strides), np.concatenate(anchors)


def eye_distance(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the distance of the eyes in pixels, not below a share of the box that a frontal face would have.

    Args:
        points: (..., 5, 2) key points, the eyes first.
        boxes: (..., 4) x0 y0 x1 y1.
    """
    side = np.sqrt(np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1))
    return np.maximum(np.linalg.norm(points[..., 0, :] - points[..., 1, :], axis=-1), side / 2.6)
