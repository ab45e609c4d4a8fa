"""KID: the kernel distance between Inception features of the samples and of the references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from bench.metrics.functional.cosine import Floats
from bench.metrics.functional.mmd import Terms, terms
from bench.metrics.protocol import Evaluation, Features, Metric, Result, Score
from bench.metrics.shared.eligibility import standing, subjects
from bench.metrics.shared.frechet_scores import folds, ranking, replicate_table
from bench.metrics.shared.population import real_side
from bench.metrics.shared.scores import absent, named, notes, number, together
from bench.metrics.shared.subset import LIMIT, subset
from bench.statistics import few

NAME = "kid"


def kid_terms(
    x: NDArray[Any],
    y: NDArray[Any],
    subjects_x: NDArray[Any],
    subjects_y: NDArray[Any],
    groups: Mapping[Any, int] | None = None,
) -> Terms:
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

    return terms(x, y, subjects_x, subjects_y, cubed, groups)


def compute(evaluation: Evaluation) -> Result:
    """KID without pairs of the same subject (`excluded`, with its interval) and over all pairs (`plain`).

    As `per_item`, one row per group of subjects with `excluded` without them ("replicate"): two methods on one dataset
    share the groups, so that their difference can be tested.
    """
    scores: list[Score] = []
    tables: list[pd.DataFrame] = []
    for variant in named(evaluation.features, "inception"):
        part, _, note = subset(evaluation, [variant])
        more, table = _variant(part, variant, part.features[variant], note)
        scores += more
        tables.append(table)
    if not scores:
        scores = [absent((NAME, "", "excluded"), "no inception extractor was run")]
    return Result(tuple(scores), None, together(tables))


def _variant(evaluation: Evaluation, variant: str, features: Features, note: str) -> tuple[list[Score], pd.DataFrame]:
    who, real = standing(evaluation, features), real_side(evaluation, variant, limit=LIMIT)
    counts = {"n": int(who.valid.sum()), "n_items": len(real.rows), **who.counts()}
    note = notes(note, ranking(who), who.note, real.note)
    if min(counts["n"], counts["n_items"]) < 2:
        missing = notes("needs 2 samples and 2 references", note)
        return [absent((NAME, variant, "excluded"), missing, **counts)], replicate_table()
    people = subjects(evaluation.samples)[who.valid]
    sums = kid_terms(real.rows, features.samples[who.valid], real.owners, people, folds(evaluation))
    excluded = excluded_score((NAME, variant, "excluded"), sums, note, counts)
    plain = Score(NAME, variant, "plain", number(sums.plain()), note=note, **counts)
    return [excluded, plain], replicate_table((NAME, variant), sums.without_groups())


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
