"""Takes a person out of everything that was made from their photos: lists, samples, features, scores and pages.

Works on what lies on the disk and not on what the program remembers: in every folder of a run, however deep, the rows
of every Parquet table that name the person in a text column called subject or item (or `other_subject`, `item_b`, ...).
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import tars
from bench.data.known import FILE
from bench.data.lists import csv_line, csv_records
from bench.data.photos import SUFFIXES, hashed_key, keys
from bench.errors import UserError
from bench.sample_files import key_of
from bench.store import checksum_file, locked, read_json, write_arrow, write_atomic, write_json

if TYPE_CHECKING:
    import pyarrow as pa

NOTE = "removed.json"
"""In a folder that lost rows: how many."""

REBUILT = ("scores", "report")
"""Folders that later stages make from the tables."""

COMPARED = "compare"
"""Folder of comparisons among the runs; they are made of all their runs' scores."""

MARKS = {"run.json", "stages.json", "photos.parquet", "tables", "samples", NOTE}
"""What makes a folder that of a run, or of a dataset's photos."""

SHOWS_OTHERS = "shuffle"
"""The control whose runs show people under the names of others."""

MIXED = "conditions"
"""Folder of a run that holds vectors and images by content: nothing says whose they are, and one may be of several."""

TEXTS = {".csv", ".html", ".json", ".jsonl", ".log", ".md", ".svg", ".tex", ".txt", ".yaml"}


class Removal(NamedTuple):
    """What is (or was) removed.

    Attributes:
        lists: list -> number of rows.
        tables: Parquet table -> number of rows.
        runs: the folders that hold something of the person.
        deleted: files and folders that go as a whole.
        photos: the images that the rows were made from; they are the user's, and stay.
        mentions: texts that hold a name of the person and are left as they are.
    """

    lists: dict[Path, int]
    tables: dict[Path, int]
    runs: list[Path]
    deleted: list[Path]
    photos: list[str]
    mentions: list[Path]


class Person(NamedTuple):
    """Under which names one folder knows the person; two subjects that share a photo are one."""

    subjects: frozenset[str]
    items: frozenset[str]
    keys: frozenset[str]


def remove(subject: str, *, runs: Path, lists: Path, dry_run: bool = False) -> Removal:
    """Remove a subject, by its exact name.

    The scores and the report of every run that held the person are deleted, and all comparisons of runs, to be made
    again; so are whole runs of the control `shuffle`, which show each person under other people's names, and runs with
    vectors or images of conditions, which may mix people. A tar of samples that shows the person goes as a whole. Every
    folder that lost rows gets a note `removed.json` with their number, without a name. Folders that a running process
    holds are waited for.

    Args:
        subject: as in the column `subject` of lists and tables.
        runs: the folder of all runs.
        lists: the folder of the CSV lists.
        dry_run: says what would happen, and changes nothing.

    Raises:
        UserError: nobody of that name is found; the message has the nearest names.
    """
    people = _people(subject, _run_folders(runs))
    found = _find(subject, people, lists)
    found.deleted.extend(_comparisons(runs) if found.runs else [])
    if not (found.lists or found.tables or found.deleted):
        raise _nobody(subject, runs, lists)
    found = found._replace(mentions=_mentions(found, subject, (runs, lists)))
    if not dry_run:
        for folder in found.runs:
            with locked(folder):
                _purge(folder, people[folder], found)
        for path in [path for path in found.deleted if path.parent.name == COMPARED]:
            _delete(path)
        for path in found.lists:
            _rewrite_list(path, subject)
        for folder in {folder.parent for folder in found.runs}:
            # It has the sha256 of photos, and nothing by which to find a person's.
            for path in (folder / FILE, checksum_file(folder / FILE)):
                path.unlink(missing_ok=True)
    return found


def _people(subject: str, folders: list[Path]) -> dict[Path, Person]:
    """Return who the person is in each folder.

    A run that was stopped before its first rows doesn't say whose its images are: the dataset's other folders do.
    """
    own = {folder: _person(_names_of(subject, folder, folders), folder) for folder in folders}
    silent = [folder for folder in folders if not any("subject" in _names(path) for path in _tables(folder))]
    for folder in silent:
        own[folder] = _merged([own[folder], *(own[other] for other in folders if other.parent == folder.parent)])
    return own


def _names_of(subject: str, folder: Path, folders: Iterable[Path]) -> frozenset[str]:
    """Return the person's names in the dataset of a folder: those in the rows that list the person as `subject`."""
    beside = [other / "photos.parquet" for other in folders if other.parent == folder.parent]
    tables = [path for path in beside if path.exists() and "listed_subject" in _names(path)]
    rows = [_read(path, ["subject", "listed_subject"]).to_pylist() for path in tables]
    known = {row["subject"] for table in rows for row in table if row["listed_subject"] == subject}
    return frozenset({subject} | known)


