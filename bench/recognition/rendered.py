"""Rendered people as a face set and as verification pairs: they take the place of photographs in the embedded world."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from bench.faces.align import arcface112
from bench.facesets.making import Finder, Made, Places
from bench.images import Image, write_png
from bench.mini.dataset import COMMENT, SOFTWARE, before_a_wall
from bench.mini.world import render, sample_identities, sample_scenes
from bench.recognition.pairs import write_list

SIZE = 96
FRONTAL = 0.8
"""Of frontal images; see `bench.mini.world.sample_scenes`."""
PROFILE = np.radians([35.0, 55.0])
"""Least and largest yaw of an image in profile, radians."""
PER_PERSON = 4
"""Frontal images, and images in profile, of each person of the verification sets."""
_STRIDE = 1009
_TRIES = 20


@dataclass(frozen=True)
class Cast:
    """People whom `Rendered` draws.

    Attributes:
        split: "train", or "eval": people whom no network of the embedded world saw.
        people: how many.
        seed: of the people and of their images.
        frontal: 0 (all that the world can) to 1 (neutral, straight into the camera).
    """

    split: Literal["train", "eval"]
    people: int
    seed: int
    frontal: float


class Rendered:
    """Draws images of a cast; a maker for `bench.facesets.making`."""

    def __init__(self, cast: Cast) -> None:
        self._cast, self._people = cast, sample_identities(cast.seed, cast.people, cast.split)

    def __call__(self, places: Places) -> Iterator[Made]:
        """Yield the images of (identity, index) places."""
        for identity, index in places:
            yield Made(identity, index, self.image(identity, index))

    def image(self, identity: int, index: int, yaw: float | None = None) -> Image:
        """Return one image, (96, 96, 3) uint8 RGB.

        Args:
            identity: number of the person.
            index: number of the image.
            yaw: radians; drawn where it is None.
        """
        seed = (self._cast.seed * _STRIDE + identity) * _STRIDE + index
        scene = before_a_wall(sample_scenes(self._people[identity][None], seed, frontal=self._cast.frontal))
        if yaw is not None:
            pose = scene.pose.copy()
            pose[:, 0] = yaw
            scene = replace(scene, pose=pose)
        return render(scene, SIZE).images[0]


def write_crops(folder: Path, find: Finder, people: Iterable[int], seed: int) -> None:
    """Write the crops of some people of the verification sets. An image without a face is drawn again.

    Args:
        folder: where to.
        find: finds the faces.
        people: their numbers.
        seed: of people and images.
    """
    members = list(people)
    rendered = Rendered(Cast("eval", max(members) + 1, seed, FRONTAL))
    for person in members:
        for kind in ("front", "side"):
            for number in range(PER_PERSON):
                crop = _crop(rendered, find, person, kind, number)
                write_png(crop, folder / _name(person, kind, number), {"Software": SOFTWARE, "Comment": COMMENT})


def write_lists(folder: Path, people: int, pairs: int, seed: int, folds: int = 10) -> None:
    """Write two verification sets of unseen people: `frontal.csv` and `cross_pose.csv`.

    Half of the pairs of each fold show one person; no person is in two folds.

    Args:
        folder: of the crops.
        people: how many; a multiple of `folds`.
        pairs: of each set; a multiple of 2 * `folds`.
        seed: of the pairs.
        folds: see above.
    """
    rng = np.random.default_rng(seed)
    for name, second in (("frontal", "front"), ("cross_pose", "side")):
        found = _pairs(np.array_split(np.arange(people), folds), pairs // folds, second, rng)
        write_list(folder / f"{name}.csv", found)


def most_pairs(people: int, folds: int = 10) -> int:
    """Return how many pairs each set can have: half of a fold's are two strangers, who meet once.

    >>> most_pairs(150)
    1800
    """
    members = people // folds
    return 2 * folds * min(members * (members - 1) // 2, members * len(_own("front")))


def _name(person: int, kind: str, number: int) -> str:
    return f"crops/{person:04d}/{kind}{number}.png"


def _crop(rendered: Rendered, find: Finder, person: int, kind: str, number: int) -> Image:
    for attempt in range(_TRIES):
        index = (attempt * 2 + (kind == "side")) * PER_PERSON + number
        rng = np.random.default_rng([person, index])
        yaw = rng.choice([-1, 1]) * rng.uniform(*PROFILE) if kind == "side" else None
        image = rendered.image(person, index, yaw)
        if faces := find(image):
            return arcface112(image, faces[0].keypoints)
    raise AssertionError(f"no face of person {person} in {_TRIES} renders")


@lru_cache(maxsize=2)
def _own(second: str) -> list[tuple[int, int]]:
    """Places of two different images of one person."""
    ways = [(a, b) for a in range(PER_PERSON) for b in range(PER_PERSON)]
    return [(a, b) for a, b in ways if a < b] if second == "front" else ways


def _pairs(
    folds: Sequence[np.ndarray], size: int, second: str, rng: np.random.Generator
) -> Iterator[tuple[str, str, bool]]:
    for members in folds:
        mated = [(person, person, *way) for person in members for way in _own(second)]
        others = [(a, b, *rng.integers(0, PER_PERSON, 2)) for a in members for b in members if a < b]
        for kind, same in ((mated, True), (others, False)):
            for place in rng.choice(len(kind), size // 2, replace=False):
                a, b, first, other = kind[place]
                yield _name(a, "front", first), _name(b, second, other), same
