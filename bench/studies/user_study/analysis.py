"""Say what forced-choice votes show: shares with intervals over raters and items, and how steady the raters are.

Two votes of one rater resemble each other, and so do two votes on one item. An interval that takes votes as independent
is far too narrow, so the interval here is clustered both ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from bench.metrics.functional.cosine import Floats
from bench.statistics import wilson
from bench.studies.user_study.design import Kind

RIDGE = 0.01
"""Penalty of the Bradley-Terry strengths where some method never lost, or never won, against the others."""


@dataclass(frozen=True)
class Share:
    """How often one of two was chosen; a tie counts half.

    Attributes:
        share: wins over votes.
        low: lower end of the 95 % interval, clustered by rater and item.
        high: upper end.
        wilson_low: lower end as if votes were independent.
        wilson_high: upper end as if votes were independent.
        n: votes.
        raters: people who voted.
        items: items that were voted on.
    """

    share: float
    low: float
    high: float
    wilson_low: float
    wilson_high: float
    n: int
    raters: int
    items: int


def cluster_variance(residuals: Floats, clusters: NDArray[Any]) -> float:
    """Return the variance of a mean from residuals that depend on each other within a cluster.

    C/(C-1) sum_c (sum of residuals)^2 / n^2; infinite with one cluster.

    >>> cluster_variance(np.array([0.5, 0.5, -0.5, -0.5]), np.array([0, 0, 1, 1]))
    0.25
    """
    sums = np.bincount(pd.factorize(clusters)[0], residuals)
    count = len(sums)
    return float(np.square(sums).sum() / len(residuals) ** 2 * count / (count - 1)) if count > 1 else float("inf")


def two_way_variance(residuals: Floats, raters: NDArray[Any], items: NDArray[Any]) -> float:
    """Return the variance of a mean over votes that share raters or items (Cameron, Gelbach, Miller, 2011).

    V_rater + V_item - V_both, never less than the larger of the first two.
    """
    by_rater, by_item = cluster_variance(residuals, raters), cluster_variance(residuals, items)
    both = pd.factorize(pd.MultiIndex.from_arrays([raters, items]))[0]
    return max(by_rater + by_item - cluster_variance(residuals, both), by_rater, by_item)


def share(values: NDArray[Any], raters: NDArray[Any], items: NDArray[Any]) -> Share:
    """Return the share of votes with its interval over raters and items.

    The interval is Wilson's at the effective number of votes p (1 - p) / V, at most n. Where all votes agree V says
    nothing, and the effective number is the smaller of the numbers of raters and items.

    Args:
        values: (n,) 1 for a win, 0 for a loss, 0.5 for a tie; n >= 1.
        raters: (n,) who voted.
        items: (n,) on what.
    """
    p, n = float(values.mean()), len(values)
    counts = len(set(raters)), len(set(items))
    variance = two_way_variance(values - p, raters, items)
    effective = float(n) if variance == 0 else min(float(n), p * (1 - p) / variance)
    if p in (0.0, 1.0):
        effective = float(min(counts))
    low, high = wilson(p, effective) if effective > 0 else (0.0, 1.0)
    return Share(p, low, high, *wilson(p, n), n, *counts)


def wins(votes: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """Return the votes between two methods with a column `value`: 1 where the first won, 0.5 for a tie."""
    faced = votes[votes["left"].isin([first, second]) & votes["right"].isin([first, second])]
    chosen = np.where(faced["choice"] == "left", faced["left"], faced["right"])
    return faced.assign(value=np.where(faced["choice"] == "tie", 0.5, (chosen == first).astype(float)))


def counted(votes: pd.DataFrame, kind: Kind = Kind.MAIN) -> pd.DataFrame:
    """Return the votes of one kind by raters who kept the rules."""
    return votes[~votes["excluded"] & (votes["kind"] == kind)]


def shares(votes: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Return a row per pair of methods and dataset (and "all"): the fields of `Share`, and items won, lost, tied."""
    main, lines = counted(votes), []
    for first, second in combinations(methods, 2):
        faced = wins(main, first, second)
        datasets = list(dict.fromkeys(faced["dataset"]))
        for dataset in ["all", *(datasets if len(datasets) > 1 else [])]:
            part = faced if dataset == "all" else faced[faced["dataset"] == dataset]
            if len(part):
                one = share(*(part[name].to_numpy() for name in ("value", "rater", "item")))
                lines.append({"first": first, "second": second, "dataset": dataset, **vars(one), **_items(part)})
    return pd.DataFrame(lines)


def _items(faced: pd.DataFrame) -> dict[str, int]:
    mean = faced.groupby("item")["value"].mean()
    return {
        "items_won": int((mean > 0.5).sum()),
        "items_lost": int((mean < 0.5).sum()),
        "items_tied": int((mean == 0.5).sum()),
    }


def left_share(votes: pd.DataFrame) -> Share | None:
    """Return how often the left image was chosen, of the votes that chose one."""
    main = counted(votes)
    main = main[main["choice"] != "tie"]
    if main.empty:
        return None
    value = (main["choice"] == "left").to_numpy(dtype=np.float64)
    return share(value, main["rater"].to_numpy(), main["item"].to_numpy())


def consistency(votes: pd.DataFrame) -> tuple[int, int]:
    """Return how many repeats (sides swapped) got the same answer as the trial before, and how many there are."""
    main, repeats = counted(votes), counted(votes, Kind.REPEAT)
    both = repeats.merge(main, on=["rater", "item"], suffixes=("", "_before"))
    swapped = (both["left"] == both["right_before"]) & (both["right"] == both["left_before"])
    both = both[swapped]
    mirror = {"left": "right", "right": "left", "tie": "tie"}
    return int((both["choice"] == both["choice_before"].map(mirror)).sum()), len(both)


