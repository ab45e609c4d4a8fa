"""Fig. 11 and 15: the samples that come closest to somebody of the bank, next to that face and to their own input."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import registry
from bench.extractors.protocol import columns_of
from bench.faces.align import arcface112
from bench.facesets.making import finder
from bench.images import Image, read_image
from bench.metrics.functional.arrays import Floats
from bench.report.figures import Drawing
from bench.report.frames import Run
from bench.report.grids import SIZE, Tile, mosaic, private_note, reference_image, sample_image
from bench.report.model import Cell, Column, Kind, Table
from bench.runtime import Runtime
from bench.spec import RunSpec
from bench.studies.bank import Bank, find_rows, key_of
from bench.studies.memorisation import top_pairs
from bench.studies.nearest import Neighbours

PAIRS = Kind(
    "pairs",
    "Samples closest to the bank",
    "A row per sample: its input, the sample, and the bank's nearest face, with the similarity of the sample to each.",
    wide=True,
)
MOST = 6
"""Samples that are shown."""
Show = Callable[[int], Image | None]
"""Gives the image of a position of the banks; None where there is none."""


@dataclass(frozen=True)
class Pair:
    """A sample and its nearest face.

    Attributes:
        row: of the sample.
        position: of the face in the banks.
        to_bank: similarity of the two.
        to_input: similarity of the sample to its own input; NaN where that is unknown.
    """

    row: int
    position: int
    to_bank: float
    to_input: float


def closest(best: Neighbours, own: Floats) -> list[Pair]:
    """Return the samples that are most like their nearest face, the closest first.

    Args:
        best: the nearest face of each sample.
        own: (n_samples,) similarity to the sample's own input.
    """
    top = top_pairs(best, MOST).tolist()
    return [
        Pair(row, int(best.position[row, rank]), float(best.cosine[row, rank]), float(own[row])) for row, rank in top
    ]


def files_of(banks: Sequence[Bank], positions: Iterable[int], folder: Path) -> dict[int, Path]:
    """Return the files of some positions, among all files below a folder: a bank knows hashes of their names only.

    Args:
        banks: as they were searched.
        positions: in all of them.
        folder: the root of the names.
    """
    names = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    found: dict[int, Path] = {}
    offset = 0
    for bank in banks:
        inside = np.array([p for p in positions if offset <= p < offset + bank.rows], np.int64)
        keys = dict(zip(find_rows(bank, inside - offset)["key"], inside.tolist(), strict=True))
        found |= {keys[key]: path for name, path in names.items() if (key := key_of(bank, name)) in keys}
        offset += bank.rows
    return found


def shown_files(banks: Sequence[Bank], positions: Iterable[int], folder: Path) -> Show:
    """Return what shows the images of some positions from the files below a folder."""
    files = files_of(banks, positions, folder)
    return lambda position: read_image(files[position]) if position in files else None


def copy_scores(spec: RunSpec, images: Sequence[tuple[Image, Image | None]]) -> dict[str, list[float | None]]:
    """Return, by the evaluator's network of image distances, the distance of the two aligned faces of each pair.

    None where one of the two has no face or is not there.
    """
    runtime = Runtime(spec.execution.device, spec.execution.threads)
    find = finder(spec.evaluator.detector, spec.protocol.faces, runtime)

    def aligned(image: Image | None) -> Image | None:
        faces = find(image) if image is not None else []
        return arcface112(image, faces[0].keypoints) if image is not None and faces else None

    crops = [(aligned(one), aligned(other)) for one, other in images]
    found: dict[str, list[float | None]] = {}
    for name, part in spec.evaluator.extractors.items():
        kind: Any = registry.get("extractors", part.name)
        if "lpips" in columns_of(kind).values():
            network = kind(part.options, runtime)
            found[name] = [
                None if one is None or other is None else float(network.distances(np.stack([one, other]))[0, 1])
                for one, other in crops
            ]
    return found


def table_of(run: Run, pairs: Sequence[Pair], copies: Mapping[str, Sequence[float | None]]) -> Table:
    """Return a row per pair.

    Args:
        run: whose samples.
        pairs: see `closest`.
        copies: network -> the distance of each pair (`copy_scores`).
    """
    columns = [Column("sample", numeric=False), Column("to the bank's nearest face", "similarity")]
    columns += [Column("to its own input", "similarity")]
    columns += [Column(name, "copy score of the pair") for name in copies]
    rows = []
    for place, pair in enumerate(pairs):
        distances = [Cell(value=values[place]) for values in copies.values()]
        numbers = [Cell(value=pair.to_bank), Cell(value=None if np.isnan(pair.to_input) else pair.to_input)]
        rows.append([Cell(_name(run, pair)), *numbers, *distances])
    notes = ["The same person is not the same image. The copy score compares the aligned faces as images: 0 is a copy."]
    return Table("Samples closest to the bank", columns, rows, notes if copies else [])


def _name(run: Run, pair: Pair) -> str:
    row = run.samples.iloc[pair.row]
    return f"{row['item']}, {row['index']}"


def drawing(run: Run, pairs: Sequence[Pair], faces: Sequence[Image | None]) -> Drawing:
    """Return the images of the pairs, each sample between its input and the bank's nearest face."""
    rows = []
    for pair, face in zip(pairs, faces, strict=True):
        row = run.samples.iloc[pair.row]
        caption = "" if np.isnan(pair.to_input) else f"input, {pair.to_input:.2f}"
        tiles = [Tile(reference_image(run, str(row["item"])), caption), Tile(sample_image(run, row), _name(run, pair))]
        rows.append([*tiles, Tile(None if face is None else _fitted(face), f"bank, {pair.to_bank:.2f}")])
    return Drawing(PAIRS, (), "", mosaic(rows, note=private_note(run)))


def _fitted(image: Image) -> Image:
    """Return an image whose longer side is that of a tile."""
    from PIL import Image as Pillow

    longer = max(image.shape[:2])
    size = (max(round(image.shape[1] / longer * SIZE), 1), max(round(image.shape[0] / longer * SIZE), 1))
    return np.asarray(Pillow.fromarray(image).resize(size, Pillow.Resampling.LANCZOS))
