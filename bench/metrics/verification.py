"""Verification: how often a sample fails to verify as its person, at a threshold that strangers rarely pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.metrics.functional.block_sums import Codes, shared_codes
from bench.metrics.functional.cosine import DECIMALS, Floats, blocks, unit
from bench.metrics.id_similarity import similarities
from bench.metrics.protocol import Evaluation, Metric, Result, Score
from bench.metrics.shared.cache import once
from bench.metrics.shared.eligibility import Mask, Standing, directed, subjects, usable_references
from bench.metrics.shared.scores import Name, absent, item_values, notes, recognisers, together, with_interval
from bench.metrics.shared.subset import chosen, subset
from bench.statistics import clustered_rate, dyadic_rate

NAME = "verification"
LEVELS: Mapping[str, float] = {"1e-2": 1e-2, "1e-3": 1e-3}
"""The false match rates at which thresholds are set, by the name that statistics carry."""
PAIRS_PER_ERROR = 10
"""A threshold at a rate needs this many times 1/rate impostor pairs."""
REFERENCE_LIMIT = 4_000
"""References up to which all pairs set the threshold; above it those of a seeded subset of subjects."""


@dataclass(frozen=True)
class Threshold:
    """The smallest float64 t with share(s >= t) <= FMR, or None and the reason; from how many pairs and subjects."""

    value: float | None
    n_pairs: int
    n_subjects: int
    note: str = ""


def impostor_scores(embeddings: NDArray[np.float32], people: NDArray[np.object_]) -> Floats:
    """(k,) cosines, rounded to `DECIMALS`, of all pairs of rows that belong to different subjects.

    Args:
        embeddings: (n, d), raw or normalised.
        people: (n,) the subject of each row.
    """
    rows, codes = unit(embeddings), pd.factorize(people)[0]
    parts = [np.empty(0)]
    for part in blocks(len(rows), 1024):
        table = rows[part] @ rows[part.start :].T
        later = np.arange(table.shape[1]) > np.arange(len(table))[:, None]
        parts.append(table[later & (codes[part][:, None] != codes[part.start :])])
    return np.asarray(np.round(np.concatenate(parts), DECIMALS), dtype=np.float64)


def threshold_at(scores: Floats, fmr: float) -> float:
    """The smallest float64 t for which the share of `scores` >= t is at most `fmr`: just above one of the scores.

    With k the largest whole number for which k / n <= fmr, that is the next float after the (k+1)-th largest score:
    `s >= t` is the same as "larger than the (k+1)-th largest". Equal scores are on the same side.

    Args:
        scores: (n,) impostor scores, n >= 1.
        fmr: below 1.

    >>> scores = np.array([0.1, 0.2, 0.3, 0.4])
    >>> bool(threshold_at(scores, 0.25) > 0.3), bool((scores >= threshold_at(scores, 0.25)).mean() == 0.25)
    (True, True)
    >>> bool((np.array([0.1, 0.4, 0.4, 0.4]) >= threshold_at(np.array([0.1, 0.4, 0.4, 0.4]), 0.5)).any())
    False
    """
    size = len(scores)
    above = max(k for k in (int(fmr * size) + step for step in (-1, 0, 1)) if k == 0 or k / size <= fmr)
    return float(np.nextafter(np.partition(scores, size - 1 - above)[size - 1 - above], np.inf))


@once
def thresholds(evaluation: Evaluation, recogniser: str) -> dict[str, Threshold]:
    """The threshold at each of `LEVELS`, over pairs of references of different subjects; one per dataset and network.

    n/a below `PAIRS_PER_ERROR` / FMR pairs. It depends on the references alone, so all methods share it.
    """
    features = evaluation.features[recogniser]
    rows = np.flatnonzero(usable_references(evaluation, features, directed))
    people = subjects(evaluation.references)[rows]
    kept = chosen(people, REFERENCE_LIMIT, evaluation.seed)
    scores = impostor_scores(features.references[rows[kept]], people[kept])
    note = "" if len(kept) == len(rows) else f"from {len(kept)} of {len(rows)} references, drawn by seed"
    return {level: _threshold(scores, fmr, len(set(people[kept])), note) for level, fmr in LEVELS.items()}


def _threshold(scores: Floats, fmr: float, n_subjects: int, note: str) -> Threshold:
    needed = round(PAIRS_PER_ERROR / fmr)
    if len(scores) < needed:
        reason = f"{len(scores)} pairs of references of different subjects; {needed} are needed at FMR {fmr:g}"
        return Threshold(None, len(scores), n_subjects, reason)
    return Threshold(threshold_at(scores, fmr), len(scores), n_subjects, note)


def matches(values: Floats, threshold: float) -> Mask:
    """Which cosines verify: rounded to `DECIMALS`, at or above the threshold; NaN (a failure) does not."""
    return np.round(values, DECIMALS) >= threshold


def verified(evaluation: Evaluation) -> Iterator[tuple[str, Mask | None, str]]:
    """For each recogniser and level: its label "<recogniser>@<level>", the samples that verify, or None and why not."""
    for recogniser in evaluation.recognisers:
        if recogniser not in evaluation.features:
            continue
        values, _ = similarities(evaluation, recogniser)
        for level, threshold in thresholds(evaluation, recogniser).items():
            label = f"{recogniser}@{level}"
            yield (
                (label, None, threshold.note)
                if threshold.value is None
                else (label, matches(values, threshold.value), "")
            )


def compute(evaluation: Evaluation, given: Mapping[str, Mapping[str, float]] | None = None) -> Result:
    """FNMR, threshold and achieved FMR at each level, under every recogniser.

    Args:
        evaluation: tables and embeddings.
        given: recogniser -> level (a name, "1e-3") -> threshold to use instead of the calibrated one.
    """
    panel, scores = recognisers(evaluation, NAME, "fnmr@1e-3")
    tables: list[pd.DataFrame] = []
    for recogniser in panel:
        own = {level: Threshold(t, 0, 0, "given") for level, t in (given or {}).get(recogniser, {}).items()}
        calibrated = own or thresholds(evaluation, recogniser)
        values, who = similarities(evaluation, recogniser)
        for level, threshold in reversed(calibrated.items()):
            scores += _at_level(evaluation, values, who, (NAME, recogniser, level), threshold)
            tables += _items(evaluation, values, who, (NAME, recogniser, f"fnmr@{level}"), threshold)
        scores += _achieved(evaluation, recogniser, calibrated)
    return Result(tuple(scores), None, together(tables))


def fnmr(evaluation: Evaluation, values: Floats, trial: Mask, name: Name, threshold: Threshold, **counts: int) -> Score:
    """Share of the trials that don't verify, with its clustered score interval."""
    counts = {"n": int(trial.sum())} | counts
    if threshold.value is None or not trial.any():
        return absent(name, threshold.note or "no eligible sample", **counts)
    errors = ~matches(values[trial], threshold.value)
    interval = clustered_rate(errors, subjects(evaluation.samples)[trial])
    return with_interval(name, errors.mean(), interval, note=threshold.note, **counts)


