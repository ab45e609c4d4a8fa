"""CMMD: the kernel distance between CLIP embeddings of the samples and of the references."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.metrics.functional.cosine import unit
from bench.metrics.functional.mmd import Terms, terms
from bench.metrics.protocol import Evaluation, Metric, Number, Pairing, Result, Score, Statistic
from bench.metrics.shared.eligibility import eligibility_of, nonzero, subjects
from bench.metrics.shared.frechet_scores import ranking
from bench.metrics.shared.kernel_scores import excluded_score
from bench.metrics.shared.population import real_side
from bench.metrics.shared.scores import absent, notes, plain
from bench.metrics.shared.subset import LIMIT, subset

NAME = "cmmd"
SIGMA = 10.0
SCALE = 1000.0


def cmmd_terms(x: NDArray[Any], y: NDArray[Any], subjects_x: NDArray[Any], subjects_y: NDArray[Any]) -> Terms:
    """Return the terms of CMMD before scaling: kernel exp(-|a - b|^2 / (2 sigma^2)) on rows of length 1, sigma 10.

    >>> x, y, names = np.array([[2.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 1.0], [0.0, 3.0]]), np.array([0, 1])
    >>> float(round(SCALE * cmmd_terms(x, y, names, names).biased(), 6))  # 2000 (1 - exp(-0.01))
    19.900333
    """
    return terms(unit(x), unit(y), subjects_x, subjects_y, lambda products: np.exp((products - 1.0) / SIGMA**2))


def compute(evaluation: Evaluation) -> Result:
    """Return CMMD as published (`distance`, all pairs) and without pairs of the same subject (`excluded`)."""
    scores: list[Score] = []
    for variant in evaluation.of_role("clip", evaluation.features):
        part, rows, note = subset(evaluation, [variant])
        drawn = len(rows) < len(evaluation.samples)
        scores += _variant(part, Number(NAME, variant, "distance"), note, drawn)
    return Result(tuple(scores) or (absent(Number(NAME, "", "distance"), "no CLIP extractor was run"),))


def _variant(evaluation: Evaluation, number: Number, note: str, drawn: bool) -> list[Score]:
    features = evaluation.features[number.variant]
    eligibility = eligibility_of(evaluation, features, usable=nonzero)
    real = real_side(evaluation, number.variant, nonzero, LIMIT)
    counts = {"n": int(eligibility.valid.sum()), "n_items": len(real.rows), **eligibility.counts()}
    note = notes(note, ranking(eligibility), eligibility.note, real.note)
    if min(counts["n"], counts["n_items"]) < 2:
        return [absent(number, notes("needs 2 samples and 2 references", note), drawn=drawn, **counts)]
    people = subjects(evaluation.samples)[eligibility.valid]
    sums = cmmd_terms(real.rows, features.samples[eligibility.valid], real.owners, people)
    published = Score(number, plain(SCALE * max(0.0, sums.biased())), drawn=drawn, note=note, **counts)
    return [published, excluded_score(number._replace(statistic="excluded"), sums, note, counts, SCALE, drawn)]


METRIC = Metric(
    name=NAME,
    version=1,
    title="CMMD",
    unit="MMD^2 x 1000",
    higher_is_better=False,
    range=(0.0, None),
    source="Jayasumana et al., CVPR 2024 (CLIP ViT-L/14@336, sigma 10)",
    needs=("clip",),
    statistics=(
        Statistic("distance", "distance"),
        Statistic("excluded", "without same subjects", range=(None, None)),
    ),
    compute=compute,
    pairing=Pairing.NONE,
    distribution=True,
)
