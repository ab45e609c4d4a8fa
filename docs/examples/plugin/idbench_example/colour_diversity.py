"""Metric `colour_diversity`: how far the samples of one item lie apart, pixel by pixel."""

from __future__ import annotations

from bench.metrics.protocol import Evaluation, Metric, Number, Result, Statistic
from bench.metrics.shared.diversity import diversity_scores, item_table, listed_pairs
from bench.metrics.shared.eligibility import eligibility_of
from bench.metrics.shared.scores import absent, concat


def compute(evaluation: Evaluation) -> Result:
    """Return the mean over an item's pairs and then over items, and the mean over all pairs."""
    scores = []
    tables = []
    eligibility = eligibility_of(evaluation)
    for network in evaluation.of_role("colour_distance", evaluation.pairs):
        number = Number("colour_diversity", network)
        pairs = listed_pairs(evaluation, evaluation.pairs[network], eligibility.valid)
        scores += diversity_scores(evaluation, eligibility, pairs, number)
        tables.append(item_table(evaluation, eligibility, pairs, number))
    if not scores:
        scores = [absent(Number("colour_diversity", "", "mean_items"), "no network of the role was run")]
    return Result(tuple(scores), per_item=concat(tables))


METRIC = Metric(
    name="colour_diversity",
    version=1,
    title="colour diversity",
    unit="",
    higher_is_better=True,
    range=(0.0, 1.0),
    source="an example",
    needs=("colour_distance",),
    statistics=(Statistic("mean_items", "mean", headline=True), Statistic("mean_pairs", "mean over all pairs")),
    compute=compute,
)
