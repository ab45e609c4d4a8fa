"""The thresholds of an evaluation: calibrated on its references, one per recogniser and false match rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from bench.metrics.functional.arrays import Floats, Mask
from bench.metrics.functional.thresholds import impostor_scores, level_name, matches, threshold_at
from bench.metrics.protocol import Evaluation, Number, Score
from bench.metrics.shared.cache import cached
from bench.metrics.shared.eligibility import nonzero, people, subjects, usable_references
from bench.metrics.shared.scores import absent, with_interval
from bench.metrics.shared.similarity import similarities
from bench.metrics.shared.subset import chosen
from bench.statistics import clustered_rate

PAIRS_PER_ERROR = 10
"""A threshold at a rate needs this many times 1/rate impostor pairs."""


REFERENCE_LIMIT = 4_000
"""References up to which all pairs set the threshold; above it those of a seeded subset of subjects."""


@dataclass(frozen=True)
class Threshold:
    """A threshold of similarity at a false match rate.

    Attributes:
        value: the smallest float64 t with share(s >= t) <= FMR; None where there are too few pairs.
        n_pairs: impostor pairs behind it.
        n_subjects: subjects of these pairs.
        drawn: it is from a seeded part of the references.
        note: why there is none, or what it was made from.
    """

    value: float | None
    n_pairs: int
    n_subjects: int
    drawn: bool = False
    note: str = ""


@cached
def thresholds(evaluation: Evaluation, recogniser: str) -> dict[str, Threshold]:
    """Return the threshold at each of the evaluation's levels, the laxest first, over pairs of different subjects.

    n/a below `PAIRS_PER_ERROR` / FMR pairs. It depends on the references alone, so all methods share it.
    """
    features = evaluation.features[recogniser]
    rows = np.flatnonzero(usable_references(evaluation, features, nonzero))
    owners = subjects(evaluation.references)[rows]
    kept = chosen(owners, REFERENCE_LIMIT, evaluation.seed)
    scores = impostor_scores(features.references[rows[kept]], owners[kept], features.distance)
    drawn = len(kept) < len(rows)
    note = f"from {len(kept)} of {len(rows)} references, drawn by seed" if drawn else ""
    return {
        level_name(fmr): _threshold(scores, fmr, Threshold(None, len(scores), len(set(owners[kept])), drawn, note))
        for fmr in sorted(set(evaluation.fmr_levels), reverse=True)
    }


def _threshold(scores: Floats, fmr: float, base: Threshold) -> Threshold:
    """Return `base` with its value, or with the reason why there is none."""
    needed = round(PAIRS_PER_ERROR / fmr)
    if len(scores) < needed:
        reason = f"{len(scores)} pairs of references of different subjects; {needed} are needed at FMR {fmr:g}"
        return replace(base, note=reason)
    return replace(base, value=threshold_at(scores, fmr))


@dataclass(frozen=True, eq=False)
class Verified:
    """Which samples verify under one recogniser at one level.

    Attributes:
        recogniser: its name.
        level: name of the false match rate.
        samples: (n_samples,) those that verify; None where there is no threshold.
        note: why there is none.
    """

    recogniser: str
    level: str
    samples: Mask | None
    note: str = ""


def verified(evaluation: Evaluation) -> Iterator[Verified]:
    """Yield which samples verify, for each recogniser that was run and each level."""
    for recogniser in evaluation.recognisers:
        if recogniser not in evaluation.features:
            continue
        values, _ = similarities(evaluation, recogniser)
        for level, threshold in thresholds(evaluation, recogniser).items():
            passed = None if threshold.value is None else matches(values, threshold.value)
            yield Verified(recogniser, level, passed, threshold.note if passed is None else "")


def fnmr(
    evaluation: Evaluation, values: Floats, trial: Mask, number: Number, threshold: Threshold, **counts: int
) -> Score:
    """Return the share of the trials that do not verify, with its clustered score interval."""
    counts = {"n": int(trial.sum())} | counts
    if threshold.value is None or not trial.any():
        return absent(number, threshold.note or "no eligible sample", drawn=threshold.drawn, **counts)
    errors = ~matches(values[trial], threshold.value)
    interval = clustered_rate(errors, people(evaluation)[trial])
    return with_interval(number, errors.mean(), interval, note=threshold.note, drawn=threshold.drawn, **counts)
