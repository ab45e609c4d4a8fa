"""The views: what each consumer sees of a face, cut from one image with one detection and one landmark pass."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.faces.face import Face
from bench.spec import Views

Image = NDArray[np.uint8]

SIZES = {"arcface112": 112, "ffhq512": 512, "ffhq512_masked": 512, "flame224": 224}
"""view -> side of its square crop in pixels."""


@dataclass(frozen=True, eq=False)
class View:
    """One crop, (S, S, 3) uint8 RGB, or the reason why there is none.

    Attributes:
        crop: black where `status` is not "ok".
        status: ok | no_landmarks | empty_mask, or the picture's own failure (no_face, undecodable, …).
        padded: share of the crop that lies outside the picture (reflected); 0 to 1.
        foreground: share of the crop that the mask kept; 1 where nothing is masked.
    """

    crop: Image
    status: str = "ok"
    padded: float = 0.0
    foreground: float = 1.0


def absent(view: str, status: str) -> View:
    """The blank that stands for a view that could not be cut."""
    return View(np.zeros((SIZES[view], SIZES[view], 3), np.uint8), status)


def cut(image: Image, face: Face, wanted: Collection[str], options: Views) -> dict[str, View]:
    """Cuts the wanted views of one face; `ffhq512_masked` is given unmasked (see `mask`).

    Args:
        image: (H, W, 3) uint8 RGB.
        face: with landmarks where a view needs them.
        wanted: names of views.
        options: alignment of the 512 crop and its intermediate size.
    """
    from bench.faces import align

    views: dict[str, View] = {}
    if "arcface112" in wanted:
        views["arcface112"] = View(align.arcface112(image, face.keypoints))
    rest = [name for name in wanted if name != "arcface112"]
    if not rest:
        return views
    if face.landmarks is None and (options.alignment == "ffhq68" or "flame224" in rest):
        views.update({name: absent(name, "no_landmarks") for name in rest})
        if options.alignment == "ffhq68":
            return views
    portrait, to_crop = _portrait(image, face, options)
    for name in rest:
        if name in ("ffhq512", "ffhq512_masked"):
            views[name] = portrait
        elif name == "flame224" and face.landmarks is not None:
            landmarks = face.landmarks @ to_crop[:, :2].T + to_crop[:, 2]
            views[name] = View(align.flame224(portrait.crop, landmarks), padded=portrait.padded)
    return views


def _portrait(image: Image, face: Face, options: Views) -> tuple[View, NDArray[np.float64]]:
    from bench.faces import align

    if options.alignment == "ffhq68" and face.landmarks is not None:
        crop, padded, to_crop = align.ffhq512(image, face.landmarks, transform=options.transform_size)
        return View(crop, padded=padded), to_crop
    return View(align.facexlib512(image, face.keypoints)), align.facexlib_matrix(face.keypoints)


def mask(portraits: list[View], labels: Callable[[NDArray[np.uint8]], NDArray[np.uint8]], options: Views) -> list[View]:
    """Removes the background of aligned portraits.

    Args:
        portraits: 512 crops; those without status "ok" pass through.
        labels: (n, 512, 512, 3) uint8 RGB -> (n, 512, 512) labels.
        options: which labels are background, the fill, the least foreground.
    """
    from bench.faces.parsing import mask_background

    masked = []
    for view, label in zip(portraits, labels(np.stack([v.crop for v in portraits])), strict=True):
        if view.status != "ok":
            masked.append(view)
            continue
        crop, kept = mask_background(view.crop, label, frozenset(options.background), options.fill)
        status = "ok" if kept >= options.min_foreground else "empty_mask"
        masked.append(View(crop, status, view.padded, kept))
    return masked
