"""Samples and references put beside the other photos of their subject, which no method saw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bench.metrics.functional.arrays import Floats, Rows
from bench.metrics.protocol import Evaluation, Features
from bench.metrics.shared.eligibility import Eligibility, nonzero, subjects
from bench.metrics.shared.scores import notes


def usable_targets(evaluation: Evaluation, features: Features) -> Rows:
    """Rows of the targets with a face and an embedding that has a direction."""
    if not len(evaluation.targets):
        return np.empty(0, dtype=np.int64)
    ok = (evaluation.targets["status"] == "ok").to_numpy(dtype=bool)
    return np.flatnonzero(ok & nonzero(features.targets))


def _owners(evaluation: Evaluation, features: Features) -> list[tuple[object, int]]:
    """Subject and row of each usable target."""
    rows = usable_targets(evaluation, features)
    return list(zip(subjects(evaluation.targets)[rows], rows.tolist(), strict=True)) if len(rows) else []


def target_pairs(people: NDArray[np.object_], evaluation: Evaluation, features: Features) -> tuple[Rows, Rows]:
    """All pairs of a row and a usable target of the same subject.

    Args:
        people: (n,) the subject of each row.
        evaluation: has the targets.
        features: of the recogniser.

    Returns:
        Positions in `people` and rows of `Evaluation.targets`, (k,) each, in ascending order of the former.
    """
    by_subject: dict[object, list[int]] = {}
    for name, row in _owners(evaluation, features):
        by_subject.setdefault(name, []).append(row)
    mine = [by_subject.get(name, []) for name in people]
    position = np.repeat(np.arange(len(people)), [len(rows) for rows in mine])
    return position, np.array([row for rows in mine for row in rows], dtype=np.int64)


def mean_by(position: Rows, values: Floats, size: int) -> Floats:
    """(size,) mean of the values at each position; NaN where there is none.

    >>> mean_by(np.array([0, 0, 2]), np.array([1.0, 3.0, 5.0]), 3)
    array([ 2., nan,  5.])
    """
    with np.errstate(invalid="ignore"):
        return np.bincount(position, values, minlength=size) / np.bincount(position, minlength=size)


def with_targets(evaluation: Evaluation, features: Features, eligibility: Eligibility) -> Eligibility:
    """Return the eligibility with the samples of subjects without a usable target made ineligible, and a note."""
    known = {name for name, _ in _owners(evaluation, features)}
    some = np.array([name in known for name in subjects(evaluation.samples)], dtype=bool)
    without = len(set(eligibility.item[eligibility.trial & ~some]))
    lost = f"{without} items have no usable target" if without else ""
    return replace(eligibility.among(some), note=notes(eligibility.note, lost))