def _find(subject: str, people: dict[Path, Person], lists: Path) -> Removal:
    in_lists = {path: count for path in _lists(lists) if (count := _rows_in_list(path, subject))}
    found = Removal(in_lists, {}, [], [], [], [])
    for folder, person in people.items():
        _find_in_run(folder, person, found)
    return found


def _find_in_run(folder: Path, person: Person, found: Removal) -> None:
    tables = {path: count for path in _tables(folder) if (count := _count(path, person))}
    images = [path for path in sorted({*folder.glob("*/*"), *folder.rglob("*.tar")}) if _shows(path, person)]
    if not tables and not images:
        return
    found.runs.append(folder)
    if _method(folder) == SHOWS_OTHERS or (folder / MIXED).exists():
        found.deleted.append(folder)
        return
    found.tables.update(tables)
    found.deleted.extend([*images, *(folder / name for name in REBUILT if (folder / name).exists())])
    photos = {photo for path in tables for photo in _values(path, "path", person.subjects)}
    found.photos.extend(sorted(p for p in photos if Path(p).is_absolute() and p not in found.photos))


def _method(folder: Path) -> str:
    """Return the method of a run; where its record is damaged, as its folder's name says."""
    try:
        return str(read_json(folder / "run.json")["method"])
    except (UserError, KeyError, TypeError):
        return folder.name.rpartition("-")[0]


def _shows(path: Path, person: Person) -> bool:
    """Return whether `samples/<key>/` and the like, an image called by the key, or one in a tar is of the person."""
    if path.parent.name in ("tables", *REBUILT):
        return False
    if path.suffix == ".tar":
        # A tar goes as a whole: the run is made again anyway.
        return any(key_of(name) in person.keys for name in _members(path))
    return path.name in person.keys or (path.suffix in SUFFIXES and path.stem in person.keys)


def _members(path: Path) -> list[str]:
    try:
        return tars.names(path)
    except (OSError, tarfile.TarError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"cannot read {path}, so nothing was removed: {error}; delete it and try again")


def _purge(folder: Path, person: Person, found: Removal) -> None:
    """Delete what is of the person; what says who it is goes last, so that a killed removal can be started again."""
    for path in [path for path in found.deleted if path.is_relative_to(folder)]:
        _delete(path)
    if folder in found.deleted:
        return
    tables = [path for path in found.tables if path.is_relative_to(folder)]
    rows = sum(_rewrite_table(path, person) for path in sorted(tables, key=lambda path: "subject" in _names(path)))
    before = read_json(folder / NOTE)["rows"] if (folder / NOTE).exists() else 0
    write_json(folder / NOTE, {"rows": before + rows})


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _run_folders(runs: Path) -> list[Path]:
    """Return the folders of runs and of photos, however deep they lie, those behind links too."""
    return [folder for folder in _folders(runs) if any((folder / name).exists() for name in MARKS)]


def _comparisons(runs: Path) -> list[Path]:
    """Return the comparisons of runs."""
    return [path for folder in _folders(runs) if folder.name == COMPARED for path in sorted(folder.glob("*"))]


def _folders(top: Path) -> list[Path]:
    """Return all folders below one, itself too, without what lies in a run or a comparison.

    Raises:
        UserError: one cannot be read, so that nobody can say who is in it.
    """
    folders = []
    seen = set()
    for name, below, files in os.walk(top, onerror=_refuse_unreadable, followlinks=True):
        folder = Path(name)
        # A link may lead back to where it lies.
        is_known = folder.resolve() in seen
        seen.add(folder.resolve())
        if is_known or folder.name == COMPARED or not MARKS.isdisjoint([*below, *files]):
            below.clear()
        if not is_known:
            folders.append(folder)
    return sorted(folders)


