"""Copying, by SSCD: is a sample a copy of its reference as an image?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from bench.metrics.functional.arrays import Floats
from bench.metrics.functional.cosine import cosines
from bench.metrics.functional.descriptors import centred
from bench.metrics.functional.thresholds import matches
from bench.metrics.protocol import Evaluation, Metric, Number, Recomputed, Result, Score, Statistic, Tables
from bench.metrics.shared.eligibility import Eligibility, nonzero, subjects, usable_references
from bench.metrics.shared.recompute import ALL, eligibility_from, values_of
from bench.metrics.shared.sample_means import MEAN_IMAGES, mean_over_samples
from bench.metrics.shared.scores import absent, concat, mean_score, notes, with_interval
from bench.metrics.shared.similarity import similarities
from bench.metrics.shared.thresholds import thresholds
from bench.statistics import clustered_rate

NAME = "copying_sscd"
COPY = 0.75
"""Cosine from which the authors of SSCD call an image a copy: 90 % precision on DISC."""


def compute(evaluation: Evaluation) -> Result:
    """Return the mean SSCD cosine between samples and their references, and the share of copies.

    A sample needs no face: the descriptor is of the whole image.

    >>> from dataclasses import replace
    >>> from bench.metrics.shared.example import example, numbers
    >>> given = replace(example(), roles={"dinov2": "sscd"})
    >>> numbers(compute(given), "mean_images", "copies")  # cosines 1, 0.6 and 1; the last sample has no descriptor
    [0.8667, 0.6667]
    """
    scores: list[Score] = []
    columns: dict[str, Floats] = {}
    tables: list[pd.DataFrame] = []
    for variant in evaluation.of_role("sscd", evaluation.features):
        values, eligibility = similarities(evaluation, variant, needs_face=False)
        more, table = _from_values(evaluation, values, eligibility, variant)
        scores += [*more, _centred(evaluation, eligibility, variant)]
        scores += _above_strangers(evaluation, values, eligibility, variant)
        tables.append(table)
        columns[f"{NAME}[{variant}]"] = values
    if not scores:
        return Result((absent(Number(NAME, "", MEAN_IMAGES), "no SSCD extractor was run"),))
    return Result(tuple(scores), pd.DataFrame(columns, index=np.arange(len(evaluation.samples))), concat(tables))


def _from_values(
    evaluation: Evaluation, values: Floats, eligibility: Eligibility, variant: str
) -> tuple[list[Score], pd.DataFrame]:
    """Return what the cosine of each sample decides: mean and share of copies."""
    mean, table = mean_over_samples(evaluation, eligibility, values, NAME, variant, MEAN_IMAGES)
    return [mean, _share(evaluation, values, eligibility, Number(NAME, variant, "copies"), COPY)], table


def _share(
    evaluation: Evaluation, values: Floats, eligibility: Eligibility, number: Number, least: float, note: str = ""
) -> Score:
    """Return the share of the valid samples that reach a cosine, with its interval."""
    valid = eligibility.valid
    counts = {"n": int(valid.sum()), **eligibility.counts()}
    if not valid.any():
        return absent(number, notes("no valid sample", eligibility.note), **counts)
    reached = matches(values[valid], least)
    interval = clustered_rate(reached, subjects(evaluation.samples)[valid])
    return with_interval(number, reached.mean(), interval, note=notes(eligibility.note, note), **counts)


def _above_strangers(evaluation: Evaluation, values: Floats, eligibility: Eligibility, variant: str) -> Iterator[Score]:
    """Yield the share of samples closer to their reference than references of different people are to each other."""
    for level, threshold in thresholds(evaluation, variant).items():
        number = Number(NAME, variant, "above_strangers", level)
        if threshold.value is None:
            yield absent(number, threshold.note, n=int(eligibility.valid.sum()), **eligibility.counts())
        else:
            yield _share(evaluation, values, eligibility, number, threshold.value, threshold.note)


def _centred(evaluation: Evaluation, eligibility: Eligibility, variant: str) -> Score:
    """Return the mean cosine after the mean descriptor of the references was taken from both sides."""
    features = evaluation.features[variant]
    number, rows = Number(NAME, variant, "mean_centred"), np.flatnonzero(eligibility.valid)
    usable = features.references[usable_references(evaluation, features, nonzero)]
    if not len(usable):
        return absent(number, "no usable reference", **eligibility.counts())
    samples, references = centred(features.samples[rows], usable), centred(features.references, usable)
    values = cosines(samples, np.arange(len(rows)), references, eligibility.item[rows])
    some = np.isfinite(values)
    people = subjects(evaluation.samples)[rows][some]
    empty = "no descriptor differs from the mean of the references"
    return mean_score(
        number, values[some], people, evaluation.seed, empty=empty, note=eligibility.note, **eligibility.counts()
    )


def recompute(tables: Tables) -> Recomputed:
    """Compute the mean and the share of copies again from the cosine of each sample.

    Raises:
        Contradiction: a sample that counts has no cosine, or another one has.
    """
    eligibility = eligibility_from(tables, tables.variant, against_reference=True, needs_face=False)
    values = values_of(tables, tables.column, eligibility)
    scores, items = _from_values(tables.evaluation, values, eligibility, tables.variant)
    return Recomputed(scores, ALL, items)


METRIC = Metric(
    name=NAME,
    version=1,
    title="copying (SSCD)",
    unit="cosine or share",
    higher_is_better=None,
    range=(-1.0, 1.0),
    source="Pizzi et al., SSCD, CVPR 2022: disc_mixup; a cosine above 0.75 is a copy",
    needs=("sscd",),
    statistics=(
        Statistic(MEAN_IMAGES, "mean"),
        Statistic("copies", "share of copies", headline=True, range=(0.0, 1.0)),
        Statistic("mean_centred", "mean, what all references share taken away"),
        Statistic("above_strangers", "share above strangers", range=(0.0, 1.0)),
    ),
    compute=compute,
    recompute=recompute,
)
