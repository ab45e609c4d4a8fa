"""Which numbers a reader is shown first, and how they are called: read from the metrics' declarations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pandas as pd

from bench.metrics import declared
from bench.metrics.protocol import NUMBER, Metric, Number, Statistic
from bench.report.frames import of_number

Better = Literal["higher", "lower", ""]
"""Which direction of a number is better; "" where there is none."""


def numbers(frame: pd.DataFrame) -> list[Number]:
    """Return the names of the numbers in a table of scores, items or differences, in its order."""
    rows = frame[NUMBER].drop_duplicates().itertuples(index=False, name=None)
    return [Number(*map(str, row)) for row in rows]


def variants(scores: pd.DataFrame, metric: str) -> list[str]:
    """Return the networks by which a metric was read, in the order of the evaluator."""
    return [str(variant) for variant in dict.fromkeys(scores.loc[scores["metric"] == metric, "variant"])]


def words(number: Number) -> str:
    """Return what a reader calls a number of a metric.

    >>> words(Number("verification", "judge", "fnmr", "1e-3"))
    'missed (FNMR) at 0.1 % false matches'
    >>> words(Number("lpips_diversity", "lpips", "mean_items", "1e-2", "verified judge", "gender", "f"))
    'mean, verified judge at 1 % false matches, gender f'
    """
    level = f" at {100 * float(number.level):g} % false matches" if number.level else ""
    of_subset = f", {number.subset}" if number.subset else ""
    of_group = f", {number.group} {number.member}" if number.group else ""
    return f"{declared.statistic(number).words}{of_subset}{level}{of_group}"


def label(number: Number) -> str:
    """Return a number as a reader calls it, with its metric.

    >>> label(Number("lpips_diversity", "lpips", "mean_items"))
    'LPIPS diversity'
    >>> label(Number("retrieval", "arcface", "rank1"))
    'retrieval, rank 1'
    """
    said = words(number)
    name = declared.title(number.metric)
    return name if said in ("mean", "distance") else f"{name}, {said}"


def better(scores: pd.DataFrame, number: Number) -> Better:
    """Return which direction of a number is better, as the metric that scored it declared."""
    direction = of_number(scores, number)["higher_is_better"].dropna()
    if direction.empty:
        return ""
    return "higher" if bool(direction.iloc[0]) else "lower"


def headlines(scores: pd.DataFrame) -> list[Number]:
    """Return the numbers that an overview shows, of all samples, in the order of a reader.

    Metrics of identity come first (they read recognisers), then other metrics of single items, then distances of
    distributions; by name within each.
    """
    return _declared(scores, lambda one: one.headline)


def tiles(scores: pd.DataFrame, judge: str | None = None) -> list[Number]:
    """Return the numbers for the top of a run's page, each under one network.

    Args:
        scores: of a run.
        judge: the recogniser whose numbers come first; every other number, and all of them where it is None, are
            under the first network that gives them a value.
    """
    found: dict[tuple[str, ...], Number] = {}
    known = _declared(scores[scores["value"].notna()], lambda one: one.tile)
    for number in sorted(known, key=lambda one: one.variant != judge):
        found.setdefault(number._replace(variant=""), number)
    return list(found.values())


def main_numbers(scores: pd.DataFrame) -> list[Number]:
    """Return the headline numbers of the first headline statistic of each metric: those that figures show."""
    shown = headlines(scores)
    first: dict[str, str] = {}
    for number in shown:
        first.setdefault(number.metric, number.statistic)
    return [number for number in shown if first[number.metric] == number.statistic]


CIRCULAR = {"conditioned": "circular for", "trained_against": "circular for"}
DEPENDENT = {"same_training_data": "shares training data with", "unknown": "relation unknown to"}


def relation_note(scores: pd.DataFrame, variant: str, judge: str | None) -> str:
    """Return what the reader must know of a recogniser: the headline, or for which methods it is circular.

    "" for other networks.

    Args:
        scores: of one or several runs, with the run's label in column `run`.
        variant: the network.
        judge: the headline recogniser; None where there is none.
    """
    rows = scores.loc[scores["variant"] == variant, ["run", "relation"]]
    known = [pair for pair in dict.fromkeys(zip(rows["run"], rows["relation"], strict=True)) if pair[1] != ""]
    if not known:
        return ""
    found: dict[str, list[str]] = {}
    for run, relation in known:
        if word := (CIRCULAR | DEPENDENT).get(relation):
            found.setdefault(word, []).append(str(run))
    if found:
        return "; ".join(f"{word} {', '.join(names)}" for word, names in found.items())
    methods = "all methods" if scores["run"].nunique() > 1 else "the method"
    return f"headline: independent of {methods}" if variant == judge else f"independent of {methods}"


def reads_recognisers(number: Number) -> bool:
    """Return whether the metric of a number reads recognisers."""
    found = declared.metric(number.metric)
    return found is not None and "recognition" in found.needs


def _declared(scores: pd.DataFrame, chosen: Callable[[Statistic], bool]) -> list[Number]:
    """Return the numbers of all samples whose statistic is chosen: by metric, network and statistic, as declared."""
    every = [one for one in numbers(scores) if not one.subset and not one.group]
    found = (declared.metric(name) for name in dict.fromkeys(one.metric for one in every))
    metrics = sorted((metric for metric in found if metric), key=_place)
    return [
        one
        for metric in metrics
        for variant in variants(scores, metric.name)
        for statistic in metric.statistics
        if chosen(statistic)
        for one in every
        if (one.metric, one.variant, one.statistic) == (metric.name, variant, statistic.name)
    ]


def _place(metric: Metric) -> tuple[bool, bool, str]:
    return metric.distribution, "recognition" not in metric.needs, metric.name
