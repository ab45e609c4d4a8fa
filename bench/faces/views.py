"""The views: what each consumer sees of a face, cut from one image with one detection and one landmark pass.

A view is declared once, below, with its cutter; the identity of features, the checks of a plan and the stages ask the
declaration.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.errors import unknown
from bench.faces import align, boxes, chips
from bench.faces.face import Face
from bench.identity import IDENTITY, Spec
from bench.status import SampleStatus, ViewStatus

Image = NDArray[np.uint8]
Pixels = NDArray[Any]
Points = NDArray[Any]
LabelNumber = Annotated[int, Field(ge=0, le=18)]
Level = Annotated[int, Field(ge=0, le=255)]


class ViewOptions(Spec):
    """How a face becomes the crops that networks see.

    Attributes:
        alignment: how the aligned 512 crop is cut: by 68 landmarks, as FFHQ, or by 5 key points, as facexlib.
        transform_size: side in pixels of the FFHQ crop's intermediate image.
        background: parsing labels that are removed.
        fill: RGB, 0 to 255, in their place.
        min_foreground: least share of a masked crop that is left, 0 to 1; below it the status is empty_mask.
        flame_landmarks: "mapped": the image's landmarks are carried over to the aligned crop; "again": they are found
            in the aligned crop.
    """

    alignment: Annotated[Literal["ffhq68", "facexlib5"], IDENTITY] = "ffhq68"
    transform_size: Annotated[int, Field(ge=512), IDENTITY] = 4096
    background: Annotated[tuple[LabelNumber, ...], IDENTITY] = (0,)
    fill: Annotated[tuple[Level, Level, Level], IDENTITY] = (0, 0, 0)
    min_foreground: Annotated[float, Field(ge=0, le=1), IDENTITY] = 0.05
    flame_landmarks: Annotated[Literal["mapped", "again"], IDENTITY] = "mapped"


@dataclass(frozen=True)
class View:
    """One kind of crop: everything that is known about it.

    Attributes:
        name: as the option `view` of an extractor says it.
        side: of the square RGB crop, in pixels.
        dtype: uint8, or float32 in [0, 1] where the official code hands its warp to the network without rounding.
        options: the fields of `ViewOptions` that decide its pixels.
        from_whole: cuts it from the image, whether or not that shows a face; None where a face is needed.
        from_image: cuts it from the image by the face; None where it comes from the aligned 512 crop.
        from_landmarks: cuts it from the aligned crop by (68, 2) landmarks in that crop; None where it is the aligned
            crop itself, or comes from the image.
        masked: whether a face parser removes its background.
        reads_landmarks: whether `from_image` reads the 68 landmarks of the face.
        keypoints: gives the (5, 2) key points of a face in pixels of the crop; None where nothing reads them.
    """

    name: str
    side: int
    dtype: type[np.generic]
    options: tuple[str, ...] = ()
    from_whole: Callable[[Image], Pixels] | None = None
    from_image: Callable[[Image, Face], Pixels] | None = None
    from_landmarks: Callable[[Image, Points], Pixels] | None = None
    masked: bool = False
    reads_landmarks: bool = False
    keypoints: Callable[[Face], Points] | None = None

    @property
    def whole(self) -> bool:
        """Return whether it shows the whole image, so that it needs no face."""
        return self.from_whole is not None

    @property
    def aligned(self) -> bool:
        """Return whether it is the aligned 512 crop or comes from it."""
        return self.from_image is None and not self.whole

    @property
    def uses_landmarks(self) -> bool:
        """Return whether the 68 landmarks of the image, where there are some, decide its pixels."""
        return self.aligned or self.reads_landmarks

    def needs_landmarks(self, options: ViewOptions) -> bool:
        """Return whether it cannot be cut without 68 landmarks."""
        by_alignment = self.aligned and options.alignment == "ffhq68"
        return self.reads_landmarks or self.from_landmarks is not None or by_alignment

    def needs_landmarks_again(self, options: ViewOptions) -> bool:
        """Return whether its landmarks are found in the aligned crop, as the paper's authors do."""
        return self.from_landmarks is not None and options.flame_landmarks == "again"


