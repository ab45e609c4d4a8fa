"""Quadratic metrics look at a seeded subset of subjects where there are too many samples to compare all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.metrics.functional.arrays import Rows
from bench.metrics.protocol import Evaluation
from bench.metrics.shared.eligibility import subjects

LIMIT = 10_000
"""Samples up to which a quadratic metric compares all."""


def chosen(names: NDArray[Any], limit: int, seed: int) -> Rows:
    """Rows of whole subjects, drawn by seed from the sorted names, as many as fit into `limit` rows; all if they do.

    A single subject with more rows than that is cut to its first `limit`.

    >>> chosen(np.array(["a", "a", "b", "b", "c"], dtype=object), 3, seed=0)
    array([0, 1, 4])
    """
    if len(names) <= limit:
        return np.arange(len(names))
    unique, counts = np.unique(names.astype(str), return_counts=True)
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(unique))
    kept = unique[order[: max(1, int(np.searchsorted(np.cumsum(counts[order]), limit, side="right")))]]
    return np.flatnonzero(np.isin(names.astype(str), kept))[:limit]


def subset(evaluation: Evaluation, features: Iterable[str], limit: int = LIMIT) -> tuple[Evaluation, Rows, str]:
    """The evaluation cut down to subjects with at most `limit` samples, their rows, and a note (empty where all stay).

    Args:
        evaluation: whole.
        features: names of the features to carry along (others are left out, without being copied).
        limit: number of samples.
    """
    names = subjects(evaluation.samples)
    rows = chosen(names, limit, evaluation.seed)
    kept = {name: evaluation.features[name] for name in features}
    if len(rows) == len(names):
        return replace(evaluation, features=kept), rows, ""
    known = set(names[rows])
    references = np.array([name in known for name in subjects(evaluation.references)], dtype=bool)
    cut = {
        name: replace(part, samples=part.samples[rows], references=part.references[references])
        for name, part in kept.items()
    }
    smaller = replace(
        evaluation,
        samples=evaluation.samples.iloc[rows].reset_index(drop=True),
        references=evaluation.references[references].reset_index(drop=True),
        features=cut,
        pairs={},
    )
    note = f"on {len(rows)} samples of {len(known)} subjects, drawn by seed {evaluation.seed} from {len(names)} samples"
    return smaller, rows, note
