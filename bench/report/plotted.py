"""What the figures of a comparison show, as data frames: they are written next to the images as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from bench.metrics.protocol import Number
from bench.report.compare import Comparison
from bench.report.frames import SIMILARITY, Run, item_means, of_number, similarity_of

Point = tuple[float, float]
ENDS = ["value", "low", "high"]


def similarities(runs: Mapping[str, Run], recogniser: str) -> pd.DataFrame:
    """Return a row per sample with a face: method, item, index, similarity."""
    frames = [
        run.samples[["item", "index"]].assign(method=name, similarity=similarity_of(run, recogniser))
        for name, run in runs.items()
    ]
    return pd.concat(frames, ignore_index=True).dropna()[["method", "item", "index", "similarity"]]


def points(comparison: Comparison, recogniser: str, other: Number) -> pd.DataFrame:
    """Return a row per method of a trade-off: method, is_control, x and y with the ends of their intervals."""
    upright = Number(SIMILARITY, recogniser, "mean_detected")
    rows = [
        {"method": name, "is_control": run.is_control, **_ends(run, other, "x"), **_ends(run, upright, "y")}
        for name, run in comparison.runs.items()
    ]
    return pd.DataFrame(rows)


def _ends(run: Run, number: Number, axis: str) -> dict[str, float]:
    rows = of_number(run.scores, number)
    values = [float("nan")] * 3 if rows.empty else rows.iloc[0][ENDS].astype(float)
    return dict(zip((axis, f"{axis}_low", f"{axis}_high"), values, strict=True))


def item_pairs(first: Run, second: Run, recogniser: str) -> pd.DataFrame:
    """Return a row per item that has a mean similarity under both methods: item, first, second."""
    means = {"first": item_means(first, recogniser), "second": item_means(second, recogniser)}
    return pd.concat(means, axis=1).dropna().rename_axis("item").reset_index()


def front(points: Sequence[Point], *, higher_x: bool) -> list[Point]:
    """Return the convex front of some points: no mixture of two others is better in both directions.

    Args:
        points: (x, y); a larger y is better.
        higher_x: whether a larger x is better, too.

    Returns:
        The points of the front by x, ascending.

    >>> front([(0, 3), (1, 1), (2, 2.5), (3, 0), (0, 1)], higher_x=True)
    [(0, 3), (2, 2.5), (3, 0)]
    >>> front([(0, 0), (1, 3), (2, 2)], higher_x=False)
    [(0, 0), (1, 3)]
    """
    sign = 1 if higher_x else -1
    hull: list[Point] = []
    for point in sorted(set(points), key=lambda one: (-sign * one[0], -one[1])):
        while len(hull) > 1 and not _is_left_turn(hull[-2], hull[-1], point, sign):
            hull.pop()
        if not hull or point[1] > hull[-1][1]:
            hull.append(point)
    return sorted(hull)


def _is_left_turn(a: Point, b: Point, c: Point, sign: int) -> bool:
    """Return whether the way from a over b to c bends towards worse values, so that b is a corner of the front."""
    return sign * ((b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0])) > 0
