"""Verification: how often a sample fails to verify as its person, at a threshold that strangers rarely pass."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from bench.metrics.functional.arrays import Floats
from bench.metrics.functional.block_sums import Codes, shared_codes
from bench.metrics.functional.cosine import blocks
from bench.metrics.functional.similarity import Distance, comparable, table
from bench.metrics.functional.thresholds import matches
from bench.metrics.protocol import Evaluation, Metric, Number, Recomputed, Result, Score, Statistic, Tables
from bench.metrics.shared.eligibility import Eligibility, nonzero, subjects, usable_references
from bench.metrics.shared.recompute import ALL, eligibility_from, values_of
from bench.metrics.shared.scores import absent, concat, item_values, notes, recognisers, with_interval
from bench.metrics.shared.similarity import similarities
from bench.metrics.shared.strangers import doubts
from bench.metrics.shared.subset import subset
from bench.metrics.shared.thresholds import Threshold, fnmr, thresholds
from bench.statistics import dyadic_rate
from bench.threads import computed

NAME = "verification"


def compute(evaluation: Evaluation, given: Mapping[str, Mapping[str, float]] | None = None) -> Result:
    """Return FNMR, threshold and achieved FMR at each level, under every recogniser.

    Args:
        evaluation: tables and embeddings.
        given: recogniser -> level (a name, "1e-3") -> threshold to use instead of the calibrated one.

    >>> from bench.metrics.shared.example import example, numbers
    >>> numbers(compute(example(), {"arcface": {"1e-3": 0.7}}), "fnmr", "threshold")  # 0.6 and a failure do not verify
    [0.5, 0.7]
    """
    panel, scores = recognisers(evaluation, NAME, "fnmr")
    tables: list[pd.DataFrame] = []
    for recogniser in panel:
        own = {level: Threshold(t, 0, 0, note="given") for level, t in (given or {}).get(recogniser, {}).items()}
        calibrated = own or thresholds(evaluation, recogniser)
        values, eligibility = similarities(evaluation, recogniser)
        for level, threshold in reversed(calibrated.items()):
            number = Number(NAME, recogniser, "fnmr", level)
            scores += _at_level(evaluation, values, eligibility, number, threshold)
            tables += _items(evaluation, values, eligibility, number, threshold)
        scores += _achieved(evaluation, recogniser, calibrated)
    return Result(tuple(scores), None, concat(tables))


def _at_level(
    evaluation: Evaluation, values: Floats, eligibility: Eligibility, number: Number, threshold: Threshold
) -> list[Score]:
    missed = fnmr(evaluation, values, eligibility.trial, number, threshold, **eligibility.counts())
    note = notes(threshold.note, f"over {threshold.n_subjects} subjects", doubts(evaluation, number.variant))
    cut = Score(
        number._replace(statistic="threshold"),
        threshold.value,
        n=threshold.n_subjects,
        n_pairs=threshold.n_pairs,
        drawn=threshold.drawn,
        note=note,
    )
    return [missed, cut]


def _items(
    evaluation: Evaluation, values: Floats, eligibility: Eligibility, number: Number, threshold: Threshold
) -> list[pd.DataFrame]:
    if threshold.value is None:
        return []
    errors = 1.0 - matches(values, threshold.value)
    return [item_values(evaluation, eligibility.item[eligibility.trial], errors[eligibility.trial], number)]


def _achieved(evaluation: Evaluation, recogniser: str, calibrated: Mapping[str, Threshold]) -> list[Score]:
    """Return the false match rate of valid samples against references of other subjects, at each threshold."""
    part, taken, note = subset(evaluation, [recogniser])
    drawn = len(taken) < len(evaluation.samples)
    eligibility = similarities(part, recogniser)[1]
    features = part.features[recogniser]
    rows = np.flatnonzero(eligibility.valid)
    columns = np.flatnonzero(usable_references(part, features, nonzero))
    people, probes, gallery = shared_codes(subjects(part.samples)[rows], subjects(part.references)[columns])
    cuts = {level: threshold.value for level, threshold in calibrated.items() if threshold.value is not None}
    samples = comparable(features.samples[rows], features.distance)
    references = comparable(features.references[columns], features.distance)
    found = _false_matches(samples, references, features.distance, probes, gallery, cuts)
    made = np.bincount(probes, minlength=len(people)), np.bincount(gallery, minlength=len(people))
    n_pairs = len(rows) * len(columns) - int(made[0] @ made[1])
    counts = {"n": len(rows), "n_pairs": n_pairs, **eligibility.counts()}
    scores = []
    for level, threshold in calibrated.items():
        number = Number(NAME, recogniser, "achieved_fmr", level)
        if level not in cuts or not n_pairs:
            reason = threshold.note or "no sample of another subject"
            scores.append(absent(number, reason, drawn=drawn, **counts))
            continue
        rate = len(found[level][0]) / n_pairs
        interval = dyadic_rate(*found[level], *made)
        scores.append(with_interval(number, rate, interval, note=notes(threshold.note, note), drawn=drawn, **counts))
    return scores


def _false_matches(
    samples: Floats,
    references: Floats,
    distance: Distance,
    probes: Codes,
    gallery: Codes,
    cuts: Mapping[str, float],
) -> dict[str, tuple[Codes, Codes]]:
    """Return for each level the subjects of sample and reference of every comparison that falsely matches."""

    def passing(part: slice) -> list[tuple[Codes, Codes]]:
        values = table(samples[part], references, distance)
        values[probes[part][:, None] == gallery] = -np.inf
        pairs = (np.nonzero(matches(values, cut)) for cut in cuts.values())
        return [(probes[part][i], gallery[j]) for i, j in pairs]

    parts = [*computed(passing, blocks(len(samples), 1024))]
    nothing = np.empty(0, dtype=np.int64)

    def joined(level: int, side: int) -> Codes:
        return np.concatenate([nothing, *(found[level][side] for found in parts)])

    return {level: (joined(place, 0), joined(place, 1)) for place, level in enumerate(cuts)}


def recompute(tables: Tables) -> Recomputed:
    """Compute FNMR again at the thresholds that the bundle states.

    Bundles of one list must state the same thresholds; the thresholds themselves need embeddings.

    Raises:
        Contradiction: a sample that counts has no similarity, or another one has.
    """
    evaluation = tables.evaluation
    eligibility = eligibility_from(tables, tables.variant, against_reference=True)
    values = values_of(tables, f"id_similarity[{tables.variant}]", eligibility)
    scores: list[Score] = []
    items: list[pd.DataFrame] = []
    for number, stated in tables.scores.items():
        if number.statistic != "threshold" or not np.isfinite(stated["value"]):
            continue
        missed, threshold = number._replace(statistic="fnmr"), Threshold(float(stated["value"]), 0, 0)
        scores.append(fnmr(evaluation, values, eligibility.trial, missed, threshold, **eligibility.counts()))
        items += _items(evaluation, values, eligibility, missed, threshold)
    return Recomputed(scores, ALL, concat(items))


METRIC = Metric(
    name=NAME,
    version=1,
    title="verification",
    unit="rate",
    higher_is_better=False,
    range=(0.0, 1.0),
    source="ISO/IEC 19795-1; intervals: Fogliato, Patil, Perona, IJCV 2024",
    needs=("recognition",),
    statistics=(
        Statistic("fnmr", "missed (FNMR)", headline=True, tile=True),
        Statistic("threshold", range=(-1.0, 1.0 + 1e-9), of_references=True),
        Statistic("achieved_fmr", "achieved FMR"),
    ),
    compute=compute,
    recompute=recompute,
)
