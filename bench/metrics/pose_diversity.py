"""Pose diversity: distance between the FLAME rotations of head and jaw of the samples of one item."""

from __future__ import annotations

from bench.metrics.expression_diversity import flame_diversity
from bench.metrics.functional.flame import DISTANCES
from bench.metrics.protocol import Evaluation, Metric, Result

NAME = "pose_diversity"


def compute(evaluation: Evaluation) -> Result:
    """The 6-d L2 distance (`mean_items`), and `global3_`, `jaw3_` and `geodesic_degrees_` beside it.

    >>> from bench.metrics.shared.example import example, numbers
    >>> numbers(compute(example()), "mean_items", "jaw3_mean_items", "geodesic_degrees_mean_items")
    [0.5, 0.0, 28.6479]
    """
    kinds = {"" if kind == "pose6" else f"{kind}_": distance for kind, distance in DISTANCES.items()}
    return flame_diversity(evaluation, NAME, kinds)


METRIC = Metric(
    name=NAME,
    version=1,
    unit="L2 of radians",
    higher_is_better=True,
    range=(0.0, None),
    reference="Papantoniou et al., Arc2Face, ECCV 2024, section 4.1.3 (EMOCA v2)",
    needs=("flame",),
    compute=compute,
)
