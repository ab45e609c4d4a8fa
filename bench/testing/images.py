"""Images by a formula: no photographs, no network, the same everywhere."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.faces.face import Face
from bench.hashing import sha256_bytes
from bench.images import write_png

SIDE = 96
PEOPLE = ("ann", "bob", "cleo")
"""Three people who do not exist."""
KEYPOINTS = ((0.35, 0.4), (0.65, 0.4), (0.5, 0.55), (0.38, 0.7), (0.62, 0.7))
"""Eyes, nose and corners of the mouth, in shares of the side."""


def photo(name: str, side: int = SIDE) -> NDArray[np.uint8]:
    """Return an image that is a smooth pattern, another one for each name.

    Args:
        name: decides the pattern.
        side: in pixels.

    Returns:
        (side, side, 3) uint8 RGB.

    >>> photo("ann").shape, bool((photo("ann") == photo("bob")).all())
    ((96, 96, 3), False)
    """
    rng = np.random.default_rng(int(sha256_bytes(name.encode())[:8], 16))
    y, x = np.mgrid[0:side, 0:side] / side
    waves = [np.sin(2 * np.pi * (a * x + b * y + c)) for a, b, c in rng.uniform(0.3, 2, (3, 3))]
    return (127.5 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)


def face_of(image: NDArray[Any]) -> Face:
    """Return a face that fills the middle of an image, with five key points and 68 landmarks."""
    height, width = image.shape[:2]
    size = np.array([width, height], dtype=np.float32)
    turn = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    circle = np.stack([0.5 + 0.3 * np.cos(turn), 0.5 + 0.35 * np.sin(turn)], axis=1).astype(np.float32)
    box = np.array([0.2, 0.15, 0.8, 0.85], dtype=np.float32) * np.tile(size, 2)
    return Face(box, 0.9, np.array(KEYPOINTS, dtype=np.float32) * size, circle * size)


def write_photos(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Write an image for each name below a folder, each another one; return name -> file."""
    paths = {name: folder / name for name in names}
    for name, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(photo(name), path, {})
    return paths
