"""FID: the Frechet distance between Inception features of the samples and of the references."""

from __future__ import annotations

from dataclasses import replace

from bench.metrics.protocol import Evaluation, Metric, Pairing, Result
from bench.metrics.shared.frechet_scores import STATISTICS, frechet_result, recompute

NAME = "fid"


def compute(evaluation: Evaluation) -> Result:
    """Return FID of the detected samples against the references, or against the evaluation's reference set.

    >>> from bench.metrics.shared.example import example, numbers
    >>> numbers(compute(example()), "distance")
    [4.3431]
    """
    return frechet_result(evaluation, NAME, "inception")


METRIC = Metric(
    name=NAME,
    version=1,
    title="FID",
    unit="",
    higher_is_better=False,
    range=(0.0, None),
    source="Heusel et al., NeurIPS 2017; Seitzer, pytorch-fid 0.3.0",
    needs=("inception",),
    statistics=(replace(STATISTICS[0], tile=True), *STATISTICS[1:]),
    compute=compute,
    pairing=Pairing.JACKKNIFE,
    distribution=True,
    recompute=recompute,
)
