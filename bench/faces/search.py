"""The search for the face that is meant: at several scales, by rules that are the same for every detector.

A network reads a face well only in a range of sizes: a face that fills a large image is answered with a part of it,
at full confidence. So an image is read at the configured size, smaller, and with a border, and these answers are
compared (`several`). The rules, in order:

1. The five points lie in the box, which may be larger by `MARGIN` of its sides on each side.
2. Answers of different scales whose points are less than `SAME` of the face's size apart, on average, are one face.
   They agree where they are at most `AGREE` apart. The size of a face is the square root of its box's area.
3. Of a face's answers that another scale agrees with, the one counts that the network saw at a size in the detector's
   `face_pixels`, or nearest to it; of several the first scale's, so that the configured size comes first. The answer
   is taken unchanged. Where no scale agrees with another, all of the face's answers are candidates.
4. Faces that no second scale agrees with are left out where there is another.
5. Of several faces, one is taken as `FaceOptions.choice` says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.faces.face import Face
from bench.identity import IDENTITY, Spec

Image = NDArray[np.uint8]
Shape = tuple[int, ...]
Choice = Literal["largest", "most_central", "best_score"]

MARGIN = 0.2
"""Share of a box's sides by which the points may lie outside: the far half of a profile does."""
SAME = 0.5
"""Mean distance of the five points, in sizes of the face, below which two answers are about one face."""
AGREE = 0.1
"""Mean distance of the five points, in sizes of the face, up to which two answers agree."""
TIE = 0.9
"""A face is as good as the best one by a measure where it has this share of the best one's."""


class FaceOptions(Spec):
    """How the face that is meant is found.

    Attributes:
        scales: "several": the image is read at the configured size, smaller and with a border, and the answers are
            compared; "single": at the configured size alone, and at the fallback sizes where that shows no face, as
            the papers' code does.
        choice: which of several faces is meant: the largest, the one nearest to the image's centre, or the one that the
            detector is surest of; what lies within 10 % is decided by the other two measures.
    """

    scales: Annotated[Literal["several", "single"], IDENTITY] = "several"
    choice: Annotated[Choice, IDENTITY] = "largest"


class Scale(NamedTuple):
    """How an image is laid before a detector.

    Attributes:
        width: of what the network reads, in pixels.
        height: the same.
        border: share of the image's longer side that is added on each side, in black.
    """

    width: int
    height: int
    border: float = 0.0

    @property
    def side(self) -> int:
        """Return the longer side of what the network reads."""
        return max(self.width, self.height)


class Scales(NamedTuple):
    """The scales at which a detector reads one image.

    Attributes:
        configured: the only one of a search at a single scale.
        further: what a search at several scales adds.
        fallback: what a search at a single scale tries in order where it finds nothing.
    """

    configured: Scale
    further: tuple[Scale, ...]
    fallback: tuple[Scale, ...]


class Detector(Protocol):
    """A network that finds faces.

    Attributes:
        face_pixels: least and largest size of a face, in pixels of what the network reads, that it reads well.
    """

    face_pixels: tuple[float, float]

    def scales(self, shape: Shape) -> Scales:
        """Return the scales at which an image of a shape is read."""

    def zoom(self, shape: Shape, scale: Scale) -> float:
        """Return the pixels that the network reads for each pixel of the image."""

    def find(self, image: Image, scale: Scale) -> list[Face]:
        """Return all faces of an (H, W, 3) uint8 RGB image at one scale, in pixels of the image."""


@dataclass(frozen=True, eq=False)
class Detection:
    """The faces of an image.

    Attributes:
        faces: the one that is meant first, the others by area.
        scale: at which the first was found; None where there is none.
        is_configured: whether that is the configured size.
        scales_read: at how many scales the image was read.
        scales_agree: how many of them agree on the first face.
        disagreement: largest mean distance of its points to another scale's answer about it, in sizes of the face; NaN
            where no other scale found it.
    """

    faces: list[Face]
    scale: Scale | None = None
    is_configured: bool = False
    scales_read: int = 0
    scales_agree: int = 0
    disagreement: float = float("nan")


@dataclass(frozen=True, eq=False)
class _Answer:
    """A face as one scale found it; `misfit` is how far its size lay outside the network's range, as a log ratio."""

    face: Face
    scale: Scale
    misfit: float


@dataclass(frozen=True, eq=False)
class _Person:
    """The answers of different scales about one face, and which of them counts."""

    taken: _Answer
    answers: list[_Answer]

    @property
    def distances(self) -> list[float]:
        """Return how far the other answers are from the one that counts."""
        return [distance(self.taken.face, other.face) for other in self.answers if other is not self.taken]

    @property
    def n_scales(self) -> int:
        """Return the number of scales that agree on the answer that counts."""
        return 1 + sum(d <= AGREE for d in self.distances)


def detect(detector: Detector, image: Image, options: FaceOptions) -> Detection:
    """Find the faces of an (H, W, 3) uint8 RGB image, the one that is meant first."""
    scales = detector.scales(image.shape)
    search = _single if options.scales == "single" else _several
    return search(detector, image, scales, options.choice)


