"""Prompt following: how well an image fits the prompt that it was made from, by CLIP (CLIP-T)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.metrics.functional.arrays import Floats
from bench.metrics.functional.prompts import clip_score, own_and_others, similarities
from bench.metrics.protocol import Evaluation, Metric, Number, Recomputed, Result, Score, Statistic, Tables
from bench.metrics.shared.eligibility import Eligibility, eligibility_of, nonzero, subjects
from bench.metrics.shared.recompute import sample_means
from bench.metrics.shared.sample_means import MEAN_IMAGES, mean_over_samples
from bench.metrics.shared.scores import absent, concat, mean_score, notes, with_interval
from bench.statistics import clustered_rate

NAME = "prompt_following"
ONE_PROMPT = "the run has one prompt: there is no other to compare with"


class Fit(NamedTuple):
    """How the images fit prompts.

    Attributes:
        own: (n_samples,) cosine of each image with its own prompt; NaN where it has none.
        others: (n_samples,) mean cosine with all other prompts; NaN where there is none.
        best: (n_samples,) largest cosine with another prompt; NaN where there is none.
        eligibility: which samples count.
    """

    own: Floats
    others: Floats
    best: Floats
    eligibility: Eligibility


def fit(evaluation: Evaluation, variant: str) -> Fit:
    """Return how each image fits its own prompt and the others; a sample needs no face."""
    features, texts = evaluation.features[variant], evaluation.texts[variant]
    eligibility = _prompted(eligibility_of(evaluation, features, usable=nonzero, needs_face=False), evaluation, texts)
    rows = np.flatnonzero(eligibility.valid)
    own, others, best = (np.full(len(evaluation.samples), np.nan) for _ in range(3))
    if len(rows):
        places = {name: place for place, name in enumerate(texts)}
        prompt = np.array([places[name] for name in evaluation.samples["prompt_id"].iloc[rows]], dtype=np.int64)
        table = similarities(features.samples[rows], np.stack(list(texts.values())))
        own[rows], others[rows] = own_and_others(table, prompt)
        if len(texts) > 1:
            table[np.arange(len(rows)), prompt] = -np.inf
            best[rows] = table.max(axis=1)
    return Fit(own, others, best, eligibility)


def _prompted(
    eligibility: Eligibility, evaluation: Evaluation, texts: Mapping[str, NDArray[np.float32]]
) -> Eligibility:
    """Return the eligibility with the samples of a prompt that has no embedding made ineligible."""
    column = evaluation.samples.get("prompt_id", pd.Series(None, index=evaluation.samples.index, dtype=object))
    known = column.isin(list(texts)).to_numpy(dtype=bool)
    return eligibility.among(known)


def compute(evaluation: Evaluation) -> Result:
    """Return the mean cosine of images with their own prompts, and next to it with all other prompts.

    >>> from bench.metrics.shared.example import example, numbers
    >>> from dataclasses import replace
    >>> given = example()
    >>> given = replace(
    ...     given,
    ...     roles={"dinov2": "clip_text"},
    ...     samples=given.samples.assign(prompt_id=["hat", "beard", "hat", "beard"]),
    ...     texts={"dinov2": {"hat": np.array([1.0, 0.0]), "beard": np.array([0.0, 1.0])}},
    ... )
    >>> numbers(compute(given), "mean_images", "other_prompts", "own_first")  # own: 1, 0.8, 0; other: 0, 0.6, 1
    [0.6, 0.5333, 0.6667]
    """
    scores: list[Score] = []
    columns: dict[str, Floats] = {}
    tables: list[pd.DataFrame] = []
    for variant in evaluation.of_role("clip_text", evaluation.texts):
        found = fit(evaluation, variant)
        mean, table = mean_over_samples(evaluation, found.eligibility, found.own, NAME, variant, MEAN_IMAGES)
        scores += [mean, *_further(evaluation, found, variant)]
        tables.append(table)
        columns[f"{NAME}[{variant}]"] = found.own
    if not scores:
        return Result((absent(Number(NAME, "", MEAN_IMAGES), "no network of images and texts was run"),))
    return Result(tuple(scores), pd.DataFrame(columns, index=np.arange(len(evaluation.samples))), concat(tables))


def _further(evaluation: Evaluation, found: Fit, variant: str) -> list[Score]:
    """Return CLIPScore, and what needs other prompts: the floor, the margin to it, and how often the own is first."""
    valid = found.eligibility.valid
    people = subjects(evaluation.samples)[valid]
    fields: dict[str, Any] = {"note": found.eligibility.note, **found.eligibility.counts()}

    def mean(statistic: str, values: Floats) -> Score:
        number = Number(NAME, variant, statistic)
        return mean_score(number, values, people, evaluation.seed, empty="no valid sample", **fields)

    score = mean("clip_score", clip_score(found.own[valid]))
    if len(evaluation.texts[variant]) < 2 or not valid.any():
        reason = notes(ONE_PROMPT if valid.any() else "no valid sample", fields.pop("note"))
        names = ("other_prompts", "margin", "own_first")
        return [score, *(absent(Number(NAME, variant, name), reason, n=int(valid.sum()), **fields) for name in names)]
    own, others = found.own[valid], found.others[valid]
    first = own > found.best[valid]
    number, counted = Number(NAME, variant, "own_first"), {"n": int(valid.sum()), **fields}
    rate = with_interval(number, first.mean(), clustered_rate(first, people), **counted)
    return [score, mean("other_prompts", others), mean("margin", own - others), rate]


def recompute(tables: Tables) -> Recomputed:
    """Compute the mean again from the cosine of each sample.

    Raises:
        Contradiction: a sample that counts has no cosine, or another one has.
    """
    return sample_means(tables, tables.variant, against_reference=False, needs_face=False, statistic=MEAN_IMAGES)


METRIC = Metric(
    name=NAME,
    version=1,
    title="prompt following",
    unit="cosine",
    higher_is_better=True,
    range=(-1.0, 1.0),
    source="CLIP-T: cosine of CLIP's embeddings of image and prompt; CLIPScore of torchmetrics, 100 max(cos, 0)",
    needs=("clip_text",),
    statistics=(
        Statistic(MEAN_IMAGES, "mean", headline=True),
        Statistic("clip_score", "CLIPScore", range=(0.0, 100.0)),
        Statistic("other_prompts", "mean with the other prompts"),
        Statistic("margin", "margin to the other prompts", range=(-2.0, 2.0)),
        Statistic("own_first", "own prompt first", range=(0.0, 1.0)),
    ),
    compute=compute,
    recompute=recompute,
)