def _at_level(evaluation: Evaluation, values: Floats, who: Standing, name: Name, threshold: Threshold) -> list[Score]:
    metric, recogniser, level = name
    missed = fnmr(evaluation, values, who.eligible, (metric, recogniser, f"fnmr@{level}"), threshold, **who.counts())
    cut = Score(
        metric,
        recogniser,
        f"threshold@{level}",
        threshold.value,
        n=threshold.n_subjects,
        n_pairs=threshold.n_pairs,
        note=notes(threshold.note, f"over {threshold.n_subjects} subjects"),
    )
    return [missed, cut]


def _items(
    evaluation: Evaluation, values: Floats, who: Standing, name: Name, threshold: Threshold
) -> list[pd.DataFrame]:
    if threshold.value is None:
        return []
    errors = 1.0 - matches(values, threshold.value)
    return [item_values(evaluation, who.item[who.eligible], errors[who.eligible], name)]


def _achieved(evaluation: Evaluation, recogniser: str, calibrated: Mapping[str, Threshold]) -> list[Score]:
    """False match rate of valid samples against the references of other subjects, at each level's threshold."""
    part, _, note = subset(evaluation, [recogniser])
    who = similarities(part, recogniser)[1]
    rows, columns = (
        np.flatnonzero(who.valid),
        np.flatnonzero(usable_references(part, part.features[recogniser], directed)),
    )
    people, probes, gallery = shared_codes(subjects(part.samples)[rows], subjects(part.references)[columns])
    cuts = {level: threshold.value for level, threshold in calibrated.items() if threshold.value is not None}
    features = part.features[recogniser]
    found = _false_matches(features.samples[rows], features.references[columns], probes, gallery, cuts)
    made = np.bincount(probes, minlength=len(people)), np.bincount(gallery, minlength=len(people))
    n_pairs, scores = len(rows) * len(columns) - int(made[0] @ made[1]), []
    for level, threshold in calibrated.items():
        name, counts = (NAME, recogniser, f"achieved_fmr@{level}"), {"n": len(rows), "n_pairs": n_pairs, **who.counts()}
        if level not in cuts or not n_pairs:
            scores.append(absent(name, threshold.note or "no sample of another subject", **counts))
            continue
        rate, interval = len(found[level][0]) / n_pairs, dyadic_rate(*found[level], *made)
        scores.append(with_interval(name, rate, interval, note=notes(threshold.note, note), **counts))
    return scores


def _false_matches(
    samples: NDArray[np.float32],
    references: NDArray[np.float32],
    probes: Codes,
    gallery: Codes,
    cuts: Mapping[str, float],
) -> dict[str, tuple[Codes, Codes]]:
    """For each level the subjects of the sample and of the reference of every comparison that falsely matches."""
    found: dict[str, list[tuple[Codes, Codes]]] = {level: [] for level in cuts}
    others = unit(references).T
    for part in blocks(len(samples), 1024):
        table = np.where(probes[part][:, None] == gallery, -np.inf, unit(samples[part]) @ others)
        for level, cut in cuts.items():
            i, j = np.nonzero(matches(table, cut))
            found[level].append((probes[part][i], gallery[j]))
    nothing = np.empty(0, dtype=np.int64)
    return {
        level: (np.concatenate([nothing, *(a for a, _ in parts)]), np.concatenate([nothing, *(b for _, b in parts)]))
        for level, parts in found.items()
    }


METRIC = Metric(
    name=NAME,
    version=1,
    unit="rate",
    higher_is_better=False,
    range=(0.0, 1.0),
    reference="ISO/IEC 19795-1; intervals: Fogliato, Patil, Perona, IJCV 2024",
    needs=("recognition",),
    compute=compute,
)
