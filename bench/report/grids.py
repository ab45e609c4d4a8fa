"""Grids of images: references and samples with their similarity, and every failure with its reason."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.report.figures import GREY, Drawing
from bench.report.frames import SIMILARITY, Run, headline, item_means, sample_column
from bench.report.model import Kind
from bench.report.tables import plain, short
from bench.report.thumbnails import thumbnail
from bench.sample_files import below, image_of
from bench.status import SampleStatus

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bench.images import Source

SIZE = 160
"""Pixels of the longer side of a thumbnail."""
GAP = 8
CAPTION = 30
"""Pixels below a thumbnail."""
INCH = 130
"""Pixels of an inch on paper."""
PAGE = 40
"""Failures on a page."""
GRID = Kind(
    "grid",
    "Best, median and worst items",
    "The reference and its samples, an item per row, with the similarity of each sample to the reference.",
    wide=True,
)
FAILURES = Kind("failures", "Failures", "Every failed sample next to its reference, with the reason.", wide=True)
KEEP = "Holds photographs of {label}, which must not be passed on."


@dataclass(frozen=True, eq=False)
class Tile:
    """An image with its caption (any text); (h, w, 3) uint8 RGB of at most `SIZE`, or None where there is none."""

    image: NDArray[np.uint8] | None
    caption: str


def spread(run: Run, recogniser: str, each: int = 3) -> dict[str, list[str]]:
    """Return the best, median and worst items by mean similarity, `each` of them; items without any are not among them.

    No item is in two groups: of few items, the best come first, then the worst.
    """
    means = item_means(run, recogniser).dropna()
    order = [str(item) for item in means.sort_values(ascending=False, kind="stable").index]
    best, rest = order[:each], order[each:]
    worst, rest = rest[-each:], rest[:-each]
    start = max((len(rest) - each) // 2, 0)
    groups = {"best": best, "median": rest[start : start + each], "worst": worst}
    return {name: items for name, items in groups.items() if items}


def grid(run: Run, recogniser: str, groups: dict[str, list[str]], *, references: bool = True) -> Figure:
    """Draw reference and samples of some items, a row each, with each sample's similarity or failure under it.

    Args:
        run: whose samples.
        recogniser: whose similarity is shown.
        groups: heading -> items below it.
        references: whether to show the references' images.
    """
    rows = [(group, item) for group, items in groups.items() for item in items]
    firsts = {items[0]: group for group, items in groups.items() if items}
    tiles = [_item(run, recogniser, item, references=references) for _, item in rows]
    sides = [firsts.get(item, "") for _, item in rows]
    said = f"{_title(run)}; cosine to the reference by {short(recogniser, 40)}."
    return mosaic(tiles, sides=sides, note=f"{said} {private_note(run) if references else ''}")


def _item(run: Run, recogniser: str, item: str, *, references: bool) -> list[Tile]:
    samples = run.samples[run.samples["item"] == item].sort_values("index")
    return [
        Tile(reference_image(run, item) if references else None, short(item, 20)),
        *(Tile(sample_image(run, row), _caption(row, recogniser)) for _, row in samples.iterrows()),
    ]


def _caption(row: pd.Series, recogniser: str) -> str:
    value = row[sample_column(SIMILARITY, recogniser)]
    return str(row["status"]).replace("_", " ") if pd.isna(value) else f"{value:.2f}"


def reference_image(run: Run, item: str) -> NDArray[np.uint8] | None:
    """Return the thumbnail of an item's reference; None where it cannot be read."""
    photos = run.photos[(run.photos["role"] == "reference") & (run.photos["item"] == item)]
    path = str(photos.iloc[0]["path"]) if len(photos) and "path" in photos else ""
    return _small(Path(path) if path else None)


def sample_image(run: Run, row: pd.Series) -> NDArray[np.uint8] | None:
    """Return the thumbnail of a row of the run's samples; None where it has no image."""
    return _small(image_of(run.folder, row))


def _small(source: Source | None) -> NDArray[np.uint8] | None:
    image = None if source is None else thumbnail(source, SIZE)
    return None if image is None else np.asarray(image)


def failed(run: Run) -> pd.DataFrame:
    """Return the samples that failed, in the list's order (an unavailable one did not fail)."""
    return run.samples[run.samples["status"].isin([status for status in SampleStatus if status.is_failure])]


def failures(run: Run, *, references: bool = True) -> Iterator[Figure]:
    """Yield every failed sample next to its reference, with item, number, status and reason; `PAGE` on a page."""
    rows = failed(run)
    for at in range(0, len(rows), PAGE):
        part = rows.iloc[at : at + PAGE]
        known = {item: reference_image(run, str(item)) if references else None for item in dict.fromkeys(part["item"])}
        pairs = [[Tile(known[row["item"]], _name(row)), _why(run, row)] for _, row in part.iterrows()]
        lines = [list(chain.from_iterable(pairs[k : k + 4])) for k in range(0, len(pairs), 4)]
        said = f"{_title(run)}: failures {at + 1} to {at + len(part)} of {len(rows)}."
        yield mosaic(lines, group=2, note=f"{said} {private_note(run) if references else ''}")


