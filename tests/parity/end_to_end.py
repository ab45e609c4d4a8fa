"""Requests for a whole method, and what every method must do with them."""

import numpy as np
import pytest

from baselines.protocol import Reference, Request
from bench.errors import UserError
from bench.faces.face import Face

KEYPOINTS = np.float32([[30, 40], [60, 41], [45, 60], [33, 75], [58, 76]])


def reference(person: int, recogniser: str) -> Reference:
    draw = np.random.default_rng(person)
    return Reference(
        f"i{person}",
        f"s{person}",
        image=draw.integers(0, 256, (110, 90, 3), np.uint8),
        face=Face(np.float32([10, 10, 80, 100]), 0.9, KEYPOINTS + person),
        embeddings={recogniser: draw.normal(size=512).astype(np.float32)},
    )


def check_method(method, side: int, distinct: int = 4) -> None:
    """Two identities in one batch are each alone; every seed (and, of four, reference) gives another image."""
    people = [reference(person, getattr(method.options, "recogniser", "none")) for person in (1, 2)]
    asked = [Request(r, k, 10 + k, "photo of a person") for k in (0, 1) for r in people]
    together = [output.image for output in method.generate(asked)]
    assert all(image.shape == (side, side, 3) and image.dtype == np.uint8 for image in together)
    assert len({image.tobytes() for image in together}) >= distinct
    for request, image in zip(asked[:2], together[:2], strict=True):
        alone = method.generate([request])[0].image
        assert np.abs(alone.astype(int) - image.astype(int)).max() <= 1


def check_refuses(method, request: Request, words: str, network=None) -> None:
    """A request that cannot be served is refused before anything is sampled."""
    calls = []
    handle = (network or method.base.unet).register_forward_pre_hook(lambda *_: calls.append(1))
    with pytest.raises(UserError, match=words):
        method.generate([request])
    handle.remove()
    assert not calls
