"""Pose diversity: distance between the FLAME rotations of head and jaw of the samples of one item."""

from __future__ import annotations

from bench.metrics.functional.flame import DISTANCES
from bench.metrics.protocol import Evaluation, Metric, Result, Statistic, Tolerance
from bench.metrics.shared.flame_scores import flame_diversity
from bench.metrics.shared.recompute import item_means

NAME = "pose_diversity"


def compute(evaluation: Evaluation) -> Result:
    """Return the 6-d L2 distance (`mean_items`), and next to it those with `global3_`, `jaw3_` and `geodesic_degrees_`.

    >>> from bench.metrics.shared.example import example, numbers
    >>> numbers(compute(example()), "mean_items", "jaw3_mean_items", "geodesic_degrees_mean_items")
    [0.5, 0.0, 28.6479]
    """
    kinds = {"" if kind == "pose6" else f"{kind}_": distance for kind, distance in DISTANCES.items()}
    return flame_diversity(evaluation, NAME, kinds)


METRIC = Metric(
    name=NAME,
    version=1,
    title="pose diversity",
    unit="L2 of radians",
    higher_is_better=True,
    range=(0.0, None),
    source="Papantoniou et al., Arc2Face, ECCV 2024, section 4.1.3 (EMOCA v2)",
    needs=("flame",),
    statistics=(
        Statistic("mean_items", "mean", headline=True, tile=True),
        Statistic("mean_pairs", "mean over all pairs"),
        Statistic("global3_mean_items", "head rotation, mean"),
        Statistic("global3_mean_pairs", "head rotation, mean over all pairs"),
        Statistic("jaw3_mean_items", "jaw, mean"),
        Statistic("jaw3_mean_pairs", "jaw, mean over all pairs"),
        Statistic("geodesic_degrees_mean_items", "angle of the head in degrees, mean", range=(0.0, 180.0)),
        Statistic(
            "geodesic_degrees_mean_pairs", "angle of the head in degrees, mean over all pairs", range=(0.0, 180.0)
        ),
    ),
    compute=compute,
    tolerance=Tolerance(relative=4e-2),
    recompute=item_means,
)
