"""Small images on the disk."""

from pathlib import Path

import numpy as np
from PIL import Image


def put(path: Path, width: int = 8, height: int = 8, seed: int | None = None) -> Path:
    """Writes an image of noise; by default another one for every path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed if seed is not None else list(str(path).encode()))
    Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    return path
