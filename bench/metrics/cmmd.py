"""CMMD: the kernel distance between CLIP embeddings of the samples and of the references."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.metrics.functional.cosine import unit
from bench.metrics.functional.mmd import Terms, terms
from bench.metrics.kid import excluded_score
from bench.metrics.protocol import Evaluation, Features, Metric, Result, Score
from bench.metrics.shared.eligibility import directed, standing, subjects
from bench.metrics.shared.frechet_scores import ranking
from bench.metrics.shared.population import real_side
from bench.metrics.shared.scores import absent, named, notes, number
from bench.metrics.shared.subset import LIMIT, subset

NAME = "cmmd"
SIGMA = 10.0
SCALE = 1000.0


def cmmd_terms(x: NDArray[Any], y: NDArray[Any], subjects_x: NDArray[Any], subjects_y: NDArray[Any]) -> Terms:
    """The terms of CMMD before scaling: kernel exp(-|a - b|^2 / (2 sigma^2)) on rows of length 1, sigma 10.

    >>> x, y, names = np.array([[2.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 1.0], [0.0, 3.0]]), np.array([0, 1])
    >>> float(round(SCALE * cmmd_terms(x, y, names, names).biased(), 6))  # 2000 (1 - exp(-0.01))
    19.900333
    """
    return terms(unit(x), unit(y), subjects_x, subjects_y, lambda products: np.exp((products - 1.0) / SIGMA**2))


def compute(evaluation: Evaluation) -> Result:
    """CMMD as published (`distance`, all pairs) and without pairs of the same subject (`excluded`)."""
    scores: list[Score] = []
    for variant in named(evaluation.features, "clip"):
        part, _, note = subset(evaluation, [variant])
        scores += _variant(part, variant, part.features[variant], note)
    return Result(tuple(scores) or (absent((NAME, "", "distance"), "no CLIP extractor was run"),))


def _variant(evaluation: Evaluation, variant: str, features: Features, note: str) -> list[Score]:
    who, real = standing(evaluation, features, usable=directed), real_side(evaluation, variant, directed, LIMIT)
    counts = {"n": int(who.valid.sum()), "n_items": len(real.rows), **who.counts()}
    note = notes(note, ranking(who), who.note, real.note)
    if min(counts["n"], counts["n_items"]) < 2:
        return [absent((NAME, variant, "distance"), notes("needs 2 samples and 2 references", note), **counts)]
    people = subjects(evaluation.samples)[who.valid]
    sums = cmmd_terms(real.rows, features.samples[who.valid], real.owners, people)
    published = Score(NAME, variant, "distance", number(SCALE * max(0.0, sums.biased())), note=note, **counts)
    return [published, excluded_score((NAME, variant, "excluded"), sums, note, counts, SCALE)]


METRIC = Metric(
    name=NAME,
    version=1,
    unit="MMD^2 x 1000",
    higher_is_better=False,
    range=(0.0, None),
    reference="Jayasumana et al., CVPR 2024 (CLIP ViT-L/14@336, sigma 10)",
    needs=("clip",),
    compute=compute,
)