def alpha(values: Sequence[Any], units: Sequence[Any]) -> float | None:
    """Return Krippendorff's alpha of nominal values: 1 full agreement, 0 chance; None where nothing can be compared.

    Args:
        values: (n,) what was said.
        units: (n,) about what; units with one value are left out.

    >>> alpha([0, 0, 1, 1], ["a", "a", "b", "b"])
    1.0
    """
    table = pd.crosstab(pd.Series(list(units)), pd.Series(list(values))).to_numpy(dtype=np.float64)
    table = table[table.sum(axis=1) > 1]
    if not len(table):
        return None
    size = table.sum(axis=1, keepdims=True)
    observed = float(((table * (size - table)) / (size - 1)).sum())
    totals, n = table.sum(axis=0), float(table.sum())
    expected = float((totals * (n - totals)).sum()) / (n - 1)
    return 1 - observed / expected if expected > 0 else None


def agreement(votes: pd.DataFrame) -> float | None:
    """Return Krippendorff's alpha of which method was chosen, over items and pairs of methods."""
    main = counted(votes)
    chosen = np.where(main["choice"] == "tie", "tie", np.where(main["choice"] == "left", main["left"], main["right"]))
    pair = [tuple(sorted(both)) for both in zip(main["left"], main["right"], strict=True)]
    units = [f"{item}: {a} {b}" for item, (a, b) in zip(main["item"], pair, strict=True)]
    return alpha(chosen.tolist(), units)


def bradley_terry(votes: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Return the log-strengths of methods; the first is 0.

    Returns:
        Columns method, strength, low, high (95 %, clustered by rater and item), note. Where a method never lost, or
        never won, against the rest, the strengths are held back by a ridge and have no interval.
    """
    from choix import opt_pairwise

    faced = counted(votes)
    faced = faced[faced["left"].isin(methods) & faced["right"].isin(methods)]
    duels = _duels(faced, methods)
    separate = not _connected(duels, len(methods))
    strengths = opt_pairwise(len(methods), [tuple(duel) for duel in duels.tolist()], alpha=RIDGE if separate else 0.0)
    strengths = np.asarray(strengths - strengths[0], dtype=np.float64)
    note = f"ridge {RIDGE}: a method never lost, or never won, against the rest" if separate else ""
    errors = np.full(len(methods), np.nan) if separate else _errors(faced, methods, strengths)
    half = float(ndtri(0.975)) * errors
    columns = {"method": list(methods), "strength": strengths, "low": strengths - half, "high": strengths + half}
    return pd.DataFrame({**columns, "note": note})


def _duels(faced: pd.DataFrame, methods: Sequence[str]) -> NDArray[np.int64]:
    """(winner, loser) of every vote, twice; a tie once each way, so that it weighs as much."""
    place = {method: number for number, method in enumerate(methods)}
    left, right = (faced[side].map(place).to_numpy() for side in ("left", "right"))
    choice = faced["choice"].to_numpy()
    as_cast = np.where(choice == "right", right, left), np.where(choice == "right", left, right)
    mirrored = np.where(choice == "tie", as_cast[1], as_cast[0]), np.where(choice == "tie", as_cast[0], as_cast[1])
    return np.concatenate([np.stack(as_cast, axis=1), np.stack(mirrored, axis=1)]).astype(np.int64)


def _connected(duels: NDArray[np.int64], methods: int) -> bool:
    """Whether every method beat every other one, directly or through others: then the strengths are finite."""
    reach = np.eye(methods, dtype=bool)
    reach[duels[:, 0], duels[:, 1]] = True
    for _ in range(methods):
        reach = reach @ reach
    return bool(reach.all())


def _errors(faced: pd.DataFrame, methods: Sequence[str], strengths: Floats) -> Floats:
    """Standard errors of the strengths against the first, by the two-way clustered sandwich of the logistic model."""
    place = {method: number for number, method in enumerate(methods)}
    left, right = (faced[side].map(place).to_numpy() for side in ("left", "right"))
    design = np.eye(len(methods))[left] - np.eye(len(methods))[right]
    chance = 1 / (1 + np.exp(-(design @ strengths)))
    value = faced["choice"].map({"left": 1.0, "right": 0.0, "tie": 0.5}).to_numpy(dtype=np.float64)
    design = design[:, 1:]
    inverse = np.linalg.inv(design.T @ (design * (chance * (1 - chance))[:, None]))
    raters, items = faced["rater"].to_numpy(), faced["item"].to_numpy()
    influence = design @ inverse * (value - chance)[:, None] * len(value)
    return np.sqrt([0.0, *(two_way_variance(column, raters, items) for column in influence.T)])


def metric_agreement(votes: pd.DataFrame, items: Sequence[dict[str, Any]], methods: Sequence[str]) -> pd.DataFrame:
    """Return, for each recogniser, on how many items its similarity prefers what the majority of raters prefers.

    Returns:
        Columns metric, items (with a majority and two values), agree.
    """
    main, agrees = counted(votes), dict[str, list[bool]]()
    for first, second in combinations(methods, 2):
        mean = wins(main, first, second).groupby("item")["value"].mean()
        for item, value in mean[mean != 0.5].items():
            similarity = items[int(str(item))]["similarity"]
            for metric in similarity[first].keys() & similarity[second].keys():
                a, b = similarity[first][metric], similarity[second][metric]
                if a is not None and b is not None:
                    agrees.setdefault(metric, []).append((a > b) == (value > 0.5))
    lines = [{"metric": name, "items": len(agrees[name]), "agree": sum(agrees[name])} for name in sorted(agrees)]
    return pd.DataFrame(lines, columns=["metric", "items", "agree"])
