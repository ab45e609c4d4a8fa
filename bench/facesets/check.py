"""Look at a face set through a recogniser: is each identity one person, and another one than the rest?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from bench.facesets import quality
from bench.facesets.store import FaceSet
from bench.metrics.functional.cosine import Floats, blocks, unit
from bench.studies.nearest import BLOCK, Block, nearest, nothing

PAIRS = 100_000
"""Mated pairs, and non-mated ones, at most."""


class Reads(Protocol):
    """What turns crops into embeddings: every recogniser of the panel does."""

    def extract(self, crops: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        """Return "feature", (b, d) float32, of (b, 112, 112, 3) uint8 RGB crops."""


def chosen(faces: FaceSet, people: int, seed: int) -> NDArray[np.int64]:
    """Return the crops of at most `people` identities, drawn by seed, the crops of one in a row."""
    kept = np.arange(faces.identities)
    if faces.identities > people:
        kept = np.sort(np.random.default_rng(seed).choice(faces.identities, people, replace=False))
    rows = np.flatnonzero(np.isin(faces.labels, kept))
    return rows[np.argsort(faces.labels[rows], kind="stable")]


def embed(faces: FaceSet, rows: NDArray[np.int64], reader: Reads, batch: int) -> Floats:
    """Return the unit embeddings of some crops, (n, d); one batch is held at a time, the last one is padded."""
    return np.concatenate(list(_embedded(faces, rows, reader, batch)))


def _embedded(faces: FaceSet, rows: NDArray[np.int64], reader: Reads, batch: int) -> Iterator[Floats]:
    for start in range(0, len(rows), batch):
        crops = np.stack([faces.image(int(row)) for row in rows[start : start + batch]])
        padded = np.concatenate([crops, np.zeros((batch - len(crops), *crops.shape[1:]), np.uint8)])
        yield unit(reader.extract(padded)["feature"][: len(crops)])


def check(faces: FaceSet, rows: NDArray[np.int64], features: Floats, seed: int) -> dict[str, float]:
    """Return the quality of a face set, or of a part of it.

    Args:
        faces: the set.
        rows: the crops that were looked at, as `chosen` gives them.
        features: (n, d) their unit embeddings.
        seed: of the pairs.

    Returns:
        `identities` and `images` that were looked at, `unique_greedy`, `unique_literal`, `consistency` (see
        `bench.facesets.quality`), the means of `mated` and `nonmated` scores, `eer`, and `fnmr@1e-3`, at that FMR.

    Raises:
        UserError: no identity has two crops, or there is one identity only.
    """
    labels = np.unique(faces.labels[rows], return_inverse=True)[1]
    if labels.max() < 1 or np.bincount(labels).max() < 2:
        raise UserError(f"{faces.folder} has no two crops of one identity, or one identity only: nothing to compare")
    middle, scores = quality.centres(features, labels), quality.pair_scores(features, labels, PAIRS, seed)
    mated, nonmated = scores.means
    _, fmr, fnmr = quality.error_rates(scores)
    return {
        "identities": int(labels.max()) + 1,
        "images": len(rows),
        "unique_greedy": quality.uniqueness(middle, "greedy"),
        "unique_literal": quality.uniqueness(middle, "literal"),
        "consistency": quality.consistency(quality.to_centre(features, labels)),
        "mated": mated,
        "nonmated": nonmated,
        "eer": quality.equal_error_rate(scores),
        "fnmr@1e-3": float(fnmr[(fmr <= 1e-3).argmax()]),
    }


def overlap(features: Floats, others: Floats, threshold: float) -> dict[str, float]:
    """Return how much a set resembles another one: the nearest image there of each image here.

    Args:
        features: (n, d) embeddings of this set.
        others: (m, d) of the other one, by the same recogniser.
        threshold: cosine above which two images show the same person.

    Returns:
        `mean`, `q99` and `max` of the cosines, and the share `above` the threshold.
    """
    bank = (Block(part.start, others[part]) for part in blocks(len(others), BLOCK))
    cosine = nearest(features, bank, nothing(len(features), 1)).cosine[:, 0]
    return {
        "mean": float(cosine.mean()),
        "q99": float(np.quantile(cosine, 0.99)),
        "max": float(cosine.max()),
        "above": float((cosine > threshold).mean()),
    }


def write_scores(scores: Sequence[tuple[str, quality.PairScores]], path: Path) -> None:
    """Write the distributions of mated and non-mated scores of some sets as `path`.png and `path`.pdf."""
    from bench.report.figures import density, legend, new, save, style

    figure, axes = new((6.4, 3.6))
    at, lines = np.linspace(-0.6, 1.05, 600), []
    for number, (name, found) in enumerate(scores):
        colour = style(number)[0]
        [line] = axes.plot(at, density(found.mated[:5000], at), color=colour)
        axes.plot(at, density(found.nonmated[:5000], at), color=colour, linestyle=":")
        lines.append((line, f"{name}: mated (dotted: non-mated)"))
    axes.set(xlabel="cosine", ylabel="density", xlim=(at[0], at[-1]))
    legend(axes, lines)
    save(figure, path)