def _arcface112(image: Image, face: Face) -> Pixels:
    return align.arcface112(image, face.keypoints)


def _arcface112_keypoints(face: Face) -> Points:
    return align.move(face.keypoints, align.arcface_matrix(face.keypoints))


def _facenet160(image: Image, face: Face) -> Pixels:
    return boxes.facenet160(image, face.box)


def _pose224(image: Image, face: Face) -> Pixels:
    return boxes.pose224(image, face.box)


def _dlib150(image: Image, face: Face) -> Pixels:
    assert face.landmarks is not None
    return chips.dlib150(image, face.landmarks)


ALIGNED_OPTIONS = ("alignment", "transform_size")
MASK_OPTIONS = (*ALIGNED_OPTIONS, "background", "fill", "min_foreground")
FLAME_OPTIONS = (*ALIGNED_OPTIONS, "flame_landmarks")

FFHQ512 = View("ffhq512", 512, np.uint8, ALIGNED_OPTIONS)
"""The aligned 512 crop, which all other aligned views come from."""

VIEWS = {
    view.name: view
    for view in (
        View("arcface112", 112, np.uint8, from_image=_arcface112, keypoints=_arcface112_keypoints),
        View("facenet160", boxes.FACENET_SIDE, np.uint8, from_image=_facenet160),
        View("dlib150", chips.SIDE, np.uint8, from_image=_dlib150, reads_landmarks=True),
        View("pose224", boxes.POSE_SIDE, np.uint8, from_image=_pose224),
        View("whole320", 320, np.uint8, from_whole=partial(boxes.stretched, side=320)),
        View("whole224", 224, np.uint8, from_whole=partial(boxes.whole, side=224, filter_="bicubic")),
        FFHQ512,
        View("ffhq512_masked", 512, np.uint8, MASK_OPTIONS, masked=True),
        View("flame224", 224, np.float32, FLAME_OPTIONS, from_landmarks=align.flame224),
        View("smirk224", 224, np.uint8, FLAME_OPTIONS, from_landmarks=align.smirk224),
    )
}
"""All views, by name."""


def view_read_by(extractor: str, name: str) -> View:
    """Return the view of a name.

    Args:
        extractor: who reads it; the message names it.
        name: of the view.

    Raises:
        UserError: there is none; the message has the nearest name.
    """
    if name not in VIEWS:
        raise unknown(f"view of extractor {extractor}", name, VIEWS)
    return VIEWS[name]


@dataclass(frozen=True, eq=False)
class Crop:
    """One view of one image, or the reason why there is none.

    Attributes:
        pixels: (S, S, 3) RGB of the view's side and type; black where `status` is not "ok".
        status: "ok", why the view could not be cut, or the image's own failure.
        padded: share of the crop that lies outside the image (reflected); 0 to 1.
        foreground: share of the crop that the mask kept; 1 where nothing is masked.
        matrix: (2, 3), image to crop, of an aligned 512 crop.
        keypoints: (5, 2) x, y of the face in pixels of the crop, where the view gives them.
    """

    pixels: Pixels
    status: SampleStatus | ViewStatus = ViewStatus.OK
    padded: float = 0.0
    foreground: float = 1.0
    matrix: NDArray[np.float64] | None = None
    keypoints: Points | None = None


def absent(view: View, status: SampleStatus | ViewStatus) -> Crop:
    """Return the blank crop of a view that could not be cut."""
    return Crop(np.zeros((view.side, view.side, 3), view.dtype), status)


def cut(image: Image, face: Face | SampleStatus, wanted: Collection[View], options: ViewOptions) -> dict[View, Crop]:
    """Cut the wanted views of one image; masked views come with their background (see `mask`).

    Args:
        image: (H, W, 3) uint8 RGB.
        face: with landmarks where a view needs them; or why there is none: only whole images can be cut then.
        wanted: the views.
        options: alignment of the 512 crop and its intermediate size.
    """
    crops = {view: Crop(view.from_whole(image)) for view in wanted if view.from_whole is not None}
    of_face = [view for view in wanted if not view.whole]
    if isinstance(face, SampleStatus):
        return crops | {view: absent(view, face) for view in of_face}
    return crops | _of_face(image, face, of_face, options)


