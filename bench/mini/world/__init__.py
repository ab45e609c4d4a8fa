"""A parametric renderer of heads: who, what, how seen, and the truth about every pixel."""

from __future__ import annotations

import numpy as np

from bench.errors import UserError
from bench.mini.world.parameters import (
    AMOUNTS,
    BACKGROUND,
    CAMERA,
    EXPRESSION,
    EYELIDS,
    FLAME_EXPRESSION,
    IDENTITY,
    JAW,
    JAW_RADIANS,
    LABELS,
    LIGHT,
    POSE,
    Render,
    Scene,
    rotation,
)
from bench.mini.world.sampling import sample_identities, sample_scenes, split_of

__all__ = [
    "AMOUNTS",
    "BACKGROUND",
    "CAMERA",
    "EXPRESSION",
    "EYELIDS",
    "FLAME_EXPRESSION",
    "IDENTITY",
    "JAW",
    "JAW_RADIANS",
    "LABELS",
    "LIGHT",
    "POSE",
    "Render",
    "Scene",
    "render",
    "rotation",
    "sample_identities",
    "sample_scenes",
    "split_of",
]


def render(scene: Scene, size: int = 128, supersample: int = 2) -> Render:
    """Render every row of the scene on its own: the bytes of a row don't depend on the others.

    Args:
        scene: n rows.
        size: pixels of the square images' sides.
        supersample: samples per pixel along each side: 1 is twice as fast, 2 has smooth edges.

    Raises:
        UserError: `size` or `supersample` is below 1.
    """
    from bench.mini.world.renderer import render_row

    if size < 1 or supersample < 1:
        raise UserError(f"size {size}, supersample {supersample}: both must be at least 1")
    rows = [render_row(scene, k, size, supersample) for k in range(len(scene))]
    return Render(
        images=np.array([row.image for row in rows], np.uint8).reshape(-1, size, size, 3),
        boxes=np.array([row.box for row in rows], np.float32).reshape(-1, 4),
        keypoints=np.array([row.keypoints for row in rows], np.float32).reshape(-1, 5, 2),
        landmarks=np.array([row.landmarks for row in rows], np.float32).reshape(-1, 68, 2),
        labels=np.array([row.labels for row in rows], np.uint8).reshape(-1, size, size),
    )
