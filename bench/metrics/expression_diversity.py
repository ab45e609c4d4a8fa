"""Expression diversity: distance between the FLAME expressions of the samples of one item."""

from __future__ import annotations

from bench.metrics.functional.flame import DIMENSION, EXPRESSION, Distance, distances, l2
from bench.metrics.protocol import Evaluation, Metric, Result, Score
from bench.metrics.shared.diversity import Pairs, diversity_scores, item_table, pairs_within, verified_scores
from bench.metrics.shared.eligibility import finite, standing
from bench.metrics.shared.scores import absent, named, together
from bench.metrics.verification import verified

NAME = "expression_diversity"


def compute(evaluation: Evaluation) -> Result:
    """Mean L2 distance of the 50 expression coefficients, for every FLAME extractor that was run.

    >>> from bench.metrics.shared.example import example, numbers
    >>> numbers(compute(example()), "mean_items")
    [5.0]
    """
    return flame_diversity(evaluation, NAME, {"": l2(EXPRESSION)})


def flame_diversity(evaluation: Evaluation, metric: str, kinds: dict[str, Distance]) -> Result:
    """Means over items and pairs, and over verified pairs, for each distance (its prefix of the statistics' names)."""
    scores: list[Score] = []
    tables, passed = [], list(verified(evaluation))
    for variant in named(evaluation.features, "flame"):
        features = evaluation.features[variant]
        if features.samples.shape[1] != DIMENSION and finite(features.samples).any():
            reason = f"{features.samples.shape[1]} numbers per face; a FLAME feature has {DIMENSION}"
            scores.append(absent((metric, variant, "mean_items"), reason))
            continue
        who = standing(evaluation, features)
        first, second = pairs_within(who.item, who.valid)
        for prefix, distance in kinds.items():
            pairs = Pairs(first, second, distances(features.samples, first, second, distance))
            scores += diversity_scores(evaluation, who, pairs, (metric, variant), prefix, who.note)
            scores += verified_scores(evaluation, who, pairs, (metric, variant), passed, prefix)
            tables.append(item_table(evaluation, who, pairs, (metric, variant), prefix))
    if not scores:
        scores = [absent((metric, "", "mean_items"), "no FLAME extractor was run")]
    return Result(tuple(scores), None, together(tables))


METRIC = Metric(
    name=NAME,
    version=1,
    unit="L2 of FLAME expression",
    higher_is_better=True,
    range=(0.0, None),
    reference="Papantoniou et al., Arc2Face, ECCV 2024, section 4.1.3 (EMOCA v2)",
    needs=("flame",),
    compute=compute,
)
