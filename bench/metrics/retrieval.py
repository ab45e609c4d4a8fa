"""Retrieval: is a sample closer to its own reference than to that of any other subject?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.metrics.functional.arrays import Floats, Mask, Rows
from bench.metrics.functional.block_sums import shared_codes
from bench.metrics.functional.cosine import DECIMALS, blocks
from bench.metrics.functional.similarity import Distance, comparable, table
from bench.metrics.protocol import Evaluation, Metric, Number, Recomputed, Result, Score, Statistic, Tables
from bench.metrics.shared.eligibility import Eligibility, nonzero, subjects, usable_references
from bench.metrics.shared.recompute import ALL, eligibility_from, values_of
from bench.metrics.shared.scores import absent, concat, item_values, mean_score, notes, recognisers, with_interval
from bench.metrics.shared.similarity import similarities
from bench.metrics.shared.subset import subset
from bench.statistics import clustered_rate
from bench.threads import computed

NAME = "retrieval"


def nearest_other(
    samples: NDArray[np.float32],
    people: NDArray[np.object_],
    gallery: NDArray[np.float32],
    owners: NDArray[np.object_],
    distance: Distance = "cosine",
) -> Floats:
    """Return the (n,) largest similarity of each sample to a gallery row of another subject, rounded; -inf without one.

    >>> two = np.array(["a", "b"], dtype=object)
    >>> nearest_other(np.eye(2), two, np.array([[1.0, 0.0], [0.6, 0.8]]), two)
    array([0.6, 0. ])
    """
    _, probes, known = shared_codes(people, owners)
    rows, others = comparable(samples, distance), comparable(gallery, distance)

    def nearest(part: slice) -> Floats:
        values = table(rows[part], others, distance)
        values[probes[part][:, None] == known] = -np.inf
        return np.asarray(values.max(axis=1, initial=-np.inf))

    found = computed(nearest, blocks(len(samples), 1024))
    return np.round(np.concatenate([np.empty(0), *found]), DECIMALS)


def margins(evaluation: Evaluation, recogniser: str) -> tuple[Floats, Eligibility, Rows]:
    """Return the margin of each sample, which samples count, and the gallery: the rows of the usable references.

    The margin is the similarity to the own reference minus the largest one to another subject's: (n_samples,), NaN for
    a failed sample, inf where nobody else is in the gallery.
    """
    features = evaluation.features[recogniser]
    people = subjects(evaluation.samples)
    own, eligibility = similarities(evaluation, recogniser)
    gallery = np.flatnonzero(usable_references(evaluation, features, nonzero))
    owners, rows = subjects(evaluation.references)[gallery], np.flatnonzero(eligibility.valid)
    margin = np.full(len(people), np.nan)
    rival = nearest_other(features.samples[rows], people[rows], features.references[gallery], owners, features.distance)
    margin[rows] = np.round(own[rows], DECIMALS) - rival
    return margin, eligibility, gallery


def _rivals(evaluation: Evaluation, trial: Mask, gallery: Rows) -> Floats:
    """Return for each trial the number of gallery rows of other subjects."""
    owners = pd.Series(subjects(evaluation.references)[gallery])
    own = pd.Series(subjects(evaluation.samples)[trial]).map(owners.value_counts()).fillna(0)
    return np.asarray(len(owners) - own.to_numpy(dtype=np.float64), dtype=np.float64)


def _scores(
    evaluation: Evaluation,
    recogniser: str,
    margin: Floats,
    eligibility: Eligibility,
    gallery: Rows,
    note: str,
    drawn: bool,
) -> list[Score]:
    trial = eligibility.trial
    rivals = _rivals(evaluation, trial, gallery)
    counts: dict[str, Any] = {"n": int(trial.sum()), "n_items": len(gallery), **eligibility.counts()}
    if not trial.any() or not rivals.max():
        reason = notes("no reference of another subject" if trial.any() else "no eligible sample", note)
        names = ("rank1", "chance", "margin")
        return [absent(Number(NAME, recogniser, name), reason, drawn=drawn, **counts) for name in names]
    rank1 = rank1_score(evaluation, recogniser, margin, trial, note=note, drawn=drawn, **counts)
    level = float((1 / (1 + rivals)).mean())
    chance = Score(Number(NAME, recogniser, "chance"), level, note=note, drawn=drawn, **counts)
    counts |= {"n": int(eligibility.valid.sum())}
    return [rank1, chance, margin_score(evaluation, recogniser, margin, eligibility, note=note, drawn=drawn, **counts)]


def rank1_score(evaluation: Evaluation, recogniser: str, margin: Floats, trial: Mask, **fields: Any) -> Score:
    """Return the share of the trials with a positive margin, with its clustered score interval."""
    hit = margin[trial] > 0
    interval = clustered_rate(hit, subjects(evaluation.samples)[trial])
    return with_interval(Number(NAME, recogniser, "rank1"), hit.mean(), interval, **fields)


def margin_score(
    evaluation: Evaluation, recogniser: str, margin: Floats, eligibility: Eligibility, **fields: Any
) -> Score:
    """Return the mean margin of the valid samples."""
    valid = eligibility.valid
    people = subjects(evaluation.samples)[valid]
    number = Number(NAME, recogniser, "margin")
    return mean_score(number, margin[valid], people, evaluation.seed, empty="no valid sample", **fields)


def compute(evaluation: Evaluation) -> Result:
    """Return the rank-1 rate, its chance level and the mean margin, under every recogniser."""
    panel, scores = recognisers(evaluation, NAME, "rank1")
    columns: dict[str, Floats] = {}
    tables: list[pd.DataFrame] = []
    for recogniser in panel:
        part, rows, note = subset(evaluation, [recogniser])
        margin, eligibility, gallery = margins(part, recogniser)
        drawn = len(rows) < len(evaluation.samples)
        scores += _scores(part, recogniser, margin, eligibility, gallery, notes(note, eligibility.note), drawn)
        column = np.full(len(evaluation.samples), np.nan)
        column[rows] = np.where(np.isfinite(margin), margin, np.nan)
        columns[f"{NAME}[{recogniser}]"] = column
        hits = np.where(eligibility.trial, margin > 0, np.nan)[eligibility.trial]
        tables.append(item_values(part, eligibility.item[eligibility.trial], hits, Number(NAME, recogniser, "rank1")))
    return Result(tuple(scores), pd.DataFrame(columns) if columns else None, concat(tables))


def recompute(tables: Tables) -> Recomputed | None:
    """Compute rank 1 and margin again from the margin of each sample; None where only a part was compared.

    Raises:
        Contradiction: a sample that counts has no margin, or another one has.
    """
    if tables.scores[Number(NAME, tables.variant, "rank1")]["drawn"]:
        return None
    evaluation = tables.evaluation
    eligibility = eligibility_from(tables, tables.variant, against_reference=True)
    margin = values_of(tables, tables.column, eligibility)
    trial = eligibility.trial
    counts = {"n": int(trial.sum()), **eligibility.counts()}
    rank1 = rank1_score(evaluation, tables.variant, margin, trial, **counts)
    counts |= {"n": int(eligibility.valid.sum())}
    mean = margin_score(evaluation, tables.variant, margin, eligibility, **counts)
    hits = (margin[trial] > 0).astype(np.float64)
    return Recomputed([rank1, mean], ALL, item_values(evaluation, eligibility.item[trial], hits, rank1.number))


METRIC = Metric(
    name=NAME,
    version=1,
    title="retrieval",
    unit="rate",
    higher_is_better=True,
    range=(0.0, 1.0),
    source="closed-set rank-1 identification, ISO/IEC 19795-1",
    needs=("recognition",),
    statistics=(
        Statistic("rank1", "rank 1", headline=True),
        Statistic("chance"),
        Statistic("margin", "margin to the nearest other", range=(-2.0, 2.0)),
    ),
    compute=compute,
    sample_range=(-2.0, 2.0),
    recompute=recompute,
)
