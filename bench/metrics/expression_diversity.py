"""Expression diversity: distance between the FLAME expressions of the samples of one item."""

from __future__ import annotations

from bench.metrics.functional.flame import EXPRESSION, l2
from bench.metrics.protocol import Evaluation, Metric, Result, Statistic, Tolerance
from bench.metrics.shared.flame_scores import flame_diversity
from bench.metrics.shared.recompute import item_means

NAME = "expression_diversity"


def compute(evaluation: Evaluation) -> Result:
    """Return the mean L2 distance of the 50 expression coefficients, for every FLAME extractor that was run.

    >>> from bench.metrics.shared.example import example, numbers
    >>> numbers(compute(example()), "mean_items")
    [5.0]
    """
    return flame_diversity(evaluation, NAME, {"": l2(EXPRESSION)})


METRIC = Metric(
    name=NAME,
    version=1,
    title="expression diversity",
    unit="L2 of FLAME expression",
    higher_is_better=True,
    range=(0.0, None),
    source="Papantoniou et al., Arc2Face, ECCV 2024, section 4.1.3 (EMOCA v2)",
    needs=("flame",),
    statistics=(
        Statistic("mean_items", "mean", headline=True, tile=True),
        Statistic("mean_pairs", "mean over all pairs"),
    ),
    compute=compute,
    tolerance=Tolerance(relative=5e-2),
    recompute=item_means,
)
