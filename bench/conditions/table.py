"""A table of the user's own: embeddings, expressions, control images, references, prompts and seeds per sample."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.conditions.cells import is_given, vector_cell
from bench.conditions.kinds import ConditionKind
from bench.conditions.protocol import Inputs
from bench.errors import UserError
from bench.identity import CONTENT, Spec

TEXT = ("item", "prompt_id", "seed_key", *map(str, ConditionKind))


class TableOptions(Spec):
    """The table.

    Attributes:
        file: a row per sample, as CSV, Parquet or JSON lines; the files that it names lie relative to it.
    """

    file: Annotated[Path, CONTENT]


class Table:
    """The rows of a file, with the vectors and images that they name."""

    Options: ClassVar[type[Spec]] = TableOptions

    def __init__(self, options: TableOptions) -> None:
        self._file = options.file

    def table(self, inputs: Inputs) -> pd.DataFrame:
        """Return the file's columns as they are; cells of kinds become vectors, tuples of names, paths and numbers.

        Raises:
            UserError: the file, or one that it names, cannot be read.
        """
        table = self._read()
        matrix = lru_cache(maxsize=8)(self._matrix)
        readers: dict[str, Callable[[Any], Any]] = {
            ConditionKind.EMBEDDING: lambda cell: _vector(cell, matrix),
            ConditionKind.EXPRESSION: lambda cell: _vector(cell, matrix),
            ConditionKind.REFERENCES: _names,
            ConditionKind.CONTROL: lambda cell: self._file.parent / str(cell),
            ConditionKind.COMPONENTS: self._number,
        }
        for kind in (kind for kind in readers if kind in table):
            cells = [readers[kind](cell) if is_given(cell) else None for cell in table[kind]]
            table[kind] = pd.Series(cells, dtype=object, index=table.index)
        return table

    def _read(self) -> pd.DataFrame:
        read: Mapping[str, Callable[[Path], pd.DataFrame]] = {
            ".csv": _csv, ".parquet": pd.read_parquet, ".jsonl": _json_lines,
        }  # fmt: skip
        suffix = self._file.suffix.lower()
        if suffix not in read:
            raise UserError(f"conditions.file={self._file}: its name must end in one of {', '.join(read)}")
        try:
            return read[suffix](self._file)
        except (OSError, ValueError) as error:
            raise UserError(f"cannot read conditions.file={self._file}: {error}") from error

    def _matrix(self, name: str) -> NDArray[Any]:
        path = self._file.parent / name
        try:
            return np.atleast_2d(np.load(path, mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}, which {self._file} names, cannot be read as .npy: {error}") from error

    def _number(self, cell: Any) -> Any:
        try:
            return int(cell) if isinstance(cell, str) else cell
        except ValueError as error:
            raise UserError(f"{self._file}: {cell!r} in the column components is not a whole number") from error


def _csv(path: Path) -> pd.DataFrame:
    # "NA" and the like are names here: only an empty cell says nothing.
    return pd.read_csv(path, dtype=dict.fromkeys(TEXT, "str"), keep_default_na=False, na_values=[""])


def _json_lines(path: Path) -> pd.DataFrame:
    lines = path.read_text(encoding="utf-8").splitlines()
    return pd.DataFrame([json.loads(line) for line in lines if line.strip()])


def _vector(cell: Any, matrix: Callable[[str], NDArray[Any]]) -> Any:
    """Return a vector that a cell holds, as a list, or names, as `file.npy` or `file.npy[row]`."""
    if not isinstance(cell, str):
        return cell
    if cell.lstrip().startswith("["):
        return _parsed(cell)
    name, row = vector_cell(cell)
    rows = matrix(name)
    if row >= len(rows):
        raise UserError(f"{cell}: {name} has {len(rows)} rows, the first is 0")
    return np.array(rows[row])


def _names(cell: Any) -> tuple[str, ...]:
    """Return the names of photos that a cell holds: a list of names, or one name."""
    if isinstance(cell, str):
        cell = _parsed(cell) if cell.lstrip().startswith("[") else [cell]
    return tuple(map(str, cell))


def _parsed(cell: str) -> Any:
    try:
        return json.loads(cell)
    except ValueError as error:
        raise UserError(f"the list {cell[:60]!r} in a table of conditions is not JSON: {error}") from error
