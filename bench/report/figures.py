"""Figures from tables of scores, as matplotlib objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.report.frames import Run
from bench.store import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#B2A100")
"""Okabe and Ito's palette (its yellow darkened for white paper): told apart by colour-blind readers too."""
DASHES = ("-", "--", "-.", ":")
BANDWIDTH = 0.015  # least, in units of cosine: a method that always answers the same is a narrow bump, not a spike


def density(values: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian kernel density with Silverman's bandwidth, at least `BANDWIDTH`."""
    width = max(1.06 * float(values.std()) * len(values) ** -0.2, BANDWIDTH)
    return np.exp(-0.5 * ((at[:, None] - values) / width) ** 2).mean(axis=1) / (width * np.sqrt(2 * np.pi))


def similarity(runs: Mapping[str, Run], recogniser: str) -> Figure:
    """The distribution of ID similarity, one curve per method, as the paper's Fig. 5 draws it."""
    figure, axes = new((6.4, 3.6))
    at = np.linspace(-0.4, 1.05, 600)
    peaks = []
    for number, (name, run) in enumerate(runs.items()):
        values = run.samples[f"id_similarity[{recogniser}]"].dropna().to_numpy(np.float64)
        if len(values) == 0:
            continue
        curve = density(values, at)
        peaks.append(float(curve.max()))
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]
        label = f"{name}, mean {values.mean():.3f}, n = {len(values)}"
        axes.plot(at, curve, color=colour, linestyle=dash, linewidth=1.8, label=label)
        axes.fill_between(at, curve, color=colour, alpha=0.12, linewidth=0)
    if peaks:
        axes.set_ylim(0, 1.1 * min(max(peaks), 4 * float(np.median(peaks))))
        axes.legend(frameon=False, fontsize=8)
    axes.set(xlim=(at[0], at[-1]), xlabel=f"cosine similarity to the reference ({recogniser})", ylabel="density")
    return figure


def new(size: tuple[float, float]) -> tuple[Figure, Axes]:
    """An empty figure with one quiet pair of axes; sizes in inches."""
    from matplotlib.figure import Figure

    figure = Figure(size, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def grid(run: Run, recogniser: str, items: Sequence[str]) -> Figure:
    """Reference and samples of some items, a row each, with each sample's similarity or failure under it."""
    from matplotlib.figure import Figure

    per_item = int(run.samples["index"].max()) + 1
    rows = max(len(items), 1)
    figure = Figure((1.25 * (per_item + 1), 1.42 * rows), layout="constrained")
    table = figure.subplots(rows, per_item + 1, squeeze=False)
    for axes in table.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    references = run.photos[run.photos["role"] == "reference"].set_index("item")
    for row, item in zip(table, items, strict=False):
        _picture(row[0], Path(str(references.loc[item, "path"])), short(item))
        for _, sample in run.samples[run.samples["item"] == item].iterrows():
            value = sample[f"id_similarity[{recogniser}]"]
            caption = sample["status"] if np.isnan(value) else f"{value:.2f}"
            path = run.folder / sample["path"] if sample["path"] else None
            _picture(row[1 + int(sample["index"])], path, caption)
    return figure


def spread(run: Run, recogniser: str, count: int = 8) -> list[str]:
    """Items from the best to the worst mean similarity, evenly spread; items without any come last."""
    means = run.samples.groupby("item", sort=False)[f"id_similarity[{recogniser}]"].mean()
    ordered = list(means.sort_values(ascending=False, kind="stable", na_position="last").index)
    places = np.unique(np.linspace(0, len(ordered) - 1, min(count, len(ordered))).round().astype(int))
    return [ordered[place] for place in places]


def short(text: str, length: int = 18) -> str:
    """A name that fits under a thumbnail: one line, printable, cut in the middle."""
    text = "".join(c if c.isprintable() else "�" for c in text)
    return text if len(text) <= length else f"{text[: length // 2 - 1]}…{text[-(length // 2) :]}"


def _picture(axes: Axes, path: Path | None, caption: str) -> None:
    image = thumbnail(path) if path is not None else None
    axes.imshow(np.full((2, 2, 3), 235, np.uint8) if image is None else image)
    axes.set_xlabel(caption, fontsize=6, labelpad=2, parse_math=False)


def thumbnail(path: Path, size: int = 160) -> NDArray[np.uint8] | None:
    """The picture fitted into `size` x `size` (LANCZOS), (h, w, 3) uint8 RGB; None where it cannot be read."""
    from PIL import Image

    from bench.images import ImageError, read_image

    try:
        image = Image.fromarray(read_image(path))
    except ImageError:
        return None
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    return np.asarray(image)


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as `path`.png (200 dpi) and `path`.pdf, without a time stamp."""
    for kind, metadata in (("png", {"Software": "idbench"}), ("pdf", {"CreationDate": None})):
        data = BytesIO()
        figure.savefig(data, format=kind, dpi=200, metadata=metadata)
        write_atomic(path.with_suffix(f".{kind}"), data.getvalue())
