"""The table of samples: a source's rows are checked, numbered and hashed, written with the plan, and read again.

<run>/conditions.parquet     a row per sample: the columns of `FIXED`, those of the kinds that the source uses, its own
<run>/conditions/<sha256>.*  vectors and images by content
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.conditions.cells import FOLDER, Files, is_given, is_intact, npy, packed
from bench.conditions.kinds import ConditionKind
from bench.console import say
from bench.errors import UserError
from bench.identity import digest
from bench.images import read_bytes
from bench.store import read_table, write_atomic, write_table

FIXED = ("row", "item", "subject", "index", "prompt_id", "seed_key", "seed_index")
TABLE = "conditions.parquet"


@dataclass(frozen=True, eq=False)
class Planned:
    """A run's samples before they are made.

    Attributes:
        table: see the module; item by item in the order of the list, `row` counts from 0.
        files: name in the folder of conditions -> what it holds: a matrix, or the file that is copied.
    """

    table: pd.DataFrame
    files: Files

    @cached_property
    def content(self) -> str:
        """Return the sha256 of what decides the samples; a source's own columns play no part."""
        return content_of(self.table)

    def write(self, folder: Path) -> None:
        """Write table and files into a run's folder; vectors and images that are there and whole are left alone.

        The table that is there can differ from this one in columns that change no sample; this one's count.
        """
        for name, source in self.files.items():
            path = folder / FOLDER / name
            if path.exists() and not is_intact(path):
                say(f"warning: {path} is not what was written there; it is written again")
            if not is_intact(path):
                write_atomic(path, read_bytes(source) if isinstance(source, Path) else npy(source))
        write_table(folder / TABLE, self.table)


@dataclass(frozen=True, eq=False)
class Known:
    """What the rows of a table may name.

    Attributes:
        items: a row per item, in the order of the list: item, subject.
        photos: names of the photos that a sample may be made from.
        prompts: ids.
    """

    items: pd.DataFrame
    photos: Collection[str]
    prompts: Sequence[str]


def planned(table: pd.DataFrame, known: Known) -> Planned:
    """Return a source's table as the run keeps it.

    Raises:
        UserError: a row names what does not exist, an item has no sample or a gap in its numbers, or a cell does not
            hold what its kind wants; the message has the first such row.
    """
    table = _completed(table, known)
    _check_names(table, known)
    table = _in_order(_numbered(table), known)
    files: Files = {}
    kinds = {str(kind): packed(table, kind, known.photos, files) for kind in used(table)}
    own = _own(table)
    table["row"] = range(len(table))
    table["subject"] = table["item"].map(dict(zip(known.items["item"], known.items["subject"], strict=True)))
    return Planned(table[list(FIXED)].assign(**kinds).join(table[own]), files)


def used(table: pd.DataFrame) -> list[ConditionKind]:
    """Return the kinds by which some row of a table differs from the default."""
    return [kind for kind in ConditionKind if kind in table and any(map(is_given, table[kind]))]


def content_of(table: pd.DataFrame) -> str:
    """Return the sha256 of a planned table's columns that decide the samples; the fixed ones have no gap."""
    kinds = used(table)
    fixed = [table[column].tolist() for column in FIXED]
    cells = [[_plain(cell) for cell in table[kind]] for kind in kinds]
    return digest({"columns": [*FIXED, *kinds], "rows": list(zip(*fixed, *cells, strict=True))})


def read_planned(folder: Path) -> pd.DataFrame:
    """Return the table of samples of a run's folder.

    Raises:
        UserError: it is missing or damaged.
    """
    return read_table(folder / TABLE)


def _completed(table: pd.DataFrame, known: Known) -> pd.DataFrame:
    """Return the table with every column that a source may leave out."""
    if "item" not in table:
        raise UserError(f"the table of conditions has no column item; it has: {', '.join(map(str, table))}")
    table = table.reset_index(drop=True)
    if "prompt_id" not in table:
        if len(known.prompts) > 1:
            raise UserError(f"the table of conditions needs a column prompt_id: one of {', '.join(known.prompts)}")
        table["prompt_id"] = known.prompts[0]
    missing: dict[str, Callable[[pd.DataFrame], Any]] = {
        "index": lambda t: t.groupby("item", sort=False).cumcount(),
        "seed_key": lambda t: t["item"],
        "seed_index": lambda t: t["index"],
    }
    for column, make in missing.items():
        table = table if column in table else table.assign(**{column: make(table)})
    return table


def _check_names(table: pd.DataFrame, known: Known) -> None:
    for column, names in (("item", set(known.items["item"])), ("prompt_id", set(known.prompts))):
        wrong = [name for name in table[column] if name not in names]
        if wrong:
            raise UserError(f"a row of the conditions has {column} {wrong[0]!r}, which this run does not have")
    if not all(isinstance(key, str) and key for key in table["seed_key"]):
        raise UserError("a row of the conditions has no text as its seed_key")
    present = set(table["item"])
    without = [item for item in known.items["item"] if item not in present]
    if without:
        raise UserError(
            f"the conditions have no sample of item {without[0]!r} ({len(without)} items); every item needs one: "
            "leave items out by dataset.list"
        )


def _own(table: pd.DataFrame) -> list[str]:
    """Return the columns that change no sample; one that is nearly called like one that does is a mistake."""
    ours = [*FIXED, *ConditionKind]
    own = [str(column) for column in table if column not in ours]
    for column in own:
        if near := difflib.get_close_matches(column, ours, n=1, cutoff=0.8):
            raise UserError(f"the table of conditions has a column {column!r}; did you mean {near[0]}?")
    return own


def _numbered(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with its numbers as whole numbers."""
    columns = {}
    for column in ("index", "seed_index"):
        numbers = pd.to_numeric(table[column], errors="coerce")
        if not (numbers.notna() & (numbers >= 0) & (numbers % 1 == 0)).all():
            raise UserError(f"the conditions' column {column} must hold whole numbers from 0")
        columns[column] = numbers.astype(np.int64)
    return table.assign(**columns)


def _in_order(table: pd.DataFrame, known: Known) -> pd.DataFrame:
    """Return the rows item by item in the order of the list, each item's by their number."""
    order = {item: place for place, item in enumerate(known.items["item"])}
    table = table.assign(place=table["item"].map(order)).sort_values(["place", "index"], kind="stable")
    table = table.drop(columns="place").reset_index(drop=True)
    gaps = table.loc[table["index"] != table.groupby("item", sort=False).cumcount(), "item"]
    if len(gaps):
        raise UserError(f"the samples of item {gaps.iloc[0]!r} must be numbered 0 to n - 1 in the column index")
    return table


def _plain(cell: Any) -> Any:
    """Return a cell of a planned table as plain JSON types."""
    if not is_given(cell):
        return None
    if isinstance(cell, (list, tuple, np.ndarray)):
        return [str(name) for name in cell]
    return cell if isinstance(cell, str) else int(cell)
