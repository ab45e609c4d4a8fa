"""Interpolation: embeddings on the way from an item's identity to another's (Arc2Face, Fig. 10)."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from bench.conditions.protocol import Inputs
from bench.conditions.vectors import Kind, path
from bench.errors import UserError
from bench.identity import IDENTITY, Spec


class InterpolationOptions(Spec):
    """The path.

    Attributes:
        recogniser: whose embeddings are interpolated.
        steps: points of a path, both ends included.
        path: "lerp": the straight line between unit vectors, as in the paper; "slerp": the great circle, at even speed.
    """

    recogniser: Annotated[str, IDENTITY] = "arcface"
    steps: Annotated[int, IDENTITY, Field(ge=2)] = 5
    path: Annotated[Kind, IDENTITY] = "lerp"


class Interpolation:
    """A path from every item to one of another subject, drawn with the protocol's seed.

    All points of a path share their noise: sample k of a point has the seed of sample k of the item.
    """

    Options: ClassVar[type[Spec]] = InterpolationOptions

    def __init__(self, options: InterpolationOptions) -> None:
        self._options = options

    def table(self, inputs: Inputs) -> pd.DataFrame:
        """Return the samples with the columns `share` (0 at the item, 1 at the other) and `other_item`.

        An item without a face has no embedding; its samples fail with their reference.

        Raises:
            UserError: fewer than two subjects have a reference with a face.
        """
        known = inputs.embeddings(self._options.recogniser)
        items = inputs.items
        ends = {
            str(item): known[image] for item, image in zip(items["item"], items["image"], strict=True) if image in known
        }
        others = partners(items[items["item"].isin(ends)], inputs.seed)
        samples = range(inputs.samples_per_item)
        paths = (self._path(item, others.get(item, item), ends) for item in items["item"])
        return pd.DataFrame([{**point, "seed_index": k} for points in paths for point in points for k in samples])

    def _path(self, item: str, other: str, ends: Mapping[str, NDArray[np.float32]]) -> list[dict[str, Any]]:
        """Return the points of a path; without vectors where the item has none."""
        shares = np.linspace(0, 1, self._options.steps).tolist()
        vectors: Iterable[Any] = [None] * len(shares)
        if item in ends:
            a, b = ends[item].astype(np.float64), ends[other].astype(np.float64)
            vectors = path(a, b, shares, self._options.path)
        return [
            {"item": item, "other_item": other, "share": share, "embedding": vector}
            for share, vector in zip(shares, vectors, strict=True)
        ]


def partners(items: pd.DataFrame, seed: int) -> dict[str, str]:
    """Return for each item one of another subject: the item at one seeded cyclic offset, subject by subject.

    Every item is the other one of exactly one path.

    Raises:
        UserError: no offset leads every item to another subject.

    >>> frame = pd.DataFrame({"item": ["a", "b", "c"], "subject": ["A", "A", "B"]})
    >>> partners(frame[1:], 0)
    {'b': 'c', 'c': 'b'}
    """
    ring = items.sort_values("subject", kind="stable")["item"].tolist()
    largest = int(items["subject"].value_counts().max()) if len(items) else 0
    valid = range(max(largest, 1), len(ring) - largest + 1)
    if not valid:
        raise UserError(
            f"conditions=interpolation needs for every item one of another subject: of {len(ring)} items with a face "
            f"{largest} are of one subject"
        )
    offset = random.Random(seed).choice(valid)
    return {item: ring[(place + offset) % len(ring)] for place, item in enumerate(ring)}
