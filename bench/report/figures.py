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

from bench.metrics.protocol import Number
from bench.report.compare import Comparison
from bench.report.frames import SIMILARITY, Run, item_means, of_number, similarity_of
from bench.report.model import Kind, Written
from bench.report.numbers import Better, better, label, main_numbers, reads_recognisers
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
MOST = 30
"""Lines of a forest plot: with more, only the differences to the best method are drawn."""
SIMILARITIES = Kind(
    "similarity",
    "Distribution of ID similarity",
    "A curve per method over its samples with a face; controls are thin.",
)
TRADEOFF = Kind(
    "tradeoff",
    "ID similarity against another number",
    "A point per method with both 95 % intervals; the arrows point to the better side, controls are hollow.",
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
    """

    kind: Kind
    parts: tuple[str, ...]
    variant: str
    figure: Figure

    @property
    def stem(self) -> str:
        """The name of its files, without ending."""
        return "-".join([self.kind.name, *map(file_name, self.parts)])


def density(values: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Gaussian kernel density with Silverman's bandwidth, at least `BANDWIDTH`."""
    width = max(1.06 * float(values.std()) * len(values) ** -0.2, BANDWIDTH)
    return np.exp(-0.5 * ((at[:, None] - values) / width) ** 2).mean(axis=1) / (width * np.sqrt(2 * np.pi))


def similarity(runs: Mapping[str, Run], recogniser: str) -> Figure:
    """Draw the distribution of ID similarity, one curve per method, as the paper's Fig. 5 does; controls are thin."""
    figure, axes = new((6.4, 3.6))
    at = np.linspace(-0.4, 1.05, 600)
    lines: list[tuple[Any, str, str]] = []
    peaks: list[float] = []
    for number, (name, run) in enumerate(runs.items()):
        values = similarity_of(run, recogniser).dropna().to_numpy(np.float64)
        if len(values) == 0:
            lines.append((axes.plot([], [], color="none")[0], name, "no face in any sample"))
            continue
        curve = density(values, at)
        colour, dash, _ = style(number)
        peaks.append(float(curve.max()))
        [line] = axes.plot(at, curve, color=colour, linestyle=dash, linewidth=1 if run.is_control else 1.8)
        axes.fill_between(at, curve, color=colour, alpha=0.04 if run.is_control else 0.14, linewidth=0)
        lines.append((line, name, f"mean {values.mean():.3f}, n = {len(values)}"))
    if peaks:
        axes.set_ylim(0, 1.1 * min(max(peaks), 4 * float(np.median(peaks))))
    legend(axes, [(line, f"{short(name, 26)}: {rest}") for line, name, rest in lines])
    axes.set(xlim=(at[0], at[-1]), ylabel="density")
    axes.set_xlabel(f"cosine similarity to the reference ({short(recogniser, 40)})", parse_math=False)
    return figure


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
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return figure, axes


def legend(axes: Axes, lines: Sequence[tuple[Any, str]]) -> None:
    """Draw a legend in which a name may begin with "_" or hold "$"; next to the axes where it is long."""
    outside: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)} if len(lines) > 6 else {}
    box = axes.legend([line for line, _ in lines], ["."] * len(lines), frameon=False, fontsize=8, **outside)
    for text, (_, name) in zip(box.get_texts(), lines, strict=True):
        text.set(parse_math=False, text=name)


def tradeoff(comparison: Comparison, recogniser: str, other: Number) -> Figure:
    """Draw ID similarity against another number, a point per method with both 95 % intervals.

    Controls are hollow: `copy` is the corner of perfect identity without diversity, `shuffle` that of the opposite.
    """
    figure, axes = new((5.6, 4.2))
    upright = Number(SIMILARITY, recogniser, "mean_detected")
    points = []
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
        points.append((bars, short(name, 28) + (" (control)" if run.is_control else "")))
    legend(axes, points)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set_xlabel(pointed(other, better(comparison.scores, other)), parse_math=False)
    axes.set_ylabel(pointed(upright, better(comparison.scores, upright)), parse_math=False)
    return figure


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
    both = pd.concat({"a": item_means(a, recogniser), "b": item_means(b, recogniser)}, axis=1).dropna()
    figure, axes = new((4.4, 4.4))
    x = both["a"].to_numpy(np.float64)
    y = both["b"].to_numpy(np.float64)
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
    there is none). Trade-offs are against every number that reads no recogniser and has a better side.
    """
    recognisers = next(iter(comparison.runs.values())).recognisers
    chief = comparison.headline or next(iter(recognisers), None)
    shown = [number for number in main_numbers(comparison.scores) if _is_drawn(number, chief)]
    for recogniser in recognisers:
        yield Drawing(SIMILARITIES, (recogniser,), recogniser, similarity(comparison.runs, recogniser))
    for number in shown if chief else ():
        if better(comparison.scores, number) and not reads_recognisers(number):
            variant = f"{axis(number)}, by {chief}"
            yield Drawing(TRADEOFF, (str(chief), *_parts(number)), variant, tradeoff(comparison, str(chief), number))
    for number in shown:
        if not of_number(comparison.differences, number)["difference"].dropna().empty:
            yield Drawing(DIFFERENCES, _parts(number), axis(number), forest(comparison, number))
    for a, b in _faced(comparison, chief) if chief else ():
        figure = scatter((a, comparison.runs[a]), (b, comparison.runs[b]), str(chief))
        yield Drawing(IDENTITIES, (a, b), f"{a} and {b}, by {chief}", figure)


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
        if path.suffix in (".png", ".pdf"):
            path.unlink()


def file_name(text: str) -> str:
    """Return a part of a file's name from any text.

    >>> file_name("../a b.c")
    '.._a_b.c'
    """
    return re.sub(r"[^\w.+-]+", "_", text)[:60].replace("/", "_")


def write(drawing: Drawing, folder: Path, fonts: int = 42) -> Written:
    """Write a figure into a folder as PNG and PDF and return where it lies; `fonts` as in `save`."""
    save(drawing.figure, folder / drawing.stem, fonts)
    return Written(drawing.kind, drawing.variant, f"{drawing.stem}.png", f"{drawing.stem}.pdf")


def save(figure: Figure, path: Path, fonts: int = 42) -> None:
    """Write a figure as `path`.png and `path`.pdf, without a time stamp.

    Args:
        figure: to write.
        path: without its ending.
        fonts: how the PDF holds them: 42 (TrueType, as publishers want it) or 3, which is four times as fast.
    """
    from matplotlib import rc_context

    for kind, metadata in (("png", {"Software": "idbench"}), ("pdf", {"CreationDate": None})):
        data = BytesIO()
        with rc_context({"pdf.fonttype": fonts}), warnings.catch_warnings():
            # A letter that the font lacks is drawn as a box.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            figure.savefig(data, format=kind, metadata=metadata)
        write_atomic(path.with_name(f"{path.name}.{kind}"), data.getvalue())