def _single(detector: Detector, image: Image, scales: Scales, choice: Choice) -> Detection:
    for scale in (scales.configured, *scales.fallback):
        faces = [face for face in detector.find(image, scale) if plausible(face)]
        if faces:
            return Detection(_ordered(faces, image.shape, choice), scale, scale == scales.configured, 1, 1)
    return Detection([])


def _several(detector: Detector, image: Image, scales: Scales, choice: Choice) -> Detection:
    read = (scales.configured, *scales.further)
    people = list(_people([answer for scale in read for answer in _answers(detector, image, scale)]))
    sure = [person for person in people if person.n_scales > 1] or people
    if not sure:
        return Detection([], scales_read=len(read))
    faces = _ordered([person.taken.face for person in sure], image.shape, choice)
    meant = next(person for person in sure if person.taken.face is faces[0])
    return Detection(
        faces=faces,
        scale=meant.taken.scale,
        is_configured=meant.taken.scale == scales.configured,
        scales_read=len(read),
        scales_agree=meant.n_scales,
        disagreement=max(meant.distances, default=float("nan")),
    )


def _answers(detector: Detector, image: Image, scale: Scale) -> list[_Answer]:
    zoom = detector.zoom(image.shape, scale)
    faces = [face for face in detector.find(image, scale) if plausible(face)]
    return [_Answer(face, scale, _misfit(face.size * zoom, *detector.face_pixels)) for face in faces]


def _misfit(size: float, least: float, largest: float) -> float:
    return float(max(np.log(size / largest), np.log(least / size), 0))


def _people(answers: Sequence[_Answer]) -> Iterator[_Person]:
    """Yield the faces that the scales' answers are about; each answer belongs to one."""
    left = sorted(answers, key=lambda answer: answer.misfit)
    while left:
        group = _about(left[0], left)
        yield _Person(_representative(group), group)
        left = [answer for answer in left if answer not in group]


def _about(first: _Answer, answers: Sequence[_Answer]) -> list[_Answer]:
    """Return an answer, and of each other scale the nearest one that is about the same face."""
    nearest = {first.scale: first}
    for other in sorted(answers, key=lambda answer: distance(first.face, answer.face)):
        if distance(first.face, other.face) < SAME:
            nearest.setdefault(other.scale, other)
    return [answer for answer in answers if nearest.get(answer.scale) is answer]


def _representative(group: Sequence[_Answer]) -> _Answer:
    """Return the first answer that another one agrees with; the first of all where none does."""
    for answer in group:
        if any(distance(answer.face, other.face) <= AGREE for other in group if other is not answer):
            return answer
    return group[0]


def distance(face: Face, other: Face) -> float:
    """Return the mean distance of the five points of two answers, in sizes of the first."""
    apart = np.linalg.norm(face.keypoints - other.keypoints, axis=1)
    return float(apart.mean()) / face.size


def plausible(face: Face) -> bool:
    """Return whether the box has an area and the five points lie in it, or within `MARGIN` of its sides."""
    margin = MARGIN * (face.box[2:] - face.box[:2])
    inside = (face.keypoints >= face.box[:2] - margin) & (face.keypoints <= face.box[2:] + margin)
    return face.area > 0 and bool(inside.all())


Measure = Callable[[Face, Shape], float]


def _area(face: Face, shape: Shape) -> float:
    return face.area


def _score(face: Face, shape: Shape) -> float:
    return face.score


def _centrality(face: Face, shape: Shape) -> float:
    """Return 1 for a face in the middle of the image, 0 for one in a corner."""
    half = np.array([shape[1], shape[0]]) / 2
    away = (face.box[:2] + face.box[2:]) / 2 - half
    return 1 - float(np.linalg.norm(away) / np.linalg.norm(half))


MEASURES: dict[Choice, tuple[Measure, Measure, Measure]] = {
    "largest": (_area, _score, _centrality),
    "most_central": (_centrality, _score, _area),
    "best_score": (_score, _centrality, _area),
}
"""What each choice goes by: the second measure where the first is tied, the third where both are."""


def choose(faces: Sequence[Face], shape: Shape, choice: Choice) -> Face:
    """Return the face that is meant.

    Args:
        faces: at least one.
        shape: of the image, (height, width, …).
        choice: the rule.
    """
    left = list(faces)
    *tied, last = MEASURES[choice]
    for measure in tied:
        best = max(measure(face, shape) for face in left)
        left = [face for face in left if measure(face, shape) >= TIE * best]
    # The place decides between equals, so that the order of the list never does.
    return max(left, key=lambda face: (last(face, shape), *(-face.box).tolist()))


def _ordered(faces: Sequence[Face], shape: Shape, choice: Choice) -> list[Face]:
    """Return the face that is meant, then the others by area; equal ones by score, then by place."""
    meant = choose(faces, shape, choice)
    others = [face for face in faces if face is not meant]
    return [meant, *sorted(others, key=lambda face: (-face.area, -face.score, *face.box.tolist()))]
