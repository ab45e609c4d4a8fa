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

from bench.report.frames import Run
from bench.report.tables import plain, short

if TYPE_CHECKING:
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
    strong: bool = False


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
    return mosaic(tiles, sides=sides, note=private_note(run) if references else "")


def _item(run: Run, recogniser: str, item: str, *, references: bool) -> list[Tile]:
    samples = run.samples[run.samples["item"] == item].sort_values("index")
    return [
        Tile(_reference(run, item) if references else None, short(item, 20), strong=True),
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
        pairs = [[Tile(known[row["item"]], _who(row), strong=True), _why(run, row)] for _, row in part.iterrows()]
        lines = [list(chain.from_iterable(pairs[k : k + 4])) for k in range(0, len(pairs), 4)]
        yield mosaic(lines, note=private_note(run) if references else "")


def _who(row: pd.Series) -> str:
    return f"{short(str(row['item']), 18)}\nsample {row['index']}"


def _why(run: Run, row: pd.Series) -> Tile:
    reason = textwrap.shorten(plain(str(row["reason"])), 48, placeholder="…") if row["reason"] else ""
    lines = textwrap.wrap(reason, 26)[:2]
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
    """The picture fitted into `size` x `size` (LANCZOS), (h, w, 3) uint8 RGB; None where it cannot be read."""
    from PIL import Image

    from bench.images import ImageError, read_image

    try:
        image = Image.fromarray(read_image(path))
    except ImageError:
        return None
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    return np.asarray(image)


def mosaic(rows: Sequence[Sequence[Tile]], sides: Sequence[str] = (), note: str = "") -> Figure:
    """Rows of tiles as one figure: one image, and the captions as text.

    Args:
        rows: of tiles.
        sides: a heading left of each row; "" for none.
        note: a line below everything.
    """
    from matplotlib.figure import Figure

    columns, step = max((len(row) for row in rows), default=1), SIZE + GAP
    margin, bottom = (28 if any(sides) else 0), (26 if note else 0)
    deepest = max((tile.caption.count("\n") for row in rows for tile in row), default=0)
    below = CAPTION + 15 * deepest
    height, width = max(len(rows), 1) * (SIZE + below) + bottom, columns * step - GAP + margin
    canvas = np.full((height, width, 3), 255, np.uint8)
    figure = Figure((width / INCH, height / INCH))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for r, row in enumerate(rows):
        y = r * (SIZE + below)
        if sides and sides[r]:
            axes.text(2, y + SIZE / 2, sides[r], fontsize=8, rotation=90, va="center", weight="bold", parse_math=False)
        for c, tile in enumerate(row):
            x = margin + c * step
            _paste(canvas[y : y + SIZE, x : x + SIZE], tile.picture)
            weight = "bold" if tile.strong else "normal"
            place = (x + SIZE / 2, y + SIZE + 5)
            axes.text(*place, tile.caption, fontsize=6.5, ha="center", va="top", weight=weight, parse_math=False)
            if tile.picture is None:
                axes.text(
                    x + SIZE / 2, y + SIZE / 2, "no picture", fontsize=6.5, ha="center", va="center", color="#666666"
                )
    axes.imshow(canvas, extent=(0, width, height, 0), interpolation="none", aspect="auto")
    axes.text(2, height - 8, note, fontsize=6.5, va="bottom", color="#666666", parse_math=False)
    axes.set(xlim=(0, width), ylim=(height, 0))
    return figure


def _paste(place: NDArray[np.uint8], picture: NDArray[np.uint8] | None) -> None:
    """Puts a picture into the middle of its square, or makes the square grey."""
    if picture is None:
        place[:] = 235
        return
    h, w = picture.shape[:2]
    y, x = (place.shape[0] - h) // 2, (place.shape[1] - w) // 2
    place[y : y + h, x : x + w] = picture
