"""The real side of a distance between distributions: the references, or a reference set from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.metrics.protocol import Evaluation
from bench.metrics.shared.eligibility import Test, finite, subjects, usable_references
from bench.metrics.shared.subset import chosen


@dataclass(frozen=True, eq=False)
class Real:
    """What the samples are compared with.

    Attributes:
        rows: (n, d) usable features.
        owners: (n,) the subject of each row; every picture of a reference set is a subject of its own.
        own: they are the evaluation's references, whose subjects the samples show.
        note: what the numbers don't show, for `Score.note`.
    """

    rows: NDArray[Any]
    owners: NDArray[Any]
    own: bool
    note: str


def real_side(evaluation: Evaluation, variant: str, usable: Test = finite, limit: int | None = None) -> Real:
    """The reference set's features where the evaluation has one, else its references'.

    Args:
        evaluation: whole, or cut down by `subset`.
        variant: name of the extractor.
        usable: which rows of a feature matrix are: `finite`, or `nonzero` for cosines.
        limit: rows of a reference set to take at most, drawn by the evaluation's seed (`LIMIT` in quadratic metrics).
    """
    population = evaluation.population.get(variant)
    if population is None:
        features = evaluation.features[variant]
        keep = usable_references(evaluation, features, usable)
        return Real(features.references[keep], subjects(evaluation.references)[keep], True, "")
    rows = np.flatnonzero(usable(population))
    names = np.array([f"picture {row} of the reference set" for row in rows], dtype=object)
    drawn = chosen(names, limit or len(rows), evaluation.seed)
    note = f"against a reference set of {len(rows)} pictures" + ("" if len(drawn) == len(rows) else f", {limit} drawn")
    return Real(population[rows[drawn]], names[drawn], False, note)
