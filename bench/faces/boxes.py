"""Crops by a face's box, or of the whole image: no key points, no rotation.

Images are (H, W, 3) uint8 RGB. A box is (x0, y0, x1, y1) in pixels of the image. Every resize is Pillow's on bytes,
antialiased, so that a crop holds the very bytes that the official code hands to its network. A function raises
`ValueError` where its box holds no pixel of the image.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Image = NDArray[np.uint8]
Filter = Literal["bilinear", "bicubic"]

FACENET_SIDE = 160
POSE_SIDE = 224
POSE_MARGIN = 0.2
"""6DRepNet's demo moves each edge of a box outwards by this share of the side that runs along the edge."""


def facenet160(image: Image, box: ArrayLike, margin: int = 0) -> Image:
    """Return FaceNet's crop (160, 160, 3): the box, widened, cut at the image's edge, scaled without regard to aspect.

    As `extract_face` of facenet-pytorch on a Pillow image: corners cut down to whole pixels after they were held to the
    image, bilinear filter.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: the face.
        margin: pixels of the 160 by which the box is widened in each direction, half of it at each edge.
    """
    x0, y0, x1, y1 = _finite(box)
    height, width = image.shape[:2]
    right, down = (margin * side / (FACENET_SIDE - margin) / 2 for side in (x1 - x0, y1 - y0))
    corners = max(x0 - right, 0), max(y0 - down, 0), min(x1 + right, width), min(y1 + down, height)
    return resize(_cut(image, *(int(value) for value in corners)), (FACENET_SIDE, FACENET_SIDE), "bilinear")


def pose224(image: Image, box: ArrayLike) -> Image:
    """Return 6DRepNet's crop (224, 224, 3) of the image as it is: an aligned one would hide the roll of the head.

    As its demo: corners cut down to whole pixels, each edge moved outwards by 20 % of the other side (again cut down),
    held to the image, the shorter side scaled to 224 by the bilinear filter, the middle of the longer one.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: the face.
    """
    x0, y0, x1, y1 = (int(value) for value in _finite(box))
    sideways, upwards = int(POSE_MARGIN * abs(y1 - y0)), int(POSE_MARGIN * abs(x1 - x0))
    part = _cut(image, max(x0 - sideways, 0), max(y0 - upwards, 0), x1 + sideways, y1 + upwards)
    return middle(shorter_side(part, POSE_SIDE, "bilinear"), POSE_SIDE)


def whole(image: Image, side: int, filter_: Filter) -> Image:
    """Return the middle square (side, side, 3) of the image whose shorter side was scaled to `side`.

    CLIP's own preparation at 224 with the bicubic filter; torchvision's `Resize` and `CenterCrop` on a Pillow image.
    """
    return middle(shorter_side(image, side, filter_), side)


def stretched(image: Image, side: int) -> Image:
    """Return the whole image as (side, side, 3), without regard to its aspect, bilinear: SSCD's at 320."""
    return resize(image, (side, side), "bilinear")


def shorter_side(image: Image, side: int, filter_: Filter) -> Image:
    """Return the image with its shorter side scaled to `side` and the longer one in proportion, cut down to a pixel.

    >>> shorter_side(np.zeros((100, 133, 3), np.uint8), 50, "bilinear").shape
    (50, 66, 3)
    """
    height, width = image.shape[:2]
    longer = int(side * max(height, width) / min(height, width))
    return resize(image, (longer, side) if height > width else (side, longer), filter_)


def middle(image: Image, side: int) -> Image:
    """Return the central square of `side` pixels; an odd pixel too many is cut as torchvision's `CenterCrop` does.

    >>> middle(np.arange(5, dtype=np.uint8).reshape(1, 5, 1).repeat(2, 0), 2)[0, :, 0].tolist()
    [2, 3]
    """
    top, left = (round((length - side) / 2) for length in image.shape[:2])
    return image[top : top + side, left : left + side]


def resize(image: Image, size: tuple[int, int], filter_: Filter) -> Image:
    """Return the image at `size` (height, width) by one of Pillow's filters, which are antialiased."""
    from PIL import Image as Pillow

    resample = {"bilinear": Pillow.Resampling.BILINEAR, "bicubic": Pillow.Resampling.BICUBIC}[filter_]
    return np.asarray(Pillow.fromarray(image).resize(size[::-1], resample))


def _finite(box: ArrayLike) -> tuple[float, float, float, float]:
    values = np.asarray(box, np.float64)
    if values.shape != (4,) or not np.isfinite(values).all():
        raise ValueError(f"expected a box of four finite numbers, got {values.tolist()}")
    x0, y0, x1, y1 = values.tolist()
    return x0, y0, x1, y1


def _cut(image: Image, x0: int, y0: int, x1: int, y1: int) -> Image:
    part = image[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    if part.size == 0:
        raise ValueError(f"the box ({x0}, {y0}, {x1}, {y1}) holds no pixel of the image")
    return np.ascontiguousarray(part)
