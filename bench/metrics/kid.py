"""KID: the kernel distance between Inception features of the samples and of the references."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from bench.metrics.cosine import Floats
from bench.metrics.frechet_scores import ranking
from bench.metrics.mmd import Terms, terms
from bench.metrics.population import real_side
from bench.metrics.protocol import Evaluation, Features, Metric, Result, Score
from bench.metrics.scores import absent, named, notes, number
from bench.metrics.standing import standing, subjects
from bench.metrics.subset import LIMIT, subset
from bench.statistics import few

NAME = "kid"


def kid_terms(x: NDArray[Any], y: NDArray[Any], subjects_x: NDArray[Any], subjects_y: NDArray[Any]) -> Terms:
    """The terms of KID, with the kernel (x.y / d + 1)^3.

    >>> import numpy as np
    >>> x, y = np.array([[0.0], [1.0]]), np.array([[1.0], [1.0]])
    >>> kid_terms(x, y, np.array([0, 1]), np.array([0, 1])).plain()  # 1 + 8 - 2 (1 + 1 + 8 + 8) / 4
    0.0
    """
    dimension = x.shape[1]

    def cubed(products: Floats) -> Floats:
        base = products / dimension + 1.0
        return base * base * base  # many times as fast as base**3

    return terms(x, y, subjects_x, subjects_y, cubed)


def compute(evaluation: Evaluation) -> Result:
    """KID without pairs of the same subject (`excluded`, with its interval) and over all pairs (`plain`)."""
    scores: list[Score] = []
    for variant in named(evaluation.features, "inception"):
        part, _, note = subset(evaluation, [variant])
        scores += _variant(part, variant, part.features[variant], note)
    return Result(tuple(scores) or (absent((NAME, "", "excluded"), "no inception extractor was run"),))


def _variant(evaluation: Evaluation, variant: str, features: Features, note: str) -> list[Score]:
    who, real = standing(evaluation, features), real_side(evaluation, variant, limit=LIMIT)
    counts = {"n": int(who.valid.sum()), "n_items": len(real.rows), **who.counts()}
    note = notes(note, ranking(who), who.note, real.note)
    if min(counts["n"], counts["n_items"]) < 2:
        return [absent((NAME, variant, "excluded"), notes("needs 2 samples and 2 references", note), **counts)]
    people = subjects(evaluation.samples)[who.valid]
    sums = kid_terms(real.rows, features.samples[who.valid], real.owners, people)
    plain = Score(NAME, variant, "plain", number(sums.plain()), note=note, **counts)
    return [excluded_score((NAME, variant, "excluded"), sums, note, counts), plain]


def excluded_score(
    name: tuple[str, str, str], sums: Terms, note: str, counts: dict[str, Any], scale: float = 1.0
) -> Score:
    """The distance without pairs of the same subject, its interval from leaving out one subject at a time."""
    value, result = number(sums.excluded()), sums.jackknife()
    if value is None:
        return absent(name, notes("needs 2 subjects among samples and among references", note), **counts)
    if result is None:
        return Score(*name, scale * value, note=notes(note, "no interval: too few subjects"), **counts)
    note = notes(note, few(result.n_groups))
    return Score(*name, scale * value, scale * result.low, scale * result.high, note=note, **counts)


METRIC = Metric(
    name=NAME,
    version=1,
    unit="",
    higher_is_better=False,
    range=(None, None),
    reference="Binkowski et al., ICLR 2018; exclusion of same-subject pairs: ours",
    needs=("inception",),
    compute=compute,
)
