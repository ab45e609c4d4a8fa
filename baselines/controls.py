"""The controls: rows that calibrate every table. They show photos; they generate nothing."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from baselines.protocol import Collection, Output, Request
from bench.identity import Spec


class NoOptions(Spec):
    """The controls have no options."""


class Copy:
    """The reference itself, every time: similarity 1, diversity 0."""

    Options: ClassVar[type[Spec]] = NoOptions
    generates: ClassVar[bool] = False
    needs: ClassVar[frozenset[str]] = frozenset({"image"})

    def __init__(self, options: NoOptions, runtime: Any) -> None:
        pass

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return the references' images, (H, W, 3) uint8 RGB each."""
        return [Output(image=request.reference.image) for request in requests]


class Shuffle:
    """Other people: sample k of an item is the reference at a seeded cyclic offset.

    All offsets are distinct, no sample shows the item's own subject, and each reference is shown once per offset:
    the floor of identity similarity, an upper level for diversity, FID about 0.
    """

    Options: ClassVar[type[Spec]] = NoOptions
    generates: ClassVar[bool] = False
    needs: ClassVar[frozenset[str]] = frozenset({"collection"})

    def __init__(self, options: NoOptions, runtime: Any) -> None:
        self._plan = lru_cache(maxsize=1)(shuffle_plan)

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return photos of other subjects; unavailable where too few other subjects exist."""
        return [self._one(request) for request in requests]

    def _one(self, request: Request) -> Output:
        collection = request.reference.collection
        assert collection is not None
        shown = self._plan(collection)[request.reference.item]
        return show(collection, shown, request.index, "too few references of other subjects")


def shuffle_plan(collection: Collection) -> dict[str, list[Path]]:
    """Return item -> the photos that its samples show.

    The references are put subject by subject, so that every offset between the largest group and its complement
    leads to another subject for all items at once; `samples_per_item` of these offsets are drawn with the seed.
    """
    groups: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    for item, subject, path in collection.references:
        groups[subject].append((item, path))
    ring = [entry for group in groups.values() for entry in group]
    largest = max((len(group) for group in groups.values()), default=0)
    valid = range(largest, len(ring) - largest + 1)
    offsets = random.Random(collection.seed).sample(valid, min(collection.samples_per_item, len(valid)))
    return {item: [ring[(place + offset) % len(ring)][1] for offset in offsets] for place, (item, _) in enumerate(ring)}


class Real:
    """Other photos of the same person: a reference level (not a ceiling) for every metric."""

    Options: ClassVar[type[Spec]] = NoOptions
    generates: ClassVar[bool] = False
    needs: ClassVar[frozenset[str]] = frozenset({"collection"})

    def __init__(self, options: NoOptions, runtime: Any) -> None:
        pass

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return the subject's k-th target as sample k; unavailable where there are fewer."""
        return [self._one(request) for request in requests]

    def _one(self, request: Request) -> Output:
        collection = request.reference.collection
        assert collection is not None
        shown = collection.targets.get(request.reference.subject, ())
        return show(collection, shown, request.index, "no further photo of this subject with a face")


def show(collection: Collection, paths: Sequence[Path], index: int, otherwise: str) -> Output:
    """Return the image at `index`, or `unavailable` where there is none."""
    from bench.images import ImageError

    if index >= len(paths):
        return Output(error=otherwise, unavailable=True)
    try:
        return Output(image=collection.read(paths[index]))
    except ImageError as error:
        return Output(error=f"the photo to show cannot be read: {error}")
