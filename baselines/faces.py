"""Aligned faces of references, for methods that read pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from baselines.protocol import Image, Reference
from bench.errors import UserError
from bench.faces.face import Face


def facexlib_face(reference: Reference, method: str) -> Image:
    """Return a reference's face in facexlib's crop, (512, 512, 3) uint8 RGB.

    Raises:
        UserError: no image or no face, or key-points that define no crop; `method` is named.
    """
    from bench.faces.align import facexlib512

    return _aligned(reference, method, facexlib512)


def ffhq_face(reference: Reference, method: str) -> Image:
    """Return the FFHQ crop of a reference, (512, 512, 3) uint8 RGB, by its five key-points.

    Raises:
        UserError: no image or no face, or key-points that define no crop; `method` is named.
    """
    from bench.faces.align import ffhq512

    def cut(image: Image, points: NDArray[np.float32]) -> Image:
        # The crop reads the middles of the eyes and the corners of the mouth, which the key-points are.
        landmarks = np.zeros((68, 2), np.float32)
        landmarks[36:42], landmarks[42:48], landmarks[48], landmarks[54] = points[0], points[1], points[3], points[4]
        return ffhq512(image, landmarks, transform=1024).image

    return _aligned(reference, method, cut)


def seen(reference: Reference, method: str) -> tuple[Image, Face]:
    """Return a reference's image and face.

    Raises:
        UserError: one of them is missing; `method` is named.
    """
    if reference.image is None or reference.face is None:
        raise UserError(f"item {reference.item!r} has no image or no face: {method} needs both")
    return reference.image, reference.face


def _aligned(reference: Reference, method: str, cut: Callable[[Image, NDArray[np.float32]], Image]) -> Image:
    image, face = seen(reference, method)
    try:
        return cut(image, face.keypoints)
    except ValueError as error:
        raise UserError(f"item {reference.item!r}: the face cannot be aligned ({error})") from error
