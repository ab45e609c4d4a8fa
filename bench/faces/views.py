"""The views: what each consumer sees of a face, cut from one image with one detection and one landmark pass."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.faces.face import Face
from bench.spec import Views

Image = NDArray[np.uint8]
Crop = NDArray[Any]

VIEWS = {
    "arcface112": (112, np.uint8),
    "ffhq512": (512, np.uint8),
    "ffhq512_masked": (512, np.uint8),
    "flame224": (224, np.float32),
    "smirk224": (224, np.uint8),
}
"""view -> side of its square RGB crop in pixels, and its type: uint8, or float32 in [0, 1] where the official code
hands its warp to the network without rounding."""


@dataclass(frozen=True, eq=False)
class View:
    """One crop, (S, S, 3) RGB of the type that `VIEWS` says, or the reason why there is none.

    Attributes:
        crop: black where `status` is not "ok".
        status: ok | no_landmarks | no_crop | empty_mask, or the picture's own failure (no_face, undecodable, …).
        padded: share of the crop that lies outside the picture (reflected); 0 to 1.
        foreground: share of the crop that the mask kept; 1 where nothing is masked.
        matrix: (2, 3), image to crop, of an aligned 512 crop.
    """

    crop: Crop
    status: str = "ok"
    padded: float = 0.0
    foreground: float = 1.0
    matrix: NDArray[np.float64] | None = None


def absent(view: str, status: str) -> View:
    """The blank that stands for a view that could not be cut."""
    side, kind = VIEWS[view]
    return View(np.zeros((side, side, 3), kind), status)


def cut(image: Image, face: Face, wanted: Collection[str], options: Views) -> dict[str, View]:
    """Cuts the wanted views of one face; `ffhq512_masked` is given unmasked (see `mask`).

    Args:
        image: (H, W, 3) uint8 RGB.
        face: with landmarks where a view needs them.
        wanted: names of views.
        options: alignment of the 512 crop and its intermediate size.
    """
    views = {name: _or_absent(name, partial(_of_image, image, face)) for name in wanted if name == "arcface112"}
    rest = [name for name in wanted if name not in views]
    if not rest:
        return views
    portrait = _or_absent("ffhq512", partial(_portrait, image, face, options))
    return views | {name: _or_absent(name, partial(_of_portrait, name, portrait, face)) for name in rest}


def _or_absent(view: str, make: Callable[[], View]) -> View:
    """The view, or a blank where the points that it is cut by define no crop (they coincide, or lie outside)."""
    try:
        return make()
    except ValueError:
        return absent(view, "no_crop")


def _of_image(image: Image, face: Face) -> View:
    from bench.faces import align

    return View(align.arcface112(image, face.keypoints))


def _portrait(image: Image, face: Face, options: Views) -> View:
    """The aligned 512 crop with the matrix that leads to it."""
    from bench.faces import align

    if options.alignment == "facexlib5":
        return View(align.facexlib512(image, face.keypoints), matrix=align.facexlib_matrix(face.keypoints))
    if face.landmarks is None:
        return absent("ffhq512", "no_landmarks")
    crop = align.ffhq512(image, face.landmarks, transform=options.transform_size)
    return View(crop.image, padded=crop.padded_fraction, matrix=crop.matrix)


def _of_portrait(name: str, portrait: View, face: Face) -> View:
    """A view that is the aligned crop, or is cut from it with the landmarks carried over (one landmark pass)."""
    from bench.faces import align

    if portrait.matrix is None:
        return absent(name, portrait.status)
    if name in ("ffhq512", "ffhq512_masked"):
        return portrait
    if face.landmarks is None:
        return absent(name, "no_landmarks")
    return _of_points(name, portrait, align.move(face.landmarks, portrait.matrix))


def _of_points(name: str, portrait: View, landmarks: NDArray[Any]) -> View:
    from bench.faces import align

    cutter = align.flame224 if name == "flame224" else align.smirk224
    return View(cutter(portrait.crop, landmarks), padded=portrait.padded)


def cut_again(name: str, portrait: View, landmarks: NDArray[Any] | None) -> View:
    """A FLAME view by landmarks that were found in the aligned crop itself, as the paper's authors do.

    Args:
        name: of the view, one of `bench.spec.FLAME_VIEWS`.
        portrait: the aligned 512 crop.
        landmarks: (68, 2) in its pixels, or None where none were found.
    """
    if portrait.status != "ok" or landmarks is None:
        return absent(name, portrait.status if portrait.status != "ok" else "no_landmarks")
    return _or_absent(name, partial(_of_points, name, portrait, landmarks))


def mask(portraits: list[View], labels: Callable[[NDArray[np.uint8]], NDArray[np.uint8]], options: Views) -> list[View]:
    """Removes the background of aligned portraits.

    Args:
        portraits: 512 crops; those without status "ok" pass through.
        labels: (n, 512, 512, 3) uint8 RGB -> (n, 512, 512) labels.
        options: which labels are background, the fill, the least foreground.
    """
    from bench.faces.parsing import Label, mask_background

    masked, background = [], frozenset(Label(label) for label in options.background)
    for view, label in zip(portraits, labels(np.stack([v.crop for v in portraits])), strict=True):
        if view.status != "ok":
            masked.append(view)
            continue
        crop, kept = mask_background(view.crop, label, background, options.fill)
        status = "ok" if kept >= options.min_foreground else "empty_mask"
        masked.append(View(crop, status, view.padded, kept))
    return masked
