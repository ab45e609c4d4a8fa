"""Retrieval: is a sample closer to its own reference than to that of any other subject?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.metrics.functional.cosine import DECIMALS, Floats, blocks, unit
from bench.metrics.id_similarity import similarities
from bench.metrics.protocol import Evaluation, Metric, Result, Score
from bench.metrics.shared.eligibility import Rows, Standing, directed, subjects, usable_references
from bench.metrics.shared.scores import absent, item_values, mean_score, notes, recognisers, together, with_interval
from bench.metrics.shared.subset import subset
from bench.statistics import clustered_rate

NAME = "retrieval"


def nearest_other(
    samples: NDArray[np.float32], people: NDArray[np.object_], gallery: NDArray[np.float32], owners: NDArray[np.object_]
) -> Floats:
    """(n,) largest cosine of each sample with a gallery row of another subject, rounded; -inf where there is none.

    >>> two = np.array(["a", "b"], dtype=object)
    >>> nearest_other(np.eye(2), two, np.array([[1.0, 0.0], [0.6, 0.8]]), two)
    array([0.6, 0. ])
    """
    codes, result = pd.factorize(np.concatenate([people, owners]))[0], np.full(len(samples), -np.inf)
    others = unit(gallery).T
    for part in blocks(len(samples), 1024):
        table = unit(samples[part]) @ others
        table[codes[: len(people)][part][:, None] == codes[len(people) :]] = -np.inf
        result[part] = table.max(axis=1, initial=-np.inf)
    return np.round(result, DECIMALS)


def margins(evaluation: Evaluation, recogniser: str) -> tuple[Floats, Standing, Rows]:
    """(n_samples,) cosine with the own reference minus the largest with another subject's (NaN: failed); who counts.

    Also returns the rows of the usable references, the gallery. The margin is inf where nobody else is in it.
    """
    features, people = evaluation.features[recogniser], subjects(evaluation.samples)
    own, who = similarities(evaluation, recogniser)
    gallery = np.flatnonzero(usable_references(evaluation, features, directed))
    owners, rows = subjects(evaluation.references)[gallery], np.flatnonzero(who.valid)
    margin = np.full(len(people), np.nan)
    rival = nearest_other(features.samples[rows], people[rows], features.references[gallery], owners)
    margin[rows] = np.round(own[rows], DECIMALS) - rival
    return margin, who, gallery


def _scores(
    evaluation: Evaluation, recogniser: str, margin: Floats, who: Standing, gallery: Rows, note: str
) -> list[Score]:
    people, owners = subjects(evaluation.samples), pd.Series(subjects(evaluation.references)[gallery])
    rivals = len(owners) - pd.Series(people[who.eligible]).map(owners.value_counts()).fillna(0).to_numpy(dtype=float)
    counts = {"n": int(who.eligible.sum()), "n_items": len(gallery), **who.counts()}
    if not who.eligible.any() or not rivals.max():
        reason = "no eligible sample" if not who.eligible.any() else "no reference of another subject"
        return [
            absent((NAME, recogniser, name), notes(reason, note), **counts) for name in ("rank1", "chance", "margin")
        ]
    hit, valid = margin[who.eligible] > 0, who.valid
    rank1 = with_interval(
        (NAME, recogniser, "rank1"), hit.mean(), clustered_rate(hit, people[who.eligible]), note=note, **counts
    )
    chance = Score(NAME, recogniser, "chance", float((1 / (1 + rivals)).mean()), note=note, **counts)
    mean_margin = mean_score(
        (NAME, recogniser, "margin"),
        margin[valid],
        people[valid],
        evaluation.seed,
        empty="no valid sample",
        note=note,
        **counts | {"n": int(valid.sum())},
    )
    return [rank1, chance, mean_margin]


def compute(evaluation: Evaluation) -> Result:
    """Rank-1 rate, its chance level and the mean margin, under every recogniser."""
    panel, scores = recognisers(evaluation, NAME, "rank1")
    columns, tables = {}, []
    for recogniser in panel:
        part, rows, note = subset(evaluation, [recogniser])
        margin, who, gallery = margins(part, recogniser)
        scores += _scores(part, recogniser, margin, who, gallery, notes(note, who.note))
        column = np.full(len(evaluation.samples), np.nan)
        column[rows] = np.where(np.isfinite(margin), margin, np.nan)
        columns[f"{NAME}[{recogniser}]"] = column
        hits = np.where(who.eligible, margin > 0, np.nan)[who.eligible]
        tables.append(item_values(part, who.item[who.eligible], hits, (NAME, recogniser, "rank1")))
    return Result(tuple(scores), pd.DataFrame(columns) if columns else None, together(tables))


METRIC = Metric(
    name=NAME,
    version=1,
    unit="rate",
    higher_is_better=True,
    range=(0.0, 1.0),
    reference="closed-set rank-1 identification, ISO/IEC 19795-1",
    needs=("recognition",),
    compute=compute,
)
