"""Groups: similarity, verification and detection for each value of the list's group columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from bench.metrics.functional.arrays import Floats, Mask
from bench.metrics.protocol import Evaluation, Metric, Number, Result, Score, Statistic
from bench.metrics.shared.eligibility import Eligibility
from bench.metrics.shared.scores import absent, notes, recognisers
from bench.metrics.shared.similarity import aggregates, detection_rate, similarities
from bench.metrics.shared.thresholds import Threshold, fnmr, thresholds

NAME = "groups"
SMALLEST = 300
"""Samples below which a group's figures are flagged (the floor of ISO/IEC 19795-10 in use elsewhere)."""
NOT_GIVEN = "not given"


def members(evaluation: Evaluation) -> Iterator[tuple[str, str, Mask]]:
    """Yield column, value and samples of each group; an empty cell is the value "not given"."""
    for column in evaluation.groups:
        if column not in evaluation.samples:
            continue
        cells = evaluation.samples[column]
        labels = cells.astype(object).where(cells.notna(), NOT_GIVEN).map(str)
        for value in sorted(labels.unique()):
            yield column, value, (labels == value).to_numpy(dtype=bool)


def within(eligibility: Eligibility, group: Mask) -> Eligibility:
    """The standing of a group's samples; all others are ineligible."""
    return replace(
        eligibility,
        valid=eligibility.valid & group,
        failed=eligibility.failed & group,
        unavailable=eligibility.unavailable & group,
        ineligible=eligibility.ineligible | ~group,
        note="",
    )


def compute(evaluation: Evaluation) -> Result:
    """Return per group and recogniser: detection rate, both means of ID similarity, FNMR at the threshold of all.

    >>> from bench.metrics.shared.example import example, numbers
    >>> [numbers(compute(example()), "mean_failures_as_zero", member=member) for member in ("f", "m")]
    [[0.8], [0.5]]
    """
    panel, scores = recognisers(evaluation, NAME, "mean_detected")
    found = list(members(evaluation))
    if not found:
        return Result((absent(Number(NAME, "", "mean_detected"), "the list has no group columns"),))
    for recogniser in panel:
        values, eligibility = similarities(evaluation, recogniser)
        cuts = thresholds(evaluation, recogniser)
        for column, member, group in found:
            few = _group(evaluation, recogniser, values, within(eligibility, group), cuts)
            scores += [replace(score, number=score.number._replace(group=column, member=member)) for score in few]
    return Result(tuple(scores))


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
    ),
    compute=compute,
)
