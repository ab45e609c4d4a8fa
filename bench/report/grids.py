"""Grids of pictures: references and samples with their similarity, and every failure with its reason."""

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

from bench.report.figures import GREY
from bench.report.frames import Run
from bench.report.tables import plain, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = 160  # pixels of a thumbnail
GAP = 8
CAPTION = 30  # pixels below it
INCH = 130  # pixels of an inch on paper
PAGE = 40  # failures on a page
FAILED = ("generation_error", "undecodable", "no_face")
KEEP = "Holds photographs of {label}, which must not be passed on."


@dataclass(frozen=True, eq=False)
class Tile:
    """A picture with its caption (any text); (h, w, 3) uint8 RGB of at most `SIZE`, or None where there is none."""

    picture: NDArray[np.uint8] | None
    caption: str


def spread(run: Run, recogniser: str, each: int = 3) -> dict[str, list[str]]:
    """The best, median and worst items by mean similarity, `each` of them; items without any are not among them.

    No item is in two groups: of few items, the best come first, then the worst.
    """
    means = run.samples.groupby("item", sort=False)[f"id_similarity[{recogniser}]"].mean().dropna()
    order = [str(item) for item in means.sort_values(ascending=False, kind="stable").index]
    best, rest = order[:each], order[each:]
    worst, rest = rest[-each:], rest[:-each]
    start = max((len(rest) - each) // 2, 0)
    groups = {"best": best, "median": rest[start : start + each], "worst": worst}
    return {name: items for name, items in groups.items() if items}


def grid(run: Run, recogniser: str, groups: dict[str, list[str]], *, references: bool = True) -> Figure:
    """Reference and samples of some items, a row each, with each sample's similarity or failure under it.

    Args:
        run: whose samples.
        recogniser: by which similarity is told.
        groups: heading -> items below it.
        references: whether to show the references' pictures.
    """
    rows = [(group, item) for group, items in groups.items() for item in items]
    firsts = {items[0]: group for group, items in groups.items() if items}
    tiles = [_item(run, recogniser, item, references=references) for _, item in rows]
    sides = [firsts.get(item, "") for _, item in rows]
    told = f"{_title(run)}; cosine to the reference by {short(recogniser, 40)}."
    return mosaic(tiles, sides=sides, note=f"{told} {private_note(run) if references else ''}")


def _item(run: Run, recogniser: str, item: str, *, references: bool) -> list[Tile]:
    samples = run.samples[run.samples["item"] == item].sort_values("index")
    return [
        Tile(_reference(run, item) if references else None, short(item, 20)),
        *(Tile(_sample(run, row), _caption(row, recogniser)) for _, row in samples.iterrows()),
    ]


def _caption(row: pd.Series, recogniser: str) -> str:
    value = row[f"id_similarity[{recogniser}]"]
    return str(row["status"]).replace("_", " ") if pd.isna(value) else f"{value:.2f}"


def _reference(run: Run, item: str) -> NDArray[np.uint8] | None:
    photos = run.photos[(run.photos["role"] == "reference") & (run.photos["item"] == item)]
    path = str(photos.iloc[0]["path"]) if len(photos) and "path" in photos else ""
    return thumbnail(Path(path)) if path else None


def _sample(run: Run, row: pd.Series) -> NDArray[np.uint8] | None:
    return thumbnail(run.folder / str(row["path"])) if row["path"] else None


def failed(run: Run) -> pd.DataFrame:
    """The samples that failed (not the unavailable ones, nor those whose reference failed), in the list's order."""
    return run.samples[run.samples["status"].isin(FAILED)]


def failures(run: Run, *, references: bool = True) -> Iterator[Figure]:
    """Every failed sample beside its reference, with item, number, status and reason; `PAGE` on a page."""
    rows = failed(run)
    for at in range(0, len(rows), PAGE):
        part = rows.iloc[at : at + PAGE]
        known = {item: _reference(run, str(item)) if references else None for item in dict.fromkeys(part["item"])}
        pairs = [[Tile(known[row["item"]], _who(row)), _why(run, row)] for _, row in part.iterrows()]
        lines = [list(chain.from_iterable(pairs[k : k + 4])) for k in range(0, len(pairs), 4)]
        told = f"{_title(run)}: failures {at + 1} to {at + len(part)} of {len(rows)}."
        yield mosaic(lines, together=2, note=f"{told} {private_note(run) if references else ''}")


def _title(run: Run) -> str:
    return f"{short(run.method, 40)} on {short(str(run.record['dataset']), 40)}"


def _who(row: pd.Series) -> str:
    return f"{short(str(row['item']), 18)}\nsample {row['index']}"


def _why(run: Run, row: pd.Series) -> Tile:
    reason = textwrap.shorten(plain(str(row["reason"])), 48, placeholder="…") if row["reason"] else ""
    lines = textwrap.wrap(reason, 24)[:2]
    return Tile(_sample(run, row), "\n".join([str(row["status"]).replace("_", " "), *lines]))


def has_pictures(run: Run) -> bool:
    """Whether any picture of its samples is here (in an exported run there is none)."""
    return any((run.folder / path).is_file() for path in run.samples["path"] if path)


def private_note(run: Run) -> str:
    """The line below a grid of photographs that must not be passed on; "" where they may be."""
    dataset = run.record["spec"].get("dataset", {})
    if dataset.get("options", {}).get("redistributable", False):
        return ""
    return KEEP.format(label=short(str(run.record["dataset"]), 40))


def thumbnail(path: Path, size: int = SIZE) -> NDArray[np.uint8] | None:
    """The picture fitted into `size` x `size` (LANCZOS), a smaller one enlarged; None where it cannot be read.

    Returns:
        (h, w, 3) uint8 RGB, the longer side `size`.
    """
    from PIL import Image, ImageOps

    from bench.images import ImageError, read_image

    try:
        image = Image.fromarray(read_image(path))
    except ImageError:
        return None
    return np.asarray(ImageOps.contain(image, (size, size), Image.Resampling.LANCZOS))


@dataclass(frozen=True)
class Layout:
    """Where tiles lie, in pixels: `left` of the first, `below` each for its caption, a gap after every `together`."""

    left: int
    below: int
    together: int

    def place(self, row: int, column: int) -> tuple[int, int]:
        """Left and upper end of a tile."""
        gaps = 3 * GAP * (column // self.together) if self.together else 0
        return self.left + column * (SIZE + GAP) + gaps, GAP + row * (SIZE + self.below)


def mosaic(rows: Sequence[Sequence[Tile]], sides: Sequence[str] = (), note: str = "", together: int = 0) -> Figure:
    """Rows of tiles as one figure: one image, and the captions as text.

    Args:
        rows: of tiles.
        sides: a heading left of each row; "" for none.
        note: a line below everything.
        together: number of tiles between wider gaps; 0 for none.
    """
    from matplotlib.figure import Figure

    lines = max((tile.caption.count("\n") for row in rows for tile in row), default=0)
    layout = Layout(28 if any(sides) else GAP, CAPTION + 15 * lines, together)
    right, bottom = layout.place(max(len(rows), 1), max((len(row) for row in rows), default=1) - 1)
    width, height = right + SIZE + GAP, bottom + 22
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
    """Puts a tile's picture into the canvas (a grey square where there is none) and its caption below it."""
    x, y = place
    square, middle = canvas[y : y + SIZE, x : x + SIZE], x + SIZE / 2
    axes.text(middle, y + SIZE + 5, tile.caption, fontsize=6.5, ha="center", va="top", parse_math=False)
    if tile.picture is None:
        square[:] = 235
        axes.text(middle, y + SIZE / 2, "no picture", fontsize=6.5, ha="center", va="center", color=GREY)
        return
    h, w = tile.picture.shape[:2]
    top, left = (SIZE - h) // 2, (SIZE - w) // 2
    square[top : top + h, left : left + w] = tile.picture
