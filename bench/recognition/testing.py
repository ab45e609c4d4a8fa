"""Test a recogniser on verification sets: images stream through it, both views are summed, and accuracies come out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench import resources
from bench.errors import UserError
from bench.facesets.check import Reads
from bench.images import Image
from bench.metrics.functional.cosine import Floats
from bench.recognition.pairs import Pairs
from bench.recognition.verification import Flags, Verification, distances, pair_bootstrap, tar_at_far, verify

FAR = (1e-1, 1e-2, 1e-3)
GATE = 0.002
"""A recogniser passes where its accuracy is at most this far below the published one, as a share."""


def embed(reader: Reads, crops: Iterable[Image], batch: int, flip: bool) -> Floats:
    """Return the embedding of each crop, (n, d): of the crop alone, or its sum with that of the mirror image.

    Embeddings are summed as they are, and not normalised. One batch is held at a time; the last one is padded.

    Args:
        reader: a recogniser.
        crops: (112, 112, 3) uint8 RGB each.
        batch: crops at a time.
        flip: add the mirror image.
    """
    parts: list[Floats] = []
    for stack in _stacks(crops, batch):
        padded = np.concatenate([stack, np.zeros((batch - len(stack), *stack.shape[1:]), np.uint8)])
        found = reader.extract(padded)["feature"].astype(np.float64)
        if flip:
            found = found + reader.extract(np.ascontiguousarray(padded[:, :, ::-1]))["feature"]
        parts.append(found[: len(stack)])
    return np.concatenate(parts)


def _stacks(crops: Iterable[Image], size: int) -> Iterator[NDArray[np.uint8]]:
    source = iter(crops)
    while part := list(islice(source, size)):
        yield np.stack(part)


@dataclass(frozen=True, eq=False)
class Tested:
    """How one recogniser did on one set.

    Attributes:
        pairs: the set.
        distance: (n,) squared distance of each pair.
        result: accuracy and decisions.
    """

    pairs: Pairs
    distance: Floats
    result: Verification

    @property
    def right(self) -> Flags:
        """(n,) whether each pair was decided rightly."""
        return self.result.right


def evaluate(reader: Reads, pairs: Pairs, batch: int, flip: bool = True) -> Tested:
    """Return how a recogniser does on a set.

    Raises:
        UserError: an image cannot be used; see `Pairs.crops`.
    """
    distance = distances(pairs.of_places(embed(reader, pairs.crops(), batch, flip)))
    return Tested(pairs, distance, verify(distance, pairs.same))


def row(tested: Tested, seed: int = 0) -> dict[str, Any]:
    """Return a set's line of the table.

    Returns:
        set, pairs, accuracy with its `fold_se`, `fold_sd` and pair bootstrap (`low`, `high`), then `tar@F`,
        `threshold@F` and `far@F` for each of `FAR`, and in `note` what a reader must know.
    """
    result, notes = tested.result, [tested.pairs.remark]
    low, high = pair_bootstrap(result.right, seed)
    found: dict[str, Any] = {
        "set": tested.pairs.name,
        "pairs": len(tested.pairs),
        "accuracy": result.accuracy,
        "fold_se": result.error,
        "fold_sd": result.deviation,
        "low": low,
        "high": high,
    }
    for far in FAR:
        at = tar_at_far(tested.distance, tested.pairs.same, far)
        found |= {f"tar@{far:g}": at.tar, f"threshold@{far:g}": at.threshold, f"far@{far:g}": at.achieved}
        if not at.honest:
            notes.append(f"few impostor pairs for a rate of {far:g}")
    return found | {"note": "; ".join(filter(None, notes))}


def table(tests: Sequence[Tested], seed: int = 0) -> pd.DataFrame:
    """Return a row per set, see `row`."""
    return pd.DataFrame([row(tested, seed) for tested in tests])


def decisions(tests: Sequence[Tested]) -> pd.DataFrame:
    """Return a row per pair: set, pair, same, cosine, right."""
    return pd.concat([_decisions(tested) for tested in tests], ignore_index=True)


def _decisions(tested: Tested) -> pd.DataFrame:
    n = len(tested.pairs)
    columns = {"set": [tested.pairs.name] * n, "pair": np.arange(n), "same": tested.pairs.same}
    return pd.DataFrame(columns | {"cosine": 1 - tested.distance / 2, "right": tested.right})


def gate(measured: pd.DataFrame, published: Mapping[str, float]) -> pd.DataFrame:
    """Return whether a recogniser reaches its published accuracy on the sets that both have.

    Args:
        measured: as `table` gives it.
        published: name of a set -> accuracy, as a share.

    Returns:
        A row per set of `published`: set, published, measured (NaN where the user has no such set), passes.

    Raises:
        UserError: the two have no set in common.
    """
    accuracy = dict(zip(measured["set"], measured["accuracy"], strict=True))
    if not set(accuracy) & set(published):
        raise UserError(f"published are {', '.join(published)}; tested were {', '.join(accuracy) or 'none'}")
    rows = [(name, value, accuracy.get(name, np.nan)) for name, value in published.items()]
    frame = pd.DataFrame(rows, columns=["set", "published", "measured"])
    return frame.assign(passes=frame["measured"] >= frame["published"] - GATE)


@dataclass(frozen=True)
class Published:
    """What is published of a recogniser.

    Attributes:
        accuracies: name of a set -> accuracy, as a share; empty where none is known.
        source: where they were read, or why there are none.
    """

    accuracies: Mapping[str, float]
    source: str


def published() -> dict[str, Published]:
    """Return what is published of each recogniser (`reports/published/recognisers.csv`)."""
    frame = pd.read_csv(resources.folder("reports/published") / "recognisers.csv")
    return {str(name): _published(own) for name, own in frame.groupby("recogniser", sort=False)}


def _published(own: pd.DataFrame) -> Published:
    known = own.dropna(subset="set")
    return Published(dict(zip(known["set"], known["accuracy"], strict=True)), str(own["source"].iloc[0]))
