"""Groups: similarity, verification and detection for each value of the list's group columns, and the gaps between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.metrics.functional.arrays import Floats, Mask
from bench.metrics.functional.thresholds import matches
from bench.metrics.protocol import Evaluation, Metric, Number, Result, Score, Statistic
from bench.metrics.shared.eligibility import Eligibility, people
from bench.metrics.shared.scores import absent, notes, recognisers, with_interval
from bench.metrics.shared.similarity import aggregates, detection_rate, similarities
from bench.metrics.shared.thresholds import Threshold, fnmr, thresholds
from bench.statistics import cluster_bootstrap_gap

NAME = "groups"
SMALLEST = 300
"""Samples below which a group's figures are flagged (the floor of ISO/IEC 19795-10 in use elsewhere)."""
NOT_GIVEN = "not given"


def labels_of(evaluation: Evaluation) -> dict[str, NDArray[np.object_]]:
    """Return column -> the group (n_samples,) of each sample; an empty cell is the group "not given"."""
    columns = {name: evaluation.samples[name] for name in evaluation.groups if name in evaluation.samples}
    return {
        name: cells.astype(object).where(cells.notna(), NOT_GIVEN).map(str).to_numpy(dtype=object)
        for name, cells in columns.items()
    }


def within(eligibility: Eligibility, group: Mask) -> Eligibility:
    """Return the eligibility of a group's samples; all others are ineligible, and the note on them goes."""
    return replace(eligibility.among(group), note="")


def compute(evaluation: Evaluation) -> Result:
    """Return per group and recogniser: detection rate, both means of ID similarity, FNMR at the threshold of all.

    Next to them, per column: the gap between the highest and the lowest group, and the worst group.

    >>> from bench.metrics.shared.example import example, numbers
    >>> [numbers(compute(example()), "mean_failures_as_zero", member=member) for member in ("f", "m")]
    [[0.8], [0.5]]
    """
    panel, scores = recognisers(evaluation, NAME, "mean_detected")
    columns = labels_of(evaluation)
    if not any(len(labels) for labels in columns.values()):
        return Result((absent(Number(NAME, "", "mean_detected"), "the list has no group columns"),))
    for recogniser in panel:
        values, eligibility = similarities(evaluation, recogniser)
        cuts = thresholds(evaluation, recogniser)
        for column, labels in columns.items():
            apart: list[Score] = []
            for member in sorted(set(labels)):
                few = _group(evaluation, recogniser, values, within(eligibility, labels == member), cuts)
                apart += [replace(score, number=score.number._replace(group=column, member=member)) for score in few]
            scores += apart
            for measure in _measures(values, eligibility, cuts):
                scores += _extremes(evaluation, measure, labels, apart)
    return Result(tuple(scores))


class Measure(NamedTuple):
    """A number that groups are compared by.

    Attributes:
        statistic: its name.
        level: of the threshold.
        values: (n_samples,) of which a group's number is the mean; NaN where a sample does not count.
        worst: picks the worst of several numbers.
    """

    statistic: str
    level: str
    values: Floats
    worst: Callable[[Iterable[float]], float]


def _measures(values: Floats, eligibility: Eligibility, cuts: Mapping[str, Threshold]) -> Iterator[Measure]:
    nothing = np.full(len(values), np.nan)
    zeroed = np.where(eligibility.valid, values, 0.0)
    yield Measure("mean_detected", "", np.where(eligibility.valid, values, nothing), min)
    yield Measure("mean_failures_as_zero", "", np.where(eligibility.trial, zeroed, nothing), min)
    yield Measure("detection_rate", "", np.where(eligibility.trial, eligibility.valid, nothing), min)
    for level, cut in cuts.items():
        missed = nothing if cut.value is None else 1.0 - matches(values, cut.value)
        yield Measure("fnmr", level, np.where(eligibility.trial, missed, nothing), max)


def _extremes(
    evaluation: Evaluation, measure: Measure, labels: NDArray[np.object_], apart: Sequence[Score]
) -> list[Score]:
    """Return the gap between the groups of a column with its interval, and the worst of them."""
    own = [s for s in apart if (s.number.statistic, s.number.level) == (measure.statistic, measure.level)]
    found = [(score.value, score) for score in own if score.value is not None]
    number = own[0].number._replace(statistic=f"{measure.statistic}_gap", member="")
    if len(found) < 2:
        return [absent(number, "fewer than 2 groups have this number")]
    numbers = [value for value, _ in found]
    interval = cluster_bootstrap_gap(measure.values, people(evaluation), labels, seed=evaluation.seed)
    small = [score.number.member for _, score in found if score.n < SMALLEST]
    flag = f"small groups: {', '.join(small)} have fewer than {SMALLEST} samples" if small else ""
    size = int(np.isfinite(measure.values).sum())
    gap = with_interval(number, max(numbers) - min(numbers), interval, note=flag, n=size)
    worst = next(score for value, score in found if value == measure.worst(numbers))
    return [gap, replace(worst, number=worst.number._replace(statistic=f"{measure.statistic}_worst"))]


def _group(
    evaluation: Evaluation,
    recogniser: str,
    values: Floats,
    eligibility: Eligibility,
    cuts: Mapping[str, Threshold],
) -> list[Score]:
    size = int(eligibility.trial.sum())
    flag = "" if size >= SMALLEST else f"small group: {size} samples, fewer than {SMALLEST}"
    scores = [
        *aggregates(evaluation, values, eligibility, NAME, recogniser),
        detection_rate(evaluation, eligibility, NAME, recogniser),
        *(
            fnmr(
                evaluation,
                values,
                eligibility.trial,
                Number(NAME, recogniser, "fnmr", level),
                cut,
                **eligibility.counts(),
            )
            for level, cut in cuts.items()
        ),
    ]
    return [replace(score, note=notes(score.note, flag)) for score in scores]


METRIC = Metric(
    name=NAME,
    version=1,
    title="groups",
    unit="cosine or rate",
    higher_is_better=None,
    range=(-1.0, 1.0),
    source="ISO/IEC 19795-10: performance by demographic group",
    needs=("recognition",),
    statistics=(
        Statistic("mean_detected", "mean"),
        Statistic("mean_failures_as_zero", "failures as 0"),
        Statistic("detection_rate", "detected", range=(0.0, 1.0)),
        Statistic("fnmr", "FNMR", range=(0.0, 1.0)),
        Statistic("mean_detected_gap", "gap of the means", range=(0.0, 2.0)),
        Statistic("mean_failures_as_zero_gap", "gap of the means, failures as 0", range=(0.0, 2.0)),
        Statistic("detection_rate_gap", "gap of detection", range=(0.0, 1.0)),
        Statistic("fnmr_gap", "gap of FNMR", range=(0.0, 1.0)),
        Statistic("mean_detected_worst", "worst mean"),
        Statistic("mean_failures_as_zero_worst", "worst mean, failures as 0"),
        Statistic("detection_rate_worst", "worst detection", range=(0.0, 1.0)),
        Statistic("fnmr_worst", "worst FNMR", range=(0.0, 1.0)),
    ),
    compute=compute,
)
