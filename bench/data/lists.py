"""Lists of photos as CSV files: `item, subject, role, image, sha256, width, height`, then any group columns.

UTF-8, commas, quoted where needed (names may hold newlines, quotes and markup), one row per photo.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bench.console import escaped
from bench.data.photos import LIST_COLUMNS, PHOTO_COLUMNS, ROLES, group_columns
from bench.errors import UserError
from bench.store import write_atomic

REQUIRED = ("item", "subject", "role", "image")


class Listing(NamedTuple):
    """A list that was made, and what was noticed on the way.

    Attributes:
        photos: the table of photos, as `bench.data.photos.look` makes it.
        remarks: columns `image` and `remark`: files that were left out, or kept although something is odd.
    """

    photos: pd.DataFrame
    remarks: pd.DataFrame


def remarks_of(rows: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Return the table of remarks from (image, remark) pairs."""
    return pd.DataFrame(list(rows), columns=["image", "remark"], dtype="str")


def write_list(photos: pd.DataFrame, path: Path) -> None:
    """Write a table of photos as a list, atomically; paths and states stay behind.

    Raises:
        UserError: the file cannot be written.
    """
    write_atomic(path, list_text(photos).encode())


def list_text(photos: pd.DataFrame) -> str:
    """Return the text of a list."""
    columns = [*LIST_COLUMNS, *group_columns(photos)]
    return "".join(csv_line(row) for row in [columns, *photos[columns].itertuples(index=False)])


def csv_line(row: Iterable[object]) -> str:
    r"""Return one line of CSV, ended by "\n"; Python's writer quotes a "\r" only where it ends lines by "\r\n"."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerow(row)
    return text.getvalue().removesuffix("\r\n") + "\n"


def read_list(path: Path) -> pd.DataFrame:
    """Read a list.

    Returns:
        Columns `item, subject, role, image, sha256` and the groups, all text. `width` and `height` are for the reader
        of the file; the sizes that count are those of the images.

    Raises:
        UserError: what is wrong, in which line, and what is allowed there.
    """
    rows = csv_records(path)
    _, header = next(rows, (1, []))
    _check_header(path, header)
    lines = {line: _record(f"{path}, line {line}", header, row) for line, row in rows}
    if not lines:
        raise UserError(f"{path} has no rows below its header")
    _check_items(path, lines)
    columns = [*REQUIRED, "sha256", *(c for c in header if c not in LIST_COLUMNS)]
    return pd.DataFrame(list(lines.values()), columns=columns, dtype="str")


def csv_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Return (number of its first line, fields) of every record that is not an empty line."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read the list {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"the list {path} is not UTF-8: {error.reason} at byte {error.start}") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for row in reader:
            if row:
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}, line {line}: {error}") from error


def _check_header(path: Path, header: list[str]) -> None:
    shown = escaped(", ".join(header)) or "nothing"
    missing = [c for c in REQUIRED if c not in header]
    if missing:
        raise UserError(
            f"{path}, line 1: no column {', '.join(missing)}; needed: {', '.join(REQUIRED)}; found: {shown}"
        )
    if len(set(header)) < len(header) or "" in header:
        raise UserError(f"{path}, line 1: every column needs a name of its own; found: {shown}")
    taken = [escaped(c) for c in header if c in PHOTO_COLUMNS and c not in LIST_COLUMNS]
    if taken:
        raise UserError(f"{path}, line 1: {', '.join(taken)} cannot be the name of a group; it is found, not listed")


def _record(where: str, header: list[str], row: list[str]) -> dict[str, str]:
    if len(row) != len(header):
        raise UserError(f"{where}: {len(row)} fields, but the header has {len(header)}: {escaped(', '.join(header))}")
    record = dict(zip(header, row, strict=True))
    if record["role"] not in ROLES:
        raise UserError(f"{where}: role {record['role']!r}; allowed: {', '.join(ROLES)}")
    if bool(record["item"]) != (record["role"] == "reference"):
        raise UserError(f"{where}: a reference needs an item's name, other photos have none; found {record['item']!r}")
    for column in ("subject", "image"):
        if not record[column]:
            raise UserError(f"{where}: {column} is empty")
    _check_numbers(where, record)
    return record


def _check_numbers(where: str, record: dict[str, str]) -> None:
    record["sha256"] = record.get("sha256", "").lower()
    if not re.fullmatch(r"([0-9a-f]{64})?", record["sha256"]):
        raise UserError(f"{where}: sha256 {record['sha256']!r}; 64 hex digits, or nothing")
    for column in ("width", "height"):
        if not re.fullmatch(r"[0-9]*", record.get(column, "")):
            raise UserError(f"{where}: {column} {record[column]!r}; a number of pixels, or nothing")


def _check_items(path: Path, lines: Mapping[int, dict[str, str]]) -> None:
    first: dict[str, int] = {}
    for line, record in lines.items():
        item = record["item"]
        if item and first.setdefault(item, line) != line:
            raise UserError(
                f"{path}, line {line}: the item {item!r} is already in line {first[item]}; names are unique"
            )
