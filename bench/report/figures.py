"""Charts from tables of scores, as matplotlib objects. Names come from outside: none is read as mathematics."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.report.compare import Comparison
from bench.report.frames import Number, Run, of_number
from bench.report.paper import METRICS, PAPER, STATISTICS, title, variants
from bench.report.published import METRICS as PUBLISHED
from bench.report.ranking import ALPHA
from bench.report.tables import short
from bench.store import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#B2A100")
"""Okabe and Ito's palette (its yellow darkened for white paper): told apart by colour-blind readers too."""
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
GREY = "#707070"
BANDWIDTH = 0.015  # least, in units of cosine: a method that always answers the same is a narrow bump, not a spike
MOST = 30  # lines of a forest plot: with more, only the differences to the best method are drawn


def density(values: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian kernel density with Silverman's bandwidth, at least `BANDWIDTH`."""
    width = max(1.06 * float(values.std()) * len(values) ** -0.2, BANDWIDTH)
    return np.exp(-0.5 * ((at[:, None] - values) / width) ** 2).mean(axis=1) / (width * np.sqrt(2 * np.pi))


def similarity(runs: Mapping[str, Run], recogniser: str) -> Figure:
    """The distribution of ID similarity, one curve per method, as the paper's Fig. 5 draws it; controls are thin."""
    figure, axes = new((6.4, 3.6))
    at, lines, peaks = np.linspace(-0.4, 1.05, 600), [], []
    for number, (name, run) in enumerate(runs.items()):
        values = run.samples[f"id_similarity[{recogniser}]"].dropna().to_numpy(np.float64)
        if len(values) == 0:
            lines.append((axes.plot([], [], color="none")[0], name, "no face in any sample"))
            continue
        curve, (colour, dash, _) = density(values, at), style(number)
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
    """Colour, dash and marker of the n-th method: no two of 32 are the same."""
    return (
        COLOURS[number % len(COLOURS)],
        DASHES[number // len(COLOURS) % len(DASHES)],
        MARKERS[number % len(MARKERS)],
    )


def new(size: tuple[float, float]) -> tuple[Figure, Axes]:
    """An empty figure with one quiet pair of axes; sizes in inches."""
    from matplotlib.figure import Figure

    figure = Figure(size, dpi=200, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return figure, axes


def legend(axes: Axes, lines: Sequence[tuple[Any, str]]) -> None:
    """A legend in which a name may begin with "_" or hold "$"; beside the axes where it is long."""
    beside: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)} if len(lines) > 6 else {}
    box = axes.legend([line for line, _ in lines], ["."] * len(lines), frameon=False, fontsize=8, **beside)
    for text, (_, name) in zip(box.get_texts(), lines, strict=True):
        text.set(parse_math=False, text=name)


def tradeoff(comparison: Comparison, recogniser: str, diversity: Number) -> Figure:
    """ID similarity against diversity, a point per method with both 95 % intervals; the best are above and right.

    Controls are hollow: `copy` is the corner of perfect identity without diversity, `shuffle` that of the opposite.
    """
    figure, axes = new((5.6, 4.2))
    points = []
    for number, (name, run) in enumerate(comparison.runs.items()):
        x, y = _point(run, diversity), _point(run, ("id_similarity", recogniser, "mean_detected"))
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
    axes.set_xlabel(label(diversity) + " →", parse_math=False)
    axes.set_ylabel(label(("id_similarity", recogniser, "mean_detected")) + " →", parse_math=False)
    return figure


def _point(run: Run, number: Number) -> tuple[float, float, float] | None:
    """A number and the lengths of its interval below and above it (0 where it has none)."""
    rows = of_number(run.scores, number)
    if rows.empty or pd.isna(rows.iloc[0]["value"]):
        return None
    value, low, high = (rows.iloc[0][column] for column in ("value", "low", "high"))
    if pd.isna(low) or pd.isna(high):
        return float(value), 0.0, 0.0
    return float(value), max(float(value - low), 0.0), max(float(high - value), 0.0)


def label(number: Number) -> str:
    """A number as a reader calls it, for an axis.

    >>> label(("lpips_diversity", "lpips", "mean_items"))
    'LPIPS diversity (lpips)'
    >>> label(("retrieval", "arcface", "rank1"))
    'retrieval, rank 1 (arcface)'
    """
    metric, variant, statistic = number
    words = title(statistic, STATISTICS)
    name = title(metric, METRICS) + (f", {words}" if words not in ("mean", "distance") else "")
    return name + (f" ({short(variant, 40)})" if variant else "")


def forest(comparison: Comparison, number: Number) -> Figure:
    """Paired differences of one number with their 95 % intervals, the largest first; filled where significant.

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
    told = f"difference of {label(number)}" + ("; p by Holm" if rows else ": no pair to test")
    axes.set_xlabel(told, parse_math=False, fontsize=9)
    return figure


def _p(value: float | None) -> str:
    """An adjusted p-value as it is read."""
    if value is None or pd.isna(value):
        return "no test"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _drawn(comparison: Comparison, number: Number) -> list[dict[str, Any]]:
    """The pairs of a forest plot, each turned so that its difference is positive, the largest first."""
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
    """The difference as a number that is not negative: of the larger minus the smaller."""
    if row["difference"] >= 0:
        return dict(row)
    swapped = {"a": row["b"], "b": row["a"], "difference": -row["difference"], "low": -row["high"], "high": -row["low"]}
    return {**row, **swapped}


def scatter(first: tuple[str, Run], second: tuple[str, Run], recogniser: str) -> Figure:
    """A point per identity: its mean similarity under one method against that under another.

    Above the diagonal the second method keeps the person better; the counts say how often.
    """
    (name_a, a), (name_b, b) = first, second
    both = pd.concat({"a": _item_means(a, recogniser), "b": _item_means(b, recogniser)}, axis=1).dropna()
    figure, axes = new((4.4, 4.4))
    x, y = both["a"].to_numpy(np.float64), both["b"].to_numpy(np.float64)
    low, high = _limits(np.concatenate([x, y]))
    axes.plot([low, high], [low, high], color=GREY, linewidth=0.8)
    axes.scatter(x, y, s=14, color=COLOURS[0], alpha=0.35 if len(x) > 100 else 0.6, linewidths=0)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    sides = (("above", name_b, int((y > x).sum())), ("below", name_a, int((x > y).sum())))
    told = "\n".join(
        f"{side} the line, {short(name, 24)} better: {count} of {len(both)}" for side, name, count in sides
    )
    axes.set_title(told, loc="left", fontsize=8, parse_math=False)
    for name, put in ((name_a, axes.set_xlabel), (name_b, axes.set_ylabel)):
        put(f"mean similarity of {short(name, 24)} ({short(recogniser, 24)})", parse_math=False, fontsize=8)
    return figure


def _item_means(run: Run, recogniser: str) -> pd.Series:
    return run.samples.groupby("item", sort=False)[f"id_similarity[{recogniser}]"].mean()


def _limits(values: NDArray[np.float64]) -> tuple[float, float]:
    """Round ends of an axis around values of similarity."""
    if not len(values):
        return 0.0, 1.0
    return max(-1.0, np.floor(values.min() * 10 - 0.2) / 10), min(1.05, np.ceil(values.max() * 10 + 0.2) / 10)


def of_comparison(comparison: Comparison) -> Iterator[tuple[str, Figure]]:
    """Every chart of a comparison with the name of its file, one at a time."""
    recognisers = next(iter(comparison.runs.values())).recognisers
    diversity = [n for n in table1(comparison) if n[0] in ("lpips_diversity", "expression_diversity", "pose_diversity")]
    for recogniser in recognisers:
        yield f"similarity-{file_name(recogniser)}", similarity(comparison.runs, recogniser)
        for number in diversity[:1]:
            yield f"tradeoff-{file_name(recogniser)}", tradeoff(comparison, recogniser, number)
    for number in table1(comparison):
        if not of_number(comparison.differences, number)["difference"].dropna().empty:
            yield f"differences-{file_name(number[0])}-{file_name(number[1])}", forest(comparison, number)
    for a, b in _faced(comparison):
        recogniser = comparison.headline or recognisers[0]
        yield (
            f"identities-{file_name(a)}-{file_name(b)}",
            scatter((a, comparison.runs[a]), (b, comparison.runs[b]), recogniser),
        )


def table1(comparison: Comparison) -> list[Number]:
    """The numbers of the paper's Table 1, and ID similarity under every recogniser."""
    found = []
    for metric, name in PAPER.items():
        networks = [variant for variant in variants(comparison.scores, metric) if variant]
        chosen = networks if metric == "id_similarity" else networks[:1]
        found += [(metric, variant, PUBLISHED[name][1]) for variant in chosen]
    return found


def _faced(comparison: Comparison, most: int = 3) -> Iterable[tuple[str, str]]:
    """Pairs for the scatter of identities: all of up to three generators, else the best against every other one.

    A generator alone is put against every control, and controls alone against one another.
    """
    recognisers = next(iter(comparison.runs.values())).recognisers
    if not recognisers:
        return []
    generators = [name for name, run in comparison.runs.items() if not run.is_control]
    if len(generators) == 1:
        return [(generators[0], name) for name in comparison.runs if name != generators[0]]
    names = generators or list(comparison.runs)
    if len(names) <= most:
        return combinations(names, 2)
    means = {n: _item_means(comparison.runs[n], comparison.headline or recognisers[0]).mean() for n in names}
    best = max(names, key=lambda name: -1.0 if np.isnan(means[name]) else means[name])
    return [(name, best) for name in names if name != best]


def clear(folder: Path, kinds: Iterable[str]) -> None:
    """Drops the figures of some kinds (the first word of their files) that an earlier report left in a folder."""
    for path in [found for kind in kinds for found in folder.glob(f"{kind}-*")]:
        if path.suffix in (".png", ".pdf"):
            path.unlink()


def file_name(text: str) -> str:
    """A part of a file's name from any text.

    >>> file_name("../a b.c")
    '.._a_b.c'
    """
    return re.sub(r"[^\w.+-]+", "_", text)[:60].replace("/", "_")


def save(figure: Figure, path: Path, fonts: int = 42) -> None:
    """Writes a figure as `path`.png and `path`.pdf, without a time stamp.

    Args:
        figure: to write.
        path: without its ending.
        fonts: how the PDF holds them: 42 (TrueType, as publishers want it) or 3, which is four times as fast.
    """
    from matplotlib import rc_context

    for kind, metadata in (("png", {"Software": "idbench"}), ("pdf", {"CreationDate": None})):
        data = BytesIO()
        with rc_context({"pdf.fonttype": fonts}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # such a letter is drawn as a box
            figure.savefig(data, format=kind, metadata=metadata)
        write_atomic(path.with_name(f"{path.name}.{kind}"), data.getvalue())
