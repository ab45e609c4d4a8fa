"""What a recipe does to a crop before it is shown. All images are (112, 112, 3) uint8 RGB.

Every change is drawn from the generator that is given, so that an image of an epoch looks the same in every process and
after a resume.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image as Pil
from PIL import ImageEnhance

from bench.images import Image
from bench.recognition.recipe import Augmentation

_ENHANCERS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)


def augment(image: Image, options: Augmentation, rng: np.random.Generator) -> Image:
    """Return a crop with the changes that fall to it."""
    changes = (
        (options.flip, _mirrored),
        (options.crop, _in_a_window),
        (options.low_resolution, _coarse),
        (options.photometric, _jittered),
    )
    for chance, change in changes:
        if rng.random() < chance:
            image = change(image, rng)
    if options.operations:
        image = _random(image, options, rng)
    return _erased(image, rng) if rng.random() < options.erase else image


def _mirrored(image: Image, _: np.random.Generator) -> Image:
    return image[:, ::-1]


def _in_a_window(image: Image, rng: np.random.Generator) -> Image:
    """All but a random rectangle is black (AdaFace)."""
    rows, columns = _window(len(image), (0.2, 1.0), (3 / 4, 4 / 3), rng)
    out = np.zeros_like(image)
    out[rows, columns] = image[rows, columns]
    return out


def _erased(image: Image, rng: np.random.Generator) -> Image:
    rows, columns = _window(len(image), (0.02, 0.33), (0.3, 3.3), rng)
    out = image.copy()
    out[rows, columns] = 0
    return out


def _window(
    side: int, area: tuple[float, float], ratio: tuple[float, float], rng: np.random.Generator
) -> tuple[slice, slice]:
    """A rectangle of a share of the area, of log-uniform aspect; after ten that are too long, the whole square."""
    for _ in range(10):
        size, aspect = side**2 * rng.uniform(*area), math.exp(rng.uniform(*np.log(ratio)))
        width, height = round(math.sqrt(size * aspect)), round(math.sqrt(size / aspect))
        if 0 < width <= side and 0 < height <= side:
            top, left = rng.integers(0, side - height + 1), rng.integers(0, side - width + 1)
            return slice(top, top + height), slice(left, left + width)
    return slice(0, side), slice(0, side)


def _coarse(image: Image, rng: np.random.Generator) -> Image:
    """Shrunk and enlarged again, each with an interpolation of its own (AdaFace)."""
    import cv2

    ways = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_AREA, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)
    side = len(image)
    small = int(side * rng.uniform(0.2, 1.0))
    down, up = (ways[k] for k in rng.integers(0, len(ways), 2))
    shrunk = cv2.resize(np.ascontiguousarray(image), (small, small), interpolation=down)
    return np.asarray(cv2.resize(shrunk, (side, side), interpolation=up), np.uint8)


def _jittered(image: Image, rng: np.random.Generator) -> Image:
    """Brightness, contrast and saturation, in random order."""
    changed = Pil.fromarray(np.ascontiguousarray(image))
    for k in rng.permutation(len(_ENHANCERS)):
        changed = _ENHANCERS[k](changed).enhance(rng.uniform(0.5, 1.5))
    return np.asarray(changed)


def _random(image: Image, options: Augmentation, rng: np.random.Generator) -> Image:
    """RandAugment (Cubuk et al., 2020), by torchvision."""
    import torch
    from torchvision.transforms import RandAugment

    torch.manual_seed(int(rng.integers(2**62)))
    change = RandAugment(options.operations, options.magnitude)
    return np.asarray(change(Pil.fromarray(np.ascontiguousarray(image))))
