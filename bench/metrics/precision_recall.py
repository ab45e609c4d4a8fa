"""Precision and recall, density and coverage: how far samples and references lie in each other's neighbourhoods."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.metrics.functional.arrays import Floats
from bench.metrics.functional.cosine import blocks
from bench.metrics.protocol import Evaluation, Metric, Number, Pairing, Result, Score, Statistic
from bench.metrics.shared.eligibility import eligibility_of
from bench.metrics.shared.frechet_scores import ranking
from bench.metrics.shared.population import real_side
from bench.metrics.shared.scores import absent, notes
from bench.metrics.shared.subset import LIMIT, subset
from bench.threads import computed

NAME = "precision_recall"
NEIGHBOURS = 3
"""k of precision and recall (Kynkaanniemi et al.)."""
DENSITY_NEIGHBOURS = 5
"""k of density and coverage (Naeem et al.)."""
_ROWS = 512
"""Rows of a table of distances."""
_SLACK = 1e-9  # relative: a distance equal to a radius is inside, whichever way the last digit was rounded


def neighbourhoods(references: NDArray[Any], samples: NDArray[Any]) -> dict[str, float]:
    """Return precision, recall, density and coverage of two feature sets, by Euclidean balls.

    The radius of a row is its distance to the k-th nearest other row of its own set. Precision: share of the samples
    in the ball of some reference; recall: share of the references in the ball of some sample (k 3). Density: number
    of reference balls around a sample, over k; coverage: share of the references with a sample in their ball (k 5).

    Args:
        references: (n, d) features, n > 5.
        samples: (m, d) features, m > 3.

    >>> line = np.arange(8.0)[:, None]
    >>> neighbourhoods(line, line)
    {'precision': 1.0, 'recall': 1.0, 'density': 1.25, 'coverage': 1.0}
    """
    x, y = (np.asarray(rows, dtype=np.float64) for rows in (references, samples))
    middle = x.mean(axis=0)  # moves no distance, keeps their digits
    x, y = x - middle, y - middle
    near, far = _radii(x, (NEIGHBOURS, DENSITY_NEIGHBOURS))
    (own,) = _radii(y, (NEIGHBOURS,))

    def counted(part: slice) -> tuple[Any, ...]:
        table = _squared(y[part], x)
        within = table <= far
        in_ball_of_sample = (table <= own[part][:, None]).any(axis=0)
        return (table <= near).any(axis=1), within.sum(axis=1), in_ball_of_sample, within.any(axis=0)

    inside, balls, holding, covered = zip(*computed(counted, blocks(len(y), _ROWS)), strict=True)
    return {
        "precision": float(np.concatenate(inside).mean()),
        "recall": float(np.any(holding, axis=0).mean()),
        "density": float(np.concatenate(balls).mean() / DENSITY_NEIGHBOURS),
        "coverage": float(np.any(covered, axis=0).mean()),
    }


def _squared(a: Floats, b: Floats) -> Floats:
    """(n, m) squared distances; those that are 0 up to rounding are 0."""
    sizes = np.add.outer(np.einsum("ij,ij->i", a, a), np.einsum("ij,ij->i", b, b))
    table = a @ b.T
    table *= 2
    np.subtract(sizes, table, out=table)
    sizes *= 1e-12
    table[table < sizes] = 0.0
    return table


def _radii(rows: Floats, neighbours: tuple[int, ...]) -> list[Floats]:
    """Squared distance (with its slack) of each row to its k-th nearest other row, for each k."""

    def nearest(part: slice) -> Floats:
        table = _squared(rows[part], rows)
        np.fill_diagonal(table[:, part], 0.0)  # a row is the nearest to itself
        table.partition(neighbours, axis=1)
        return np.asarray(table[:, neighbours].T * (1 + _SLACK))

    return list(np.concatenate([*computed(nearest, blocks(len(rows), _ROWS))], axis=1))


def compute(evaluation: Evaluation) -> Result:
    """Return precision, recall, density and coverage of the detected samples, on DINOv2 features."""
    scores: list[Score] = []
    for variant in evaluation.of_role("dinov2", evaluation.features):
        part, rows, note = subset(evaluation, [variant])
        drawn = len(rows) < len(evaluation.samples)
        scores += _variant(part, Number(NAME, variant, "precision"), note, drawn)
    return Result(tuple(scores) or (absent(Number(NAME, "", "precision"), "no dinov2 extractor was run"),))


def _variant(evaluation: Evaluation, number: Number, note: str, drawn: bool) -> list[Score]:
    features = evaluation.features[number.variant]
    eligibility = eligibility_of(evaluation, features)
    real = real_side(evaluation, number.variant, limit=LIMIT)
    counts = {"n": int(eligibility.valid.sum()), "n_items": len(real.rows), **eligibility.counts()}
    note = notes(note, ranking(eligibility), eligibility.note, real.note)
    if counts["n"] <= NEIGHBOURS or counts["n_items"] <= DENSITY_NEIGHBOURS:
        reason = f"needs {NEIGHBOURS + 1} samples and {DENSITY_NEIGHBOURS + 1} references"
        return [absent(number, notes(reason, note), drawn=drawn, **counts)]
    shares = neighbourhoods(real.rows, features.samples[eligibility.valid])
    return [
        Score(number._replace(statistic=name), value, drawn=drawn, note=note, **counts)
        for name, value in shares.items()
    ]


METRIC = Metric(
    name=NAME,
    version=1,
    title="precision and recall",
    unit="share",
    higher_is_better=True,
    range=(0.0, None),
    source="Kynkaanniemi et al., NeurIPS 2019 (k 3); Naeem et al., ICML 2020 (k 5)",
    needs=("dinov2",),
    statistics=(
        Statistic("precision"),
        Statistic("recall"),
        Statistic("density"),
        Statistic("coverage"),
    ),
    compute=compute,
    pairing=Pairing.NONE,
    distribution=True,
)
