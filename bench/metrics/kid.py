"""KID: the kernel distance between Inception features of the samples and of the references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.metrics.functional.arrays import Floats
from bench.metrics.functional.mmd import Terms, terms
from bench.metrics.protocol import (
    REPLICATE,
    Evaluation,
    Metric,
    Number,
    Pairing,
    Recomputed,
    Result,
    Score,
    Statistic,
    Tables,
)
from bench.metrics.shared.eligibility import eligibility_of, subjects
from bench.metrics.shared.frechet_scores import check_place, folds, ranking, replicate_table
from bench.metrics.shared.kernel_scores import excluded_score
from bench.metrics.shared.population import real_side
from bench.metrics.shared.scores import absent, concat, notes, plain
from bench.metrics.shared.subset import LIMIT, subset

NAME = "kid"


def kid_terms(
    x: NDArray[Any],
    y: NDArray[Any],
    subjects_x: NDArray[Any],
    subjects_y: NDArray[Any],
    groups: Mapping[Any, int] | None = None,
) -> Terms:
    """Return the terms of KID, with the kernel (x.y / d + 1)^3.

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
    """Return KID without pairs of the same subject (`excluded`, with its interval) and over all pairs (`plain`).

    As `per_item`, one row per group of subjects with `excluded` without them ("replicate"): two methods on one dataset
    share the groups, so that their difference can be tested.
    """
    scores: list[Score] = []
    tables: list[pd.DataFrame] = []
    for variant in evaluation.of_role("inception", evaluation.features):
        part, rows, note = subset(evaluation, [variant])
        drawn = len(rows) < len(evaluation.samples)
        more, table = _variant(part, Number(NAME, variant, "excluded"), note, drawn)
        scores += more
        tables.append(table)
    if not scores:
        scores = [absent(Number(NAME, "", "excluded"), "no inception extractor was run")]
    return Result(tuple(scores), None, concat(tables))


def _variant(evaluation: Evaluation, number: Number, note: str, drawn: bool) -> tuple[list[Score], pd.DataFrame]:
    features = evaluation.features[number.variant]
    eligibility = eligibility_of(evaluation, features)
    real = real_side(evaluation, number.variant, limit=LIMIT)
    counts = {"n": int(eligibility.valid.sum()), "n_items": len(real.rows), **eligibility.counts()}
    note = notes(note, ranking(eligibility), eligibility.note, real.note)
    if min(counts["n"], counts["n_items"]) < 2:
        missing = notes("needs 2 samples and 2 references", note)
        return [absent(number, missing, drawn=drawn, **counts)], replicate_table(number)
    people = subjects(evaluation.samples)[eligibility.valid]
    sums = kid_terms(real.rows, features.samples[eligibility.valid], real.owners, people, folds(evaluation))
    excluded = excluded_score(number, sums, note, counts, drawn=drawn)
    value = plain(sums.plain())
    every_pair = Score(number._replace(statistic="plain"), value, drawn=drawn, note=note, **counts)
    return [excluded, every_pair], replicate_table(number, sums.without_groups())


def recompute(tables: Tables) -> Recomputed | None:
    """Check that the distance lies where its replicates allow it; nothing of it can be computed again.

    Raises:
        Contradiction: it does not.
    """
    number = Number(NAME, tables.variant, "excluded")
    replicates = tables.items.loc[tables.items["statistic"] == REPLICATE, "value"].to_numpy(dtype=np.float64)
    check_place(number, float(tables.scores[number]["value"]), replicates)
    return None


METRIC = Metric(
    name=NAME,
    version=1,
    title="KID",
    unit="",
    higher_is_better=False,
    range=(None, None),
    source="Binkowski et al., ICLR 2018; exclusion of same-subject pairs: ours",
    needs=("inception",),
    statistics=(
        Statistic("excluded", "without same subjects", headline=True, replicated=True),
        Statistic("plain", "all pairs"),
    ),
    compute=compute,
    pairing=Pairing.JACKKNIFE,
    distribution=True,
    recompute=recompute,
)
