"""FD-DINOv2: the Frechet distance between DINOv2 features of the samples and of the references."""

from __future__ import annotations

from bench.metrics.protocol import Evaluation, Metric, Pairing, Result
from bench.metrics.shared.frechet_scores import STATISTICS, frechet_result, recompute

NAME = "fd_dinov2"


def compute(evaluation: Evaluation) -> Result:
    """Return FD-DINOv2 of the detected samples against the references, or against the evaluation's reference set.

    >>> from bench.metrics.shared.example import example, numbers
    >>> numbers(compute(example()), "distance")
    [0.1208]
    """
    return frechet_result(evaluation, NAME, "dinov2")


METRIC = Metric(
    name=NAME,
    version=1,
    title="FD-DINOv2",
    unit="",
    higher_is_better=False,
    range=(0.0, None),
    source="Stein et al., NeurIPS 2023 (DINOv2 ViT-L/14)",
    needs=("dinov2",),
    statistics=STATISTICS,
    compute=compute,
    pairing=Pairing.JACKKNIFE,
    distribution=True,
    recompute=recompute,
)
