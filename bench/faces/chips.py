"""dlib's crop of a face by its 68 landmarks. It needs the package dlib, an optional one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.errors import UserError

Image = NDArray[np.uint8]

SIDE = 150
PADDING = 0.25


def dlib150(image: Image, landmarks: ArrayLike) -> Image:
    """Return dlib's face chip (150, 150, 3), as `dlib.get_face_chip` cuts it with its usual padding of 0.25.

    dlib takes landmarks on whole pixels; those between them are rounded.

    Args:
        image: (H, W, 3) uint8 RGB.
        landmarks: (68, 2) x, y in pixels, iBUG order.

    Raises:
        ValueError: the points define no face.
        UserError: dlib is not installed.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (68, 2) or not np.isfinite(points).all() or np.ptp(points, axis=0).min() < 1:
        raise ValueError(f"expected 68 finite points that differ, got {points.shape}")
    dlib = package()
    whole = np.rint(points).astype(int)
    box = dlib.rectangle(*whole.min(0).tolist(), *whole.max(0).tolist())
    face = dlib.full_object_detection(box, [dlib.point(x, y) for x, y in whole.tolist()])
    chip: Image = dlib.get_face_chip(np.ascontiguousarray(image), face, SIDE, PADDING)
    return chip


def package() -> Any:
    """Return the package dlib.

    Raises:
        UserError: it is not installed.
    """
    try:
        import dlib
    except ImportError as error:
        raise UserError("dlib's recogniser needs a package: pip install 'idbench[dlib]'") from error
    return dlib
