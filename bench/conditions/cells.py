"""The cells of the table of samples: what a kind of condition wants, how it is kept, and how it is read again.

Vectors and images lie by content in the folder `conditions/` of a run. The cell of a vector is the name of a file and
a row in it, `<sha256>.npy[17]`; that of an image is the name of its file.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.conditions.kinds import Condition, ConditionKind
from bench.errors import UserError
from bench.hashing import sha256_bytes, sha256_path
from bench.images import ImageError, header_size, read_bytes, read_known_image

FOLDER = "conditions"

Files = dict[str, NDArray[np.float32] | Path]
"""Name in the folder of conditions -> what it holds: a matrix, or the file that is copied."""


def packed(table: pd.DataFrame, kind: ConditionKind, photos: Collection[str], files: Files) -> pd.Series:
    """Return a kind's column as the table keeps it; add what it refers to to `files`.

    Args:
        table: with the columns item, index and the kind's.
        kind: which.
        photos: names of the photos that a sample may be made from.
        files: gets the vectors and images.

    Raises:
        UserError: a cell does not hold what its kind wants; the message names the sample.
    """
    cells = [cell if is_given(cell) else None for cell in table[kind]]
    names = zip(table["item"], table["index"], strict=True)
    where = [f"the {kind} of sample {index} of item {item!r}" for item, index in names]
    if kind.is_vector:
        return pd.Series(_vectors(cells, where, files), dtype=object)
    if kind is ConditionKind.CONTROL:
        return pd.Series(_images(cells, where, files), dtype=object)
    if kind is ConditionKind.REFERENCES:
        return pd.Series(_photos(cells, where, photos), dtype=object)
    return pd.Series(_numbers(cells, where), dtype="Int64")


def _vectors(cells: Sequence[Any], where: Sequence[str], files: Files) -> list[str | None]:
    """Return names of rows of one matrix that holds every vector once."""
    rows: dict[bytes, int] = {}
    vectors: list[NDArray[np.float32]] = []
    places: list[int | None] = []
    for cell, words in zip(cells, where, strict=True):
        if cell is None:
            places.append(None)
            continue
        vector = _vector(cell, words, len(vectors[0]) if vectors else None)
        places.append(rows.setdefault(vector.tobytes(), len(rows)))
        if len(rows) > len(vectors):
            vectors.append(vector)
    matrix = np.stack(vectors)
    name = f"{sha256_bytes(npy(matrix))}.npy"
    files[name] = matrix
    return [None if place is None else f"{name}[{place}]" for place in places]


def _vector(cell: Any, words: str, length: int | None) -> NDArray[np.float32]:
    try:
        vector = np.asarray(cell, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise UserError(f"{words} is not a vector of numbers: {error}") from error
    if vector.ndim != 1 or not len(vector) or not np.isfinite(vector).all():
        raise UserError(f"{words} is not a vector of finite numbers")
    if length is not None and len(vector) != length:
        raise UserError(f"{words} has {len(vector)} numbers, another one of the run has {length}")
    return vector


def _images(cells: Sequence[Any], where: Sequence[str], files: Files) -> list[str | None]:
    """Return the names of images by content; each file is read once."""

    @cache
    def name_of(path: Path) -> str:
        data = read_bytes(path)
        header_size(data)
        return f"{sha256_bytes(data)}{path.suffix.lower()}"

    names: list[str | None] = []
    for cell, words in zip(cells, where, strict=True):
        if cell is None:
            names.append(None)
            continue
        try:
            name = name_of(Path(cell))
        except ImageError as error:
            raise UserError(f"{words}, {cell}, cannot be read: {error.reason}") from error
        names.append(name)
        files.setdefault(name, Path(cell))
    return names


def _photos(cells: Sequence[Any], where: Sequence[str], photos: Collection[str]) -> list[list[str] | None]:
    for cell, words in zip(cells, where, strict=True):
        if cell is None:
            continue
        if isinstance(cell, str) or not len(cell):
            raise UserError(f"{words} must be a list of photos, not {cell!r}")
        wrong = [name for name in cell if name not in photos]
        if wrong:
            raise UserError(f"{words} name the photo {wrong[0]!r}, which is not a reference of this dataset")
    return [None if cell is None else [str(name) for name in cell] for cell in cells]


def _numbers(cells: Sequence[Any], where: Sequence[str]) -> list[int | None]:
    for cell, words in zip(cells, where, strict=True):
        if cell is not None and (isinstance(cell, (str, bool)) or cell < 1 or cell != int(cell)):
            raise UserError(f"{words} must be a whole number from 1, not {cell!r}")
    return [None if cell is None else int(cell) for cell in cells]


def is_given(cell: Any) -> bool:
    """Return whether a cell holds something: None, NaN and NA do not."""
    return not (cell is None or cell is pd.NA or (isinstance(cell, float) and np.isnan(cell)))


def npy(matrix: NDArray[np.float32]) -> bytes:
    """Return the bytes of a .npy file."""
    sink = io.BytesIO()
    np.save(sink, matrix, allow_pickle=False)
    return sink.getvalue()


class ConditionFiles:
    """Reads the conditions of samples of one run, each when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER
        self._matrix = lru_cache(maxsize=8)(self._open)

    def condition(self, row: Mapping[str, Any]) -> Condition:
        """Return what a row of the table says.

        Raises:
            UserError: a file that it names is missing or damaged.
        """
        cells = {kind: row[kind] for kind in ConditionKind if kind in row and is_given(row[kind])}
        control = self._folder / cells[ConditionKind.CONTROL] if ConditionKind.CONTROL in cells else None
        references = cells.get(ConditionKind.REFERENCES)
        components = cells.get(ConditionKind.COMPONENTS)
        return Condition(
            embedding=self._vector(cells.get(ConditionKind.EMBEDDING)),
            references=None if references is None else tuple(map(str, references)),
            control=None if control is None else _control(control),
            control_path=control,
            expression=self._vector(cells.get(ConditionKind.EXPRESSION)),
            components=None if components is None else int(components),
        )

    def _vector(self, cell: str | None) -> NDArray[np.float32] | None:
        if cell is None:
            return None
        name, row = vector_cell(cell)
        return np.array(self._matrix(name)[row])

    def _open(self, name: str) -> NDArray[np.float32]:
        path = self._folder / name
        if not is_intact(path):
            raise UserError(f"{path} is not what was written there; run the same command again")
        try:
            return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError) as error:
            raise UserError(f"cannot read {path}: {error}; run the same command again") from error


def is_intact(path: Path) -> bool:
    """Return whether a file of conditions is there and holds what its name, a sha256, says."""
    return path.exists() and sha256_path(path) == path.stem


def vector_cell(cell: str) -> tuple[str, int]:
    """Return the file and the row that the cell of a vector names.

    >>> vector_cell("9f86.npy[17]"), vector_cell("vectors/one.npy")
    (('9f86.npy', 17), ('vectors/one.npy', 0))
    """
    match = re.fullmatch(r"(.*)\[([0-9]+)\]", cell)
    return (match[1], int(match[2])) if match else (cell, 0)


def _control(path: Path) -> NDArray[np.uint8]:
    try:
        return read_known_image(path, path.stem)
    except ImageError as error:
        raise UserError(f"cannot read {path}: {error.reason}; run the same command again") from error
