"""Metric `mean_brightness`: how bright the faces of the samples are."""

from __future__ import annotations

from bench.metrics.protocol import Evaluation, Metric, Number, Result, Statistic
from bench.metrics.shared.eligibility import eligibility_of
from bench.metrics.shared.sample_means import mean_over_samples
from bench.metrics.shared.scores import absent, concat


def compute(evaluation: Evaluation) -> Result:
    """Return the mean over samples, 0 to 1, under each network of the role.

    >>> from dataclasses import replace
    >>> from bench.metrics.shared.example import example, numbers
    >>> numbers(compute(replace(example(), roles={"inception": "brightness"})), "mean_detected")
    [3.0]
    """
    scores = []
    tables = []
    for network in evaluation.of_role("brightness", evaluation.features):
        features = evaluation.features[network]
        eligibility = eligibility_of(evaluation, features)
        values = features.samples.mean(axis=1).astype(float)
        score, table = mean_over_samples(evaluation, eligibility, values, "mean_brightness", network)
        scores.append(score)
        tables.append(table)
    if not scores:
        scores = [absent(Number("mean_brightness", "", "mean_detected"), "no network of the role brightness was run")]
    return Result(tuple(scores), per_item=concat(tables))


METRIC = Metric(
    name="mean_brightness",
    version=1,
    title="mean brightness",
    unit="",
    higher_is_better=True,
    range=(0.0, 1.0),
    source="an example",
    needs=("brightness",),
    statistics=(Statistic("mean_detected", "mean", headline=True),),
    compute=compute,
)
