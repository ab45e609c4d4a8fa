"""Charts from tables of scores, as matplotlib objects. Names come from outside: none is read as mathematics."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.csvs import csv_for_people
from bench.metrics.protocol import Number
from bench.report.compare import Comparison
from bench.report.fonts import family
from bench.report.frames import SIMILARITY, Run, headline, item_means, of_number
from bench.report.model import Kind, Written
from bench.report.numbers import Better, better, label, main_numbers, reads_recognisers, relation_note
from bench.report.plotted import front, item_pairs, points, similarities
from bench.report.ranking import ALPHA
from bench.report.tables import short
from bench.store import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#B2A100")
"""Okabe and Ito's palette (its yellow darkened for white paper): colour-blind readers can distinguish them too."""
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
GREY = "#707070"
BANDWIDTH = 0.015
"""The least, in units of cosine: a method that always answers the same is a narrow bump, not a spike."""
ELEMENTS = 1 << 20
"""Numbers of a density that are held at once, in float64."""
MOST = 30
"""Lines of a forest plot: with more, only the differences to the best method are drawn."""
SIMILARITIES = Kind(
    "similarity",
    "Distribution of ID similarity",
    "A curve per method over its samples with a face; further right keeps the person better. Controls are thin.",
)
TRADEOFF = Kind(
    "tradeoff",
    "ID similarity against another number",
    "A point per method with both 95 % intervals; the arrows point to the better side, controls are hollow. The grey "
    "line joins the generators that no mixture of two others beats.",
)
DIFFERENCES = Kind(
    "differences",
    "Paired differences",
    "The larger number minus the smaller, with its 95 % interval; filled where significant (Holm, 5 %).",
)
IDENTITIES = Kind(
    "identities",
    "Identity by identity",
    "A point per item: its mean similarity under one method against that under the other.",
)


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure that is not written yet.

    Attributes:
        kind: see `bench.report.model.Kind`.
        parts: names that distinguish its files from others of its kind: a network, a number, two methods.
        variant: the same in a reader's words; "" where there is only one of its kind.
        figure: the chart.
        data: what it shows, a row per mark; None where it shows images.
    """

    kind: Kind
    parts: tuple[str, ...]
    variant: str
    figure: Figure
    data: pd.DataFrame | None = None

    @property
    def stem(self) -> str:
        """The name of its files, without ending."""
        return "-".join([self.kind.name, *map(file_name, self.parts)])


def density(values: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Gaussian kernel density with Silverman's bandwidth, at least `BANDWIDTH`."""
    width = max(1.06 * float(values.std()) * len(values) ** -0.2, BANDWIDTH)
    points = max(1, ELEMENTS // len(values))
    parts = (at[start : start + points, None] for start in range(0, len(at), points))
    heights = [np.exp(-0.5 * ((part - values) / width) ** 2).mean(axis=1) for part in parts]
    return np.concatenate(heights) / (width * np.sqrt(2 * np.pi))


def similarity(runs: Mapping[str, Run], recogniser: str) -> Figure:
    """Draw the distribution of ID similarity, one curve per method, as the paper's Fig. 5 does; controls are thin."""
    figure, axes = new((6.4, 3.6))
    _curves(axes, runs, recogniser, {name: style(number) for number, name in enumerate(runs)})
    return figure


def over_datasets(comparisons: Mapping[str, Comparison]) -> Drawing | None:
    """Draw the distributions of ID similarity on several datasets next to each other, as the paper's Fig. 5 does.

    A method has one colour on all of them. None where they share no recogniser.

    Args:
        comparisons: name of the dataset -> comparison.
    """
    recogniser = _shared_judge(list(comparisons.values()))
    if recogniser is None:
        return None
    names = dict.fromkeys(name for comparison in comparisons.values() for name in comparison.runs)
    styles = {name: style(number) for number, name in enumerate(names)}
    figure, every = panels(len(comparisons))
    for axes, (dataset, comparison) in zip(every, comparisons.items(), strict=True):
        _curves(axes, comparison.runs, recogniser, styles)
        axes.annotate(
            short(dataset, 40), (0.01, 0.97), xycoords="axes fraction", va="top", fontsize=9, parse_math=False
        )
    data = pd.concat(
        [similarities(one.runs, recogniser).assign(dataset=name) for name, one in comparisons.items()],
        ignore_index=True,
    )
    return Drawing(SIMILARITIES, (recogniser,), recogniser, figure, data)


def _shared_judge(comparisons: Sequence[Comparison]) -> str | None:
    """Return the recogniser that is the headline everywhere, else the first that all have."""
    every = [next(iter(one.runs.values())).recognisers for one in comparisons]
    shared = [name for name in every[0] if all(name in names for names in every)]
    judges = {one.headline for one in comparisons}
    return next((name for name in shared if judges == {name}), next(iter(shared), None))


def _curves(axes: Axes, runs: Mapping[str, Run], recogniser: str, styles: Mapping[str, tuple[str, str, str]]) -> None:
    """Draw a curve per method into axes, with its mean and number of samples in the legend."""
    frame = similarities(runs, recogniser)
    at = np.linspace(-0.4, 1.05, 600)
    lines: list[tuple[Any, str, str]] = []
    peaks: list[float] = []
    for name, run in runs.items():
        values = frame.loc[frame["method"] == name, "similarity"].to_numpy(np.float64)
        if len(values) == 0:
            lines.append((axes.plot([], [], color="none")[0], name, "no face in any sample"))
            continue
        curve = density(values, at)
        colour, dash, _ = styles[name]
        peaks.append(float(curve.max()))
        [line] = axes.plot(at, curve, color=colour, linestyle=dash, linewidth=1 if run.is_control else 1.8)
        axes.fill_between(at, curve, color=colour, alpha=0.04 if run.is_control else 0.14, linewidth=0)
        lines.append((line, name, f"mean {values.mean():.3f}, n = {len(values)}"))
    if peaks:
        axes.set_ylim(0, 1.1 * min(max(peaks), 4 * float(np.median(peaks))))
    legend(axes, [(line, f"{short(name, 26)}: {rest}") for line, name, rest in lines])
    axes.set(xlim=(at[0], at[-1]), ylabel="density")
    axes.set_xlabel(f"cosine similarity to the reference ({short(recogniser, 40)})", parse_math=False)


def style(number: int) -> tuple[str, str, str]:
    """Return colour, dash and marker of the n-th method: no two of 32 are the same."""
    return (
        COLOURS[number % len(COLOURS)],
        DASHES[number // len(COLOURS) % len(DASHES)],
        MARKERS[number % len(MARKERS)],
    )


def new(size: tuple[float, float]) -> tuple[Figure, Axes]:
    """Return an empty figure with one quiet pair of axes; sizes in inches."""
    from matplotlib.figure import Figure

    figure = Figure(size, dpi=200, layout="constrained")
    axes = figure.subplots()
    _quiet(axes)
    return figure, axes


def panels(number: int) -> tuple[Figure, list[Axes]]:
    """Return an empty figure with some quiet axes next to each other."""
    from matplotlib.figure import Figure

    figure = Figure((5.2 * number, 4.2), dpi=200, layout="constrained")
    every = list(figure.subplots(1, number, squeeze=False)[0])
    for axes in every:
        _quiet(axes)
    return figure, every


def _quiet(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def legend(axes: Axes, lines: Sequence[tuple[Any, str]]) -> None:
    """Draw a legend above the axes, so that it hides nothing; a name in it may begin with "_" or hold "$"."""
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "ncols": 1 if len(lines) < 3 else 2}
    box = axes.legend([line for line, _ in lines], ["."] * len(lines), frameon=False, fontsize=7.5, **place)
    for text, (_, name) in zip(box.get_texts(), lines, strict=True):
        text.set(parse_math=False, text=name)


def tradeoff(comparison: Comparison, recogniser: str, other: Number) -> Figure:
    """Draw ID similarity against another number, a point per method with both 95 % intervals.

    Controls are hollow: `copy` is the corner of perfect identity without diversity, `shuffle` that of the opposite.
    """
    figure, axes = new((5.6, 4.2))
    upright = Number(SIMILARITY, recogniser, "mean_detected")
    marks = []
    _front(axes, comparison, recogniser, other)
    for number, (name, run) in enumerate(comparison.runs.items()):
        x = _point(run, other)
        y = _point(run, upright)
        if x is None or y is None:
            continue
        colour, _, marker = style(number)
        face = "white" if run.is_control else colour
        bars = axes.errorbar(
            x[0], y[0], xerr=[[x[1]], [x[2]]], yerr=[[y[1]], [y[2]]], fmt=marker, color=colour, ecolor=colour,
            elinewidth=1.2, capsize=2.5, markersize=7, markerfacecolor=face, markeredgewidth=1.3,
        )  # fmt: skip
        marks.append((bars, short(name, 28) + (" (control)" if run.is_control else "")))
    legend(axes, marks)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set_xlabel(pointed(other, better(comparison.scores, other)), parse_math=False)
    axes.set_ylabel(pointed(upright, better(comparison.scores, upright)), parse_math=False)
    return figure


def _front(axes: Axes, comparison: Comparison, recogniser: str, other: Number) -> None:
    """Draw the convex front of the generators, where the other number has a better side."""
    direction = better(comparison.scores, other)
    rows = points(comparison, recogniser, other).dropna(subset=["x", "y"])
    rows = rows[~rows["is_control"]]
    if direction and len(rows) > 1:
        corners = front(list(zip(rows["x"], rows["y"], strict=True)), higher_x=direction == "higher")
        axes.plot(*zip(*corners, strict=True), color=GREY, linewidth=0.9, alpha=0.6, zorder=0.5)


def _point(run: Run, number: Number) -> tuple[float, float, float] | None:
    """Return a number and the lengths of its interval below and above it (0 where it has none)."""
    rows = of_number(run.scores, number)
    if rows.empty or pd.isna(rows.iloc[0]["value"]):
        return None
    value, low, high = (rows.iloc[0][column] for column in ("value", "low", "high"))
    if pd.isna(low) or pd.isna(high):
        return float(value), 0.0, 0.0
    return float(value), max(float(value - low), 0.0), max(float(high - value), 0.0)


def axis(number: Number) -> str:
    """Return a number as a reader calls it, for an axis.

    >>> axis(Number("lpips_diversity", "lpips", "mean_items"))
    'LPIPS diversity (lpips)'
    """
    return label(number) + (f" ({short(number.variant, 40)})" if number.variant else "")


def pointed(number: Number, direction: Better) -> str:
    """Return the label of an axis with an arrow to the better side.

    >>> pointed(Number("fid", "inception", "distance"), "lower")
    '← FID (inception)'
    """
    return {"higher": f"{axis(number)} →", "lower": f"← {axis(number)}", "": axis(number)}[direction]


def forest(comparison: Comparison, number: Number) -> Figure:
    """Draw the paired differences of one number with their 95 % intervals, the largest first; filled where significant.

    Each line is the better method minus the other in the sense of the number. With more than `MOST` pairs only those
    with the best method are drawn. Pairs with a control are left out where there are two generators.
    """
    rows = _drawn(comparison, number)
    figure, axes = new((6.8, 0.9 + 0.27 * max(len(rows), 2)))
    for at, row in enumerate(rows):
        significant = pd.notna(row["p_holm"]) and row["p_holm"] <= ALPHA
        colour = COLOURS[0] if significant else GREY
        if pd.notna(row["low"]):
            axes.plot([row["low"], row["high"]], [at, at], color=colour, linewidth=1.6, solid_capstyle="butt")
        face = colour if significant else "white"
        axes.plot(row["difference"], at, "s", color=colour, markerfacecolor=face, markersize=5)
        axes.text(1.02, at, _p(row["p_holm"]), transform=axes.get_yaxis_transform(), fontsize=7, va="center")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(ylim=(max(len(rows), 1) - 0.4, -0.6))
    axes.set_yticks(range(len(rows)), [f"{short(row['a'], 24)} − {short(row['b'], 24)}" for row in rows])
    for text in axes.get_yticklabels():
        text.set_parse_math(False)
    said = f"difference of {axis(number)}" + ("; p by Holm" if rows else ": no pair to test")
    axes.set_xlabel(said, parse_math=False, fontsize=9)
    return figure


def _p(value: float | None) -> str:
    """Return an adjusted p-value as it is read."""
    if value is None or pd.isna(value):
        return "no test"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _drawn(comparison: Comparison, number: Number) -> list[dict[str, Any]]:
    """Return the pairs of a forest plot, each turned so that its difference is positive, the largest first."""
    rows = of_number(comparison.differences, number).dropna(subset=["difference"])
    generators = [name for name, run in comparison.runs.items() if not run.is_control]
    if len(generators) > 1:
        rows = rows[rows["a"].isin(generators) & rows["b"].isin(generators)]
    turned = [_turned(row) for row in rows.to_dict("records")]
    if len(turned) > MOST:
        wins = pd.Series([row["a"] for row in turned]).value_counts()
        turned = [row for row in turned if row["a"] == wins.index[0]]
    return sorted(turned, key=lambda row: -row["difference"])


def _turned(row: dict[Any, Any]) -> dict[str, Any]:
    """Return the difference as a number that is not negative: the larger minus the smaller."""
    if row["difference"] >= 0:
        return dict(row)
    swapped = {"a": row["b"], "b": row["a"], "difference": -row["difference"], "low": -row["high"], "high": -row["low"]}
    return {**row, **swapped}


def scatter(first: tuple[str, Run], second: tuple[str, Run], recogniser: str) -> Figure:
    """Draw a point per identity: its mean similarity under one method against that under another.

    Above the diagonal the second method keeps the person better; the counts say how often.
    """
    (name_a, a), (name_b, b) = first, second
    both = item_pairs(a, b, recogniser)
    figure, axes = new((4.4, 4.4))
    x = both["first"].to_numpy(np.float64)
    y = both["second"].to_numpy(np.float64)
    low, high = _limits(np.concatenate([x, y]))
    axes.plot([low, high], [low, high], color=GREY, linewidth=0.8)
    axes.scatter(x, y, s=14, color=COLOURS[0], alpha=0.35 if len(x) > 100 else 0.6, linewidths=0)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    sides = (("above", name_b, int((y > x).sum())), ("below", name_a, int((x > y).sum())))
    counted = "\n".join(
        f"{side} the line, {short(name, 24)} better: {count} of {len(both)}" for side, name, count in sides
    )
    axes.set_title(counted, loc="left", fontsize=8, parse_math=False)
    for name, put in ((name_a, axes.set_xlabel), (name_b, axes.set_ylabel)):
        put(f"mean similarity of {short(name, 24)} ({short(recogniser, 24)})", parse_math=False, fontsize=8)
    return figure


def _limits(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return round ends of an axis around values of similarity."""
    if not len(values):
        return 0.0, 1.0
    return max(-1.0, np.floor(values.min() * 10 - 0.2) / 10), min(1.05, np.ceil(values.max() * 10 + 0.2) / 10)


def of_comparison(comparison: Comparison) -> Iterator[Drawing]:
    """Yield every chart of a comparison, one at a time.

    ID similarity is drawn under every recogniser, what else reads recognisers under the headline one (the first where
    there is none). Trade-offs are against every number that reads no recogniser and has a better side; under other
    recognisers against the first of them alone.
    """
    recognisers = next(iter(comparison.runs.values())).recognisers
    chief = comparison.headline or next(iter(recognisers), None)
    shown = [number for number in main_numbers(comparison.scores) if _is_drawn(number, chief)]
    yield from of_similarity(comparison.runs)
    against = [one for one in shown if better(comparison.scores, one) and not reads_recognisers(one)]
    for recogniser in sorted(recognisers, key=lambda name: name != chief):
        for number in against if recogniser == chief else against[:1]:
            yield _tradeoff(comparison, recogniser, number)
    for number in shown:
        if not of_number(comparison.differences, number)["difference"].dropna().empty:
            data = pd.DataFrame(_drawn(comparison, number))
            yield Drawing(DIFFERENCES, _parts(number), axis(number), forest(comparison, number), data)
    for a, b in _faced(comparison, chief) if chief else ():
        yield _scatter((a, comparison.runs[a]), (b, comparison.runs[b]), str(chief))


def of_similarity(runs: Mapping[str, Run]) -> Iterator[Drawing]:
    """Yield the distributions of ID similarity under every recogniser by which a sample has one, the judge's first."""
    chief = headline([*runs.values()])
    scores = pd.concat([run.scores.assign(run=name) for name, run in runs.items()])
    for recogniser in sorted(next(iter(runs.values())).recognisers, key=lambda one: one != chief):
        data = similarities(runs, recogniser)
        if len(data):
            note = relation_note(scores, recogniser, chief)
            told = f"{recogniser} ({note})" if note else recogniser
            yield Drawing(SIMILARITIES, (recogniser,), told, similarity(runs, recogniser), data)


def _tradeoff(comparison: Comparison, recogniser: str, number: Number) -> Drawing:
    figure = tradeoff(comparison, recogniser, number)
    data = points(comparison, recogniser, number)
    return Drawing(TRADEOFF, (recogniser, *_parts(number)), f"{axis(number)}, by {recogniser}", figure, data)


def _scatter(first: tuple[str, Run], second: tuple[str, Run], recogniser: str) -> Drawing:
    (a, run_a), (b, run_b) = first, second
    figure = scatter(first, second, recogniser)
    data = item_pairs(run_a, run_b, recogniser).assign(first_method=a, second_method=b)
    return Drawing(IDENTITIES, (a, b), f"{a} and {b}, by {recogniser}", figure, data)


def _is_drawn(number: Number, chief: str | None) -> bool:
    """Return whether a number has figures of its own, given the recogniser under which numbers are drawn."""
    return number.metric == SIMILARITY or not reads_recognisers(number) or chief in (None, number.variant)


def _parts(number: Number) -> tuple[str, ...]:
    """Return what distinguishes a main number from the others, for the name of a file.

    >>> _parts(Number("fid", "inception", "distance")), _parts(Number("verification", "judge", "fnmr", "1e-3"))
    (('fid', 'inception'), ('verification', 'judge', '1e-3'))
    """
    return tuple(filter(None, (number.metric, number.variant, number.level)))


def _faced(comparison: Comparison, recogniser: str, most: int = 3) -> Iterable[tuple[str, str]]:
    """Return pairs for the scatter of identities: all of up to three generators, else the best against every other one.

    A generator alone is drawn against every control, and controls alone against one another.
    """
    generators = [name for name, run in comparison.runs.items() if not run.is_control]
    if len(generators) == 1:
        return [(generators[0], name) for name in comparison.runs if name != generators[0]]
    names = generators or list(comparison.runs)
    if len(names) <= most:
        return combinations(names, 2)
    means = {name: item_means(comparison.runs[name], recogniser).mean() for name in names}
    best = max(names, key=lambda name: -1.0 if np.isnan(means[name]) else means[name])
    return [(name, best) for name in names if name != best]


def clear(folder: Path, kinds: Iterable[Kind]) -> None:
    """Delete the figures of some kinds that an earlier report left in a folder."""
    for path in [found for kind in kinds for found in folder.glob(f"{kind.name}-*")]:
        if path.suffix in (".png", ".pdf", ".csv"):
            path.unlink()


def file_name(text: str) -> str:
    """Return a part of a file's name from any text.

    >>> file_name("../a b.c")
    '.._a_b.c'
    """
    return re.sub(r"[^\w.+-]+", "_", text)[:60].replace("/", "_")


def write(drawing: Drawing, folder: Path) -> Written:
    """Write a figure as PNG and PDF, and its data as CSV, into a folder.

    Returns:
        Where it lies.
    """
    save(drawing.figure, folder / drawing.stem)
    csv = "" if drawing.data is None else f"{drawing.stem}.csv"
    if drawing.data is not None:
        write_atomic(folder / csv, csv_for_people(drawing.data))
    return Written(drawing.kind, drawing.variant, f"{drawing.stem}.png", f"{drawing.stem}.pdf", csv)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as `path`.png and `path`.pdf, without a time stamp; the PDF holds its fonts as TrueType.

    Args:
        figure: to write.
        path: without its ending.
    """
    from matplotlib import rc_context, rcParams

    fonts = [family(), *rcParams["font.sans-serif"]]
    for kind, metadata in (("png", {"Software": "idbench"}), ("pdf", {"CreationDate": None})):
        data = BytesIO()
        with rc_context({"pdf.fonttype": 42, "font.sans-serif": fonts}), warnings.catch_warnings():
            # A letter that the font lacks is drawn as a box.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            figure.savefig(data, format=kind, metadata=metadata)
        write_atomic(path.with_name(f"{path.name}.{kind}"), data.getvalue())
