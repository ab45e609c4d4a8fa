"""Detection agreement: how far the scales at which a face was looked for agree, and what else makes a face doubtful."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bench.faces.search import AGREE, SAME
from bench.metrics.functional.arrays import Mask
from bench.metrics.protocol import Evaluation, Metric, Number, Pairing, Result, Score, Statistic
from bench.metrics.shared.eligibility import eligibility_of, subjects
from bench.metrics.shared.scores import absent, mean_score, with_interval
from bench.statistics import clustered_rate
from bench.status import SampleStatus

NAME = "detection_agreement"
TILTED = 45.0
"""Degrees of roll above which a face is taken for one that lies on its side or upside down."""
COLUMNS = ("n_faces", "roll", "det_configured", "scales_read", "scales_agree", "disagreement")
"""What the metric reads of `Evaluation.samples` and `Evaluation.references`."""


class Case(NamedTuple):
    """A share of the faces.

    Attributes:
        name: of the statistic.
        counted: which faces it is the share of.
        doubtful: which faces the note counts.
        words: what they do.
    """

    name: str
    counted: Mask
    doubtful: Mask
    words: str


def compute(evaluation: Evaluation) -> Result:
    """Return the shares of detected samples and of references whose scales agree, and of those that are doubtful.

    >>> from bench.metrics.shared.example import example, numbers
    >>> numbers(compute(example()), "rate", "other_scale", "several_faces", "tilted", "disagreement")
    [0.6667, 0.3333, 0.3333, 0.0, 0.09]
    >>> numbers(compute(example()), "references_rate", "references_several_faces", "references_tilted")
    [1.0, 0.5, 0.0]
    """
    eligibility = eligibility_of(evaluation)
    samples = evaluation.samples[eligibility.valid]
    references = evaluation.references[evaluation.references["status"] == SampleStatus.OK]
    if not all(column in frame for frame in (samples, references) for column in COLUMNS):
        return Result((absent(Number(NAME, "", "rate"), "the run does not say how its faces were found"),))
    counts = eligibility.counts()
    of_samples = [_rate(samples, "", case, counts) for case in _cases(samples)]
    of_references = [_rate(references, "references_", case, {}) for case in _cases(references)]
    return Result((*of_samples, _disagreement(samples, evaluation.seed, counts), *of_references))


def _cases(faces: pd.DataFrame) -> Iterator[Case]:
    """Yield the shares of a table of faces; those about scales only where more than one was read of each."""
    if (faces["scales_read"] > 1).all():
        agreeing = ((faces["scales_agree"] > 1) & (faces["disagreement"] <= AGREE)).to_numpy(bool)
        yield Case("rate", agreeing, ~agreeing, "have scales that disagree")
        elsewhere = ~faces["det_configured"].to_numpy(bool)
        yield Case("other_scale", elsewhere, elsewhere, "are read at another scale than the configured one")
    several = (faces["n_faces"] > 1).to_numpy(bool)
    yield Case("several_faces", several, several, "show several faces")
    tilted = (faces["roll"].abs() > TILTED).to_numpy(bool)
    yield Case("tilted", tilted, tilted, f"have a face turned by more than {TILTED:g} degrees")


def _rate(faces: pd.DataFrame, prefix: str, case: Case, counts: Mapping[str, int]) -> Score:
    number = Number(NAME, "", prefix + case.name)
    if not len(faces):
        return absent(number, "no face was found", **counts)
    doubtful = int(case.doubtful.sum())
    note = f"{doubtful} of {len(faces)} {case.words}" if doubtful else ""
    interval = clustered_rate(case.counted, subjects(faces))
    return with_interval(number, case.counted.mean(), interval, n=len(faces), note=note, **counts)


def _disagreement(samples: pd.DataFrame, seed: int, counts: Mapping[str, Any]) -> Score:
    """Return the mean over samples of the largest distance between two scales' answers."""
    values = samples["disagreement"].to_numpy(np.float64)
    known = np.isfinite(values)
    number, people = Number(NAME, "", "disagreement"), subjects(samples)[known]
    return mean_score(number, values[known], people, seed, empty="no second scale found a face", **counts)


METRIC = Metric(
    name=NAME,
    version=1,
    title="detection agreement",
    unit="rate",
    higher_is_better=None,
    range=(0.0, 1.0),
    source="ours: bench.faces.search",
    needs=(),
    statistics=(
        Statistic("rate", "scales agree"),
        Statistic("other_scale", "read at another scale"),
        Statistic("several_faces"),
        Statistic("tilted"),
        Statistic("disagreement", "disagreement, in sizes of the face", range=(0.0, SAME)),
        Statistic("references_rate", "references: scales agree", of_references=True),
        Statistic("references_other_scale", "references: read at another scale", of_references=True),
        Statistic("references_several_faces", "references: several faces", of_references=True),
        Statistic("references_tilted", "references: tilted", of_references=True),
    ),
    compute=compute,
    pairing=Pairing.NONE,
)