def _of_face(image: Image, face: Face, wanted: Collection[View], options: ViewOptions) -> dict[View, Crop]:
    crops = {view: _or_absent(view, partial(_of_image, view, image, face)) for view in wanted if not view.aligned}
    rest = [view for view in wanted if view.aligned]
    if not rest:
        return crops
    aligned = _or_absent(FFHQ512, partial(_aligned, image, face, options))
    return crops | {view: _or_absent(view, partial(_of_aligned, view, aligned, face)) for view in rest}


def _or_absent(view: View, make: Callable[[], Crop]) -> Crop:
    """Return the crop, or a blank where the points that it is cut by define none (they coincide, or lie outside)."""
    try:
        return make()
    except ValueError:
        return absent(view, ViewStatus.NO_CROP)


def _of_image(view: View, image: Image, face: Face) -> Crop:
    assert view.from_image is not None
    if view.reads_landmarks and face.landmarks is None:
        return absent(view, ViewStatus.NO_LANDMARKS)
    keypoints = None if view.keypoints is None else view.keypoints(face)
    return Crop(view.from_image(image, face), keypoints=keypoints)


def _aligned(image: Image, face: Face, options: ViewOptions) -> Crop:
    """Return the aligned 512 crop with the matrix that leads to it."""
    if options.alignment == "facexlib5":
        return Crop(align.facexlib512(image, face.keypoints), matrix=align.facexlib_matrix(face.keypoints))
    if face.landmarks is None:
        return absent(FFHQ512, ViewStatus.NO_LANDMARKS)
    crop = align.ffhq512(image, face.landmarks, transform=options.transform_size)
    return Crop(crop.image, padded=crop.padded_fraction, matrix=crop.matrix)


def _of_aligned(view: View, aligned: Crop, face: Face) -> Crop:
    """Return a view that is the aligned crop, or is cut from it with the image's landmarks carried over."""
    if aligned.matrix is None:
        return absent(view, aligned.status)
    if view.from_landmarks is None:
        return aligned
    if face.landmarks is None:
        return absent(view, ViewStatus.NO_LANDMARKS)
    return _of_landmarks(view, aligned, align.move(face.landmarks, aligned.matrix))


def _of_landmarks(view: View, aligned: Crop, landmarks: Points) -> Crop:
    assert view.from_landmarks is not None
    return Crop(view.from_landmarks(aligned.pixels, landmarks), padded=aligned.padded)


def cut_again(view: View, aligned: Crop, landmarks: Points | None) -> Crop:
    """Cut a view by landmarks that were found in the aligned crop itself, as the paper's authors do.

    Args:
        view: one that is cut by landmarks.
        aligned: the aligned 512 crop.
        landmarks: (68, 2) in its pixels, or None where none were found.
    """
    if aligned.status != ViewStatus.OK:
        return absent(view, aligned.status)
    if landmarks is None:
        return absent(view, ViewStatus.NO_LANDMARKS)
    return _or_absent(view, partial(_of_landmarks, view, aligned, landmarks))


def mask(crops: Sequence[Crop], labels: Callable[[Image], NDArray[np.uint8]], options: ViewOptions) -> list[Crop]:
    """Remove the background of aligned crops.

    Args:
        crops: 512 crops; those whose status is not "ok" pass through.
        labels: (n, 512, 512, 3) uint8 RGB -> (n, 512, 512) labels.
        options: which labels are background, the fill, the least foreground.
    """
    found = labels(np.stack([crop.pixels for crop in crops]))
    return [_masked(crop, label, options) for crop, label in zip(crops, found, strict=True)]


def _masked(crop: Crop, labels: NDArray[np.uint8], options: ViewOptions) -> Crop:
    from bench.faces.parsing import Label, mask_background

    if crop.status != ViewStatus.OK:
        return crop
    background = frozenset(Label(label) for label in options.background)
    pixels, kept = mask_background(crop.pixels, labels, background, options.fill)
    status = ViewStatus.OK if kept >= options.min_foreground else ViewStatus.EMPTY_MASK
    return Crop(pixels, status, crop.padded, kept)