def _refuse_unreadable(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise UserError(f"{error.filename} cannot be read ({error.strerror}), so nothing was removed") from error


def _lists(lists: Path) -> list[Path]:
    return sorted(lists.glob("*.csv")) if lists.is_dir() else []


def _tables(folder: Path) -> Iterator[Path]:
    """Yield all tables of a run, those of unfinished shards too, without what is deleted as a whole."""
    for path in sorted(folder.rglob("*.parquet")):
        if path.relative_to(folder).parts[0] not in REBUILT:
            yield path


def _rows_in_list(path: Path, subject: str) -> int:
    return sum(named for _, named in _list_rows(path, subject))


def _list_rows(path: Path, subject: str) -> Iterator[tuple[list[str], bool]]:
    """Yield (fields, whether they name the person) of every row of a list, its header first; nothing of another CSV."""
    rows = (row for _, row in csv_records(path))
    header = next(rows, [])
    if "subject" in header and "role" in header:
        yield header, False
        place = header.index("subject")
        for row in rows:
            yield row, len(row) > place and row[place] == subject


def _rewrite_list(path: Path, subject: str) -> None:
    kept = [row for row, named in _list_rows(path, subject) if not named]
    write_atomic(path, "".join(map(csv_line, kept)).encode())


def _person(subjects: frozenset[str], folder: Path) -> Person:
    items = {item for path in _tables(folder) for item in _values(path, "item", subjects)} - {""}
    known = {key for path in _tables(folder) for key in _values(path, "key", subjects)} - {""}
    possible = {key for item in items for key in (*keys([item]), hashed_key(item))}
    return Person(subjects, frozenset(items), frozenset(known or possible))


def _merged(people: Sequence[Person]) -> Person:
    return Person(*(frozenset[str]().union(*names) for names in zip(*people, strict=True)))


def _values(path: Path, column: str, subjects: frozenset[str]) -> set[str]:
    """Return what a text column of a table holds in the rows of the person."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = _read(path, [name for name in _names(path) if name in (column, "subject")])
    if column not in table.column_names or "subject" not in table.column_names:
        return set()
    rows = table.filter(pc.is_in(table["subject"], value_set=pa.array(sorted(subjects), pa.string())))
    return {value for value in rows[column].to_pylist() if value}


def _count(path: Path, person: Person) -> int:
    import pyarrow.compute as pc

    mask = _mask(_read(path, _names(path)), person)
    return 0 if mask is None else pc.sum(mask).as_py() or 0


def _rewrite_table(path: Path, person: Person) -> int:
    """Write a table again without the rows of the person; return how many those were."""
    import pyarrow.compute as pc

    mask = _mask(_read(path, _names(path)), person)
    assert mask is not None
    whole = _read(path, None)
    kept = whole.filter(pc.invert(mask))
    write_arrow(path, kept)
    return whole.num_rows - kept.num_rows


def _mask(table: pa.Table, person: Person) -> pa.ChunkedArray | None:
    """Return which rows name the person; None where no column could."""
    import pyarrow as pa
    import pyarrow.compute as pc

    mask = None
    for name in table.column_names:
        kind = re.search(r"(?:^|_)(subject|item)(?:_|$)", name)
        if kind is not None:
            wanted = pa.array(sorted(person.items) if kind[1] == "item" else sorted(person.subjects), pa.string())
            hit = pc.is_in(table[name], value_set=wanted)
            mask = hit if mask is None else pc.or_(mask, hit)
    return mask


def _names(path: Path) -> list[str]:
    """Return the text columns of a table that matter here: those that name people, and `key` and `path`."""
    import pyarrow as pa

    with _open(path) as file:
        fields = [field for field in file.schema_arrow if pa.types.is_string(_plain(field.type))]
    wanted = re.compile(r"(?:^|_)(subject|item)(?:_|$)|^key$|^path$")
    return [field.name for field in fields if wanted.search(field.name)]


def _plain(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.string() if pa.types.is_large_string(kind) else kind


def _read(path: Path, columns: list[str] | None) -> pa.Table:
    """Return columns of a table, text as plain strings; None: the whole table as it is."""
    import pyarrow as pa

    with _open(path) as file:
        table = file.read(columns=columns)
    if columns is None:
        return table
    return table.cast(pa.schema([pa.field(field.name, _plain(field.type)) for field in table.schema]))


def _open(path: Path) -> pa.parquet.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def _mentions(found: Removal, subject: str, places: Iterable[Path]) -> list[Path]:
    """Return texts outside of what goes that hold the subject's name, not as a part of a longer word or number."""
    written = "|".join(sorted({re.escape(subject), re.escape(json.dumps(subject)[1:-1])}))
    name = re.compile(rf"(?<![^\W_])(?:{written})(?![^\W_])")
    texts = (path for place in places for path in sorted(place.rglob("*")) if path.suffix in TEXTS and path.is_file())
    left = (p for p in texts if p not in found.lists and not any(p.is_relative_to(d) for d in found.deleted))
    return [path for path in left if name.search(path.read_text(encoding="utf-8", errors="replace"))]


def _nobody(subject: str, runs: Path, lists: Path) -> UserError:
    listed = {row[header.index("subject")] for path in _lists(lists) for header, row in _pairs(path)}
    stored = {name for folder in _run_folders(runs) for path in _tables(folder) for name in _subjects(path)}
    near = difflib.get_close_matches(subject, sorted(listed | stored), n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    return UserError(f"no subject {subject!r} in the runs of {runs} or the lists of {lists}{hint}")


def _pairs(path: Path) -> Iterator[tuple[list[str], list[str]]]:
    rows = [row for row, _ in _list_rows(path, "")]
    return ((rows[0], row) for row in rows[1:] if len(row) == len(rows[0]))


def _subjects(path: Path) -> set[str]:
    table = _read(path, [name for name in _names(path) if name == "subject"])
    return set(table["subject"].to_pylist()) - {None} if "subject" in table.column_names else set()
