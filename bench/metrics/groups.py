"""Groups: similarity, verification and detection for each value of the list's group columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bench.metrics.functional.cosine import Floats
from bench.metrics.id_similarity import aggregates, detection_rate, similarities
from bench.metrics.protocol import Evaluation, Metric, Result, Score
from bench.metrics.shared.eligibility import Mask, Standing
from bench.metrics.shared.scores import absent, notes, recognisers
from bench.metrics.verification import Threshold, fnmr, thresholds

NAME = "groups"
SMALLEST = 300
"""Samples below which a group's figures are flagged (the floor of ISO/IEC 19795-10 in use elsewhere)."""
NOT_GIVEN = "not given"


def members(evaluation: Evaluation) -> Iterator[tuple[str, Mask]]:
    """Each group as "<column>=<value>" with its samples; an empty cell is the value "not given"."""
    for column in evaluation.groups:
        if column not in evaluation.samples:
            continue
        cells = evaluation.samples[column]
        labels = cells.astype(object).where(cells.notna(), NOT_GIVEN).map(str)
        for value in sorted(labels.unique()):
            yield f"{column}={value}", (labels == value).to_numpy(dtype=bool)


def within(who: Standing, group: Mask) -> Standing:
    """The standing of a group's samples; all others are ineligible."""
    return replace(
        who,
        valid=who.valid & group,
        failed=who.failed & group,
        unavailable=who.unavailable & group,
        ineligible=who.ineligible | ~group,
        note="",
    )


def compute(evaluation: Evaluation) -> Result:
    """Per group and recogniser: detection rate, both means of ID similarity, FNMR at the threshold of all.

    >>> from bench.metrics.shared.example import example, numbers
    >>> numbers(compute(example()), "mean_failures_as_zero[gender=f]", "mean_failures_as_zero[gender=m]")
    [0.8, 0.5]
    """
    panel, scores = recognisers(evaluation, NAME, "mean_detected")
    found = list(members(evaluation))
    if not found:
        return Result((absent((NAME, "", "mean_detected"), "the list has no group columns"),))
    for recogniser in panel:
        values, who = similarities(evaluation, recogniser)
        cuts = thresholds(evaluation, recogniser)
        for label, group in found:
            scores += _group(evaluation, recogniser, values, within(who, group), cuts, label)
    return Result(tuple(scores))


def _group(
    evaluation: Evaluation, recogniser: str, values: Floats, who: Standing, cuts: dict[str, Threshold], label: str
) -> list[Score]:
    size = int(who.eligible.sum())
    flag = "" if size >= SMALLEST else f"small group: {size} samples, fewer than {SMALLEST}"
    scores = [
        *aggregates(evaluation, values, who, NAME, recogniser),
        detection_rate(evaluation, who, NAME, recogniser),
        *(
            fnmr(evaluation, values, who.eligible, (NAME, recogniser, f"fnmr@{level}"), cut, **who.counts())
            for level, cut in cuts.items()
        ),
    ]
    return [_labelled(score, label, flag) for score in scores]


def _labelled(score: Score, label: str, flag: str) -> Score:
    return replace(score, statistic=f"{score.statistic}[{label}]", note=notes(score.note, flag))


METRIC = Metric(
    name=NAME,
    version=1,
    unit="cosine or rate",
    higher_is_better=None,
    range=(-1.0, 1.0),
    reference="ISO/IEC 19795-10: performance by demographic group",
    needs=("recognition",),
    compute=compute,
)