def _title(run: Run) -> str:
    return f"{short(run.label, 40)} on {short(str(run.record['dataset']), 40)}"


def _name(row: pd.Series) -> str:
    return f"{short(str(row['item']), 18)}\nsample {row['index']}"


def _why(run: Run, row: pd.Series) -> Tile:
    reason = textwrap.shorten(plain(str(row["reason"])), 48, placeholder="…") if row["reason"] else ""
    lines = textwrap.wrap(reason, 24)[:2]
    return Tile(sample_image(run, row), "\n".join([str(row["status"]).replace("_", " "), *lines]))


def drawings(run: Run) -> Iterator[Drawing]:
    """Yield the grid of a run (by the independent judge, else its first recogniser) and the pages of its failures."""
    for recogniser in [one for one in (headline([run]), *run.recognisers) if one][:1]:
        groups = spread(run, recogniser)
        if groups:
            yield Drawing(GRID, (), f"by {recogniser}", grid(run, recogniser, groups))
    for page, figure in enumerate(failures(run), 1):
        yield Drawing(FAILURES, (f"{page:03d}",), f"page {page}", figure)


def has_images(run: Run) -> bool:
    """Return whether any image of its samples is here (an exported run has none)."""
    return any(below(run.folder, path).is_file() for path in run.samples["path"] if path)


def private_note(run: Run) -> str:
    """Return the line below a grid of photographs that must not be passed on; "" where they may be."""
    dataset = run.record["spec"].get("dataset", {})
    if dataset.get("options", {}).get("redistributable", False):
        return ""
    return KEEP.format(label=short(str(run.record["dataset"]), 40))


@dataclass(frozen=True)
class Layout:
    """Where tiles lie, in pixels.

    Attributes:
        left: left end of the first tile.
        below: room below each tile, for its caption.
        group: number of tiles between wider gaps; 0 for none.
    """

    left: int
    below: int
    group: int

    def place(self, row: int, column: int) -> tuple[int, int]:
        """Return left and upper end of a tile."""
        gaps = 3 * GAP * (column // self.group) if self.group else 0
        return self.left + column * (SIZE + GAP) + gaps, GAP + row * (SIZE + self.below)


def mosaic(rows: Sequence[Sequence[Tile]], sides: Sequence[str] = (), note: str = "", group: int = 0) -> Figure:
    """Draw rows of tiles as one figure: one image, and the captions as text.

    Args:
        rows: of tiles.
        sides: a heading left of each row; "" for none.
        note: a line below everything.
        group: number of tiles between wider gaps; 0 for none.
    """
    from matplotlib.figure import Figure

    lines = max((tile.caption.count("\n") for row in rows for tile in row), default=0)
    layout = Layout(28 if any(sides) else GAP, CAPTION + 15 * lines, group)
    right, bottom = layout.place(max(len(rows), 1), max((len(row) for row in rows), default=1) - 1)
    width = right + SIZE + GAP
    height = bottom + 22
    canvas = np.full((height, width, 3), 255, np.uint8)
    figure = Figure((width / INCH, height / INCH), dpi=INCH)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for r, row in enumerate(rows):
        for c, tile in enumerate(row):
            _put(axes, canvas, tile, layout.place(r, c))
    for r, side in enumerate(sides):
        middle = layout.place(r, 0)[1] + SIZE / 2
        axes.text(4, middle, side, fontsize=9, rotation=90, va="center", parse_math=False)
    axes.imshow(canvas, extent=(0, width, height, 0), interpolation="none", aspect="auto")
    axes.text(GAP, height - 8, note, fontsize=6.5, va="bottom", color=GREY, parse_math=False)
    axes.set(xlim=(0, width), ylim=(height, 0))
    return figure


def _put(axes: Axes, canvas: NDArray[np.uint8], tile: Tile, place: tuple[int, int]) -> None:
    """Put a tile's image into the canvas (a grey square where there is none) and its caption below it."""
    x, y = place
    square = canvas[y : y + SIZE, x : x + SIZE]
    middle = x + SIZE / 2
    axes.text(middle, y + SIZE + 5, tile.caption, fontsize=6.5, ha="center", va="top", parse_math=False)
    if tile.image is None:
        square[:] = 235
        axes.text(middle, y + SIZE / 2, "no image", fontsize=6.5, ha="center", va="center", color=GREY)
        return
    h, w = tile.image.shape[:2]
    top, left = (SIZE - h) // 2, (SIZE - w) // 2
    square[top : top + h, left : left + w] = tile.image
