"""ID similarity of the samples whose face is as good as a photograph's."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.metrics.functional.quality import above, level
from bench.metrics.protocol import Evaluation, Metric, Number, Result, Score, Statistic
from bench.metrics.shared.eligibility import subjects
from bench.metrics.shared.numbers import reference_numbers, sample_numbers
from bench.metrics.shared.scores import absent, concat, item_values, mean_score, notes, recognisers, with_interval
from bench.metrics.shared.similarity import similarities
from bench.statistics import clustered_rate

NAME = "quality_similarity"


def compute(evaluation: Evaluation) -> Result:
    """Return, for each recogniser and each network of quality, the mean similarity above the references' level.

    The level is the quality that 95 % of the references reach. Next to it: the share of trials that reach it.

    >>> from dataclasses import replace
    >>> from bench.metrics.shared.example import example
    >>> given = replace(example(), roles={"inception": "quality", "arcface": "recognition"})
    >>> [(score.number.statistic, round(score.value, 4)) for score in compute(given).scores]
    [('mean_above', 0.8667), ('share_above', 0.75)]
    """
    panel, scores = recognisers(evaluation, NAME, "mean_above")
    judges = evaluation.of_role("quality", evaluation.features)
    if panel and not judges:
        scores.append(absent(Number(NAME, "", "mean_above"), "no network of face quality was run"))
    tables: list[pd.DataFrame] = []
    for recogniser in panel:
        for judge in judges:
            more, frames = _above(evaluation, recogniser, judge)
            scores += more
            tables += frames
    return Result(tuple(scores), None, concat(tables))


def _above(evaluation: Evaluation, recogniser: str, judge: str) -> tuple[list[Score], list[pd.DataFrame]]:
    mean = Number(NAME, recogniser, "mean_above", subset=f"quality by {judge}")
    share = mean._replace(statistic="share_above")
    values, eligibility = similarities(evaluation, recogniser)
    references, trial = reference_numbers(evaluation, judge), eligibility.trial
    counts = {"n": int(trial.sum())} | eligibility.counts()
    if not len(references) or not trial.any():
        empty = notes("no eligible sample" if len(references) else "no usable reference", eligibility.note)
        return [absent(number, empty, **counts) for number in (mean, share)], []
    kept = above(values, sample_numbers(evaluation, judge)[0], level(references))
    some, people = np.isfinite(kept), subjects(evaluation.samples)
    of_mean = mean_score(
        mean, kept[some], people[some], evaluation.seed, empty="no sample reaches the level of the references",
        note=eligibility.note, **eligibility.counts(),
    )  # fmt: skip
    interval = clustered_rate(some[trial], people[trial])
    of_share = with_interval(share, some[trial].mean(), interval, note=eligibility.note, **counts)
    return [of_mean, of_share], [item_values(evaluation, eligibility.item[trial], kept[trial], mean)]


METRIC = Metric(
    name=NAME,
    version=1,
    title="ID similarity above a quality",
    unit="cosine or share",
    higher_is_better=True,
    range=(-1.0, 1.0),
    source="ID similarity over the samples whose face quality reaches the references' 5th percentile",
    needs=("recognition", "quality"),
    statistics=(
        Statistic("mean_above", "mean above the level"),
        Statistic("share_above", "share above the level", range=(0.0, 1.0)),
    ),
    compute=compute,
)
