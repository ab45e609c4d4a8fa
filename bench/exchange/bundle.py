"""Reads a bundle that somebody else made: nothing is unpacked to the disk, and nothing in it is believed."""

from __future__ import annotations

import io
import json
import math
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

import pandas as pd
from pydantic import BaseModel, ValidationError

from bench.exchange.schema import (
    ITEMS,
    MANIFEST,
    MAX_BYTES,
    MAX_CELLS,
    MAX_FILE_BYTES,
    MAX_FILES,
    MAX_JSON_BYTES,
    MAX_JSON_DEPTH,
    MAX_NUMBER,
    NAMES,
    NAMES_V1,
    PER_SAMPLE,
    RECORD,
    REFERENCES,
    REFERENCES_FILE,
    REQUIRED,
    SAMPLES,
    SCORE_COUNTS,
    SCORE_COUNTS_OR_NONE,
    SCORE_NUMBERS,
    SCORE_TEXTS,
    SCORE_TRUTHS,
    SCORES,
    STATUS,
    TARGETS,
    USABLE,
    Manifest,
    Record,
)
from bench.hashing import sha256_bytes
from bench.metrics.protocol import NUMBER, Number
from bench.zips import DAMAGE, PLAIN

Model = TypeVar("Model", bound=BaseModel)


class Refused(Exception):
    """A bundle that cannot be taken; the text says why."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle whose files are whole and well formed; whether its numbers agree is checked by `bench.exchange.verify`.

    Attributes:
        source: where it was read from.
        sha256: of its manifest, which names all other files.
        manifest: as declared.
        record: as declared.
        scores: a row per number; missing values are NaN.
        samples: a row per sample.
        items: a row per item and number.
        references: a row per item; None in a bundle of version 1, which has no such table.
    """

    source: Path
    sha256: str
    manifest: Manifest
    record: Record
    scores: pd.DataFrame
    samples: pd.DataFrame
    items: pd.DataFrame
    references: pd.DataFrame | None

    @cached_property
    def by_number(self) -> dict[Number, dict[str, Any]]:
        """The rows of scores by number."""
        return {number_of(row): {str(k): v for k, v in row.items()} for row in self.scores.to_dict("records")}

    @cached_property
    def items_by_number(self) -> dict[Number, pd.DataFrame]:
        """The rows of items by number."""
        groups = self.items.groupby(NUMBER, sort=False)
        return {Number(*map(str, key)): rows for key, rows in groups}

    @cached_property
    def content_id(self) -> str:
        """sha256 of what was measured of each sample: the same run has the same one, whatever it calls itself."""
        measured = [str(column) for column in self.samples if "[" in str(column)]
        rows = self.samples[["item", "index", "status", *sorted(measured)]].sort_values(["item", "index"])
        return sha256_bytes(rows.to_csv(index=False, lineterminator="\n").encode())


def number_of(row: Mapping[Any, Any]) -> Number:
    """Return the number that a row of scores or items is about."""
    return Number(*(str(row[name]) for name in NUMBER))


def read_bundle(source: Path) -> Bundle:
    """Read a zip file or a folder.

    Raises:
        Refused: it is not a bundle, is too large, has foreign or missing files, or a file differs from the manifest.
    """
    files = read_files(source)
    if MANIFEST not in files:
        raise Refused(f"it has no {MANIFEST}")
    manifest = _model(Manifest, files.pop(MANIFEST), MANIFEST)
    tables = _TABLES[manifest.version]
    _check_files(files, manifest, (*REQUIRED, *([REFERENCES_FILE] if tables.references else [])))
    return Bundle(
        source,
        sha256_bytes(json.dumps(manifest.model_dump(mode="json"), sort_keys=True).encode()),
        manifest,
        _model(Record, files[RECORD], RECORD),
        tables.scores(files["scores.csv"]),
        tables.samples(files["samples.csv"]),
        tables.items(files["items.csv"]),
        tables.references(files[REFERENCES_FILE]) if tables.references else None,
    )


def read_files(source: Path) -> dict[str, bytes]:
    """The files of a zip or a folder by name, within the limits of the schema."""
    try:
        return _from_folder(source) if source.is_dir() else _from_zip(source)
    except (OSError, *DAMAGE) as error:
        raise Refused(f"it cannot be read: {' '.join(str(error).split())[:200]}") from error


def _from_zip(source: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    with zipfile.ZipFile(source) as archive:
        entries = archive.infolist()
        _check_sizes([entry.file_size for entry in entries])
        for entry in entries:
            if entry.is_dir() and entry.filename == "thumbnails/":
                continue
            _check_name(entry.filename, files)
            if stat.S_ISLNK(entry.external_attr >> 16) or entry.flag_bits & 1:
                raise Refused(f"{entry.filename!r} is a link or is encrypted")
            if entry.compress_type not in PLAIN:
                raise Refused(f"{entry.filename!r} is packed by another method than deflate")
            with archive.open(entry) as file:
                files[entry.filename] = _limited(file.read(entry.file_size + 1), entry.file_size, entry.filename)
    return files


def _from_folder(source: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    paths = [
        Path(place) / name for place, folders, names in os.walk(source) for name in (*names, *_links(place, folders))
    ]
    if any(not stat.S_ISREG(os.lstat(path).st_mode) for path in paths):
        raise Refused("it holds a link or something that is not a file")
    _check_sizes([os.lstat(path).st_size for path in paths])
    for path in sorted(paths):
        name = path.relative_to(source).as_posix()
        _check_name(name, files)
        with path.open("rb") as file:
            files[name] = _limited(file.read(MAX_FILE_BYTES + 1), MAX_FILE_BYTES, name)
    return files


def _links(place: str, folders: Iterable[str]) -> list[str]:
    """Links to folders, which `os.walk` counts among the folders and doesn't enter."""
    return [name for name in folders if (Path(place) / name).is_symlink()]


def _check_sizes(sizes: list[int]) -> None:
    if len(sizes) > MAX_FILES:
        raise Refused(f"it has {len(sizes)} files; at most {MAX_FILES} are allowed")
    if sum(sizes) > MAX_BYTES or max(sizes, default=0) > MAX_FILE_BYTES:
        raise Refused(f"it is too large: at most {MAX_FILE_BYTES >> 20} MiB a file and {MAX_BYTES >> 20} MiB in all")


def _check_name(name: str, known: Mapping[str, bytes]) -> None:
    if name != MANIFEST and not NAMES.fullmatch(name):
        raise Refused(f"{name[:100]!r} is not a file of a bundle")
    if name in known:
        raise Refused(f"{name!r} is in it twice")


def _limited(data: bytes, limit: int, name: str) -> bytes:
    if len(data) > limit:
        raise Refused(f"{name!r} is larger than it says")
    return data


def _check_files(files: Mapping[str, bytes], manifest: Manifest, required: Iterable[str]) -> None:
    """Files and manifest name each other, with the right bytes."""
    for name in sorted({*files, *manifest.files, *required}):
        if name not in files:
            raise Refused(f"{name!r} is missing")
        if name not in manifest.files:
            raise Refused(f"{name!r} is not in the manifest")
        if sha256_bytes(files[name]) != manifest.files[name].sha256 or len(files[name]) != manifest.files[name].bytes:
            raise Refused(f"{name!r} was changed: its sha256 is not that of the manifest")
    if any(name.startswith("thumbnails/") for name in files) and not manifest.people.pictures:
        raise Refused("it has pictures, but its manifest says that it has none")


def _model(model: type[Model], data: bytes, name: str) -> Model:
    if len(data) > MAX_JSON_BYTES:
        raise Refused(f"{name} is larger than {MAX_JSON_BYTES >> 20} MiB")
    try:
        plain = json.loads(data.decode(), parse_constant=_no_constant, object_pairs_hook=_unique)
        _check_depth(plain)
        return model.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        raise Refused(f"{name}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise Refused(f"{name} is no JSON of a bundle: {str(error)[:100]}") from error


def _check_depth(value: Any, left: int = MAX_JSON_DEPTH) -> None:
    if left == 0:
        raise ValueError(f"it is nested deeper than {MAX_JSON_DEPTH} levels")
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_depth(inner, left - 1)


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _scores(data: bytes) -> pd.DataFrame:
    return _converted_scores(_table(data, "scores.csv", SCORES))


def _converted_scores(frame: pd.DataFrame) -> pd.DataFrame:
    _unique_rows(frame, NUMBER, "scores.csv")
    frame = _converted(frame, "scores.csv", SCORE_NUMBERS, number)
    frame = _converted(frame, "scores.csv", SCORE_COUNTS, count)
    frame = _converted(frame, "scores.csv", SCORE_COUNTS_OR_NONE, count_or_none)
    return _converted(frame, "scores.csv", SCORE_TRUTHS, truth).astype({name: str for name in SCORE_TEXTS})


def _samples(data: bytes) -> pd.DataFrame:
    return _converted_samples(_table(data, "samples.csv", SAMPLES, PER_SAMPLE.fullmatch))


def _converted_samples(frame: pd.DataFrame) -> pd.DataFrame:
    _unique_rows(frame, ["item", "index"], "samples.csv")
    frame = _converted(frame, "samples.csv", ("index", "n_faces"), count)
    numbers = [c for c in frame.columns if PER_SAMPLE.fullmatch(c) and not c.startswith(f"{STATUS}[")]
    return _converted(frame, "samples.csv", numbers, number)


def _items(data: bytes) -> pd.DataFrame:
    return _converted_items(_table(data, "items.csv", ITEMS))


def _converted_items(frame: pd.DataFrame) -> pd.DataFrame:
    _unique_rows(frame, ["item", *NUMBER], "items.csv")
    return _converted(frame, "items.csv", ("value",), number)


def _references(data: bytes) -> pd.DataFrame:
    frame = _table(data, REFERENCES_FILE, REFERENCES, PER_SAMPLE.fullmatch)
    _unique_rows(frame, ["item"], REFERENCES_FILE)
    usable = [c for c in frame.columns if c.startswith(f"{USABLE}[")]
    targets = [c for c in frame.columns if c.startswith(f"{TARGETS}[")]
    frame = _converted(frame, REFERENCES_FILE, usable, certain)
    return _converted(frame, REFERENCES_FILE, targets, count)


# Version 1


def _scores_v1(data: bytes) -> pd.DataFrame:
    columns = (*NAMES_V1, *(c for c in SCORES if c not in (*NUMBER, "drawn")))
    return _converted_scores(_named(_table(data, "scores.csv", columns)).assign(drawn="False"))


def _samples_v1(data: bytes) -> pd.DataFrame:
    columns = ("item", "subject", "index", "prompt_id", "status", "reason", "n_faces", "picture")
    return _converted_samples(_table(data, "samples.csv", columns, PER_SAMPLE.fullmatch).drop(columns="reason"))


def _items_v1(data: bytes) -> pd.DataFrame:
    return _converted_items(_named(_table(data, "items.csv", ("item", "subject", *NAMES_V1, "value"))))


_STATISTIC_V1 = re.compile(
    r"(?P<statistic>[a-z0-9_]+)(?:@(?P<level>[0-9e.-]+))?"
    r"(?:\[(?P<subset>verified [^\[\]@]+)@(?P<subset_level>[0-9e.-]+)\])?(?:\[(?P<group>[^\[\]=]+)=(?P<member>.*)\])?",
    re.DOTALL,
)


def number_v1(metric: str, variant: str, statistic: str) -> Number:
    """Return the number that version 1 spelled in three words.

    >>> number_v1("groups", "judge", "fnmr@1e-3[gender=f]")[2:]
    ('fnmr', '1e-3', '', 'gender', 'f')
    >>> number_v1("lpips_diversity", "lpips", "mean_items[verified judge@1e-2]")[2:5]
    ('mean_items', '1e-2', 'verified judge')

    Raises:
        Refused: version 1 had no such statistic.
    """
    found = _STATISTIC_V1.fullmatch(statistic)
    if found is None:
        raise Refused(f"{statistic[:60]!r} is not a statistic of a bundle of version 1")
    parts = {name: text or "" for name, text in found.groupdict().items()}
    level = parts["level"] or parts["subset_level"]
    return Number(metric, variant, parts["statistic"], level, parts["subset"], parts["group"], parts["member"])


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with the columns of `NUMBER` in place of those of version 1."""
    numbers = [number_v1(*names) for names in zip(*(frame[name] for name in NAMES_V1), strict=True)]
    named = pd.DataFrame(numbers, columns=NUMBER, index=frame.index, dtype=str)
    return pd.concat([frame.drop(columns=list(NAMES_V1)), named], axis=1)


Reader = Callable[[bytes], pd.DataFrame]


class _Tables(NamedTuple):
    """How the tables of a version are read; `references` is None where a version has none."""

    scores: Reader
    samples: Reader
    items: Reader
    references: Reader | None


_TABLES = {
    1: _Tables(_scores_v1, _samples_v1, _items_v1, None),
    2: _Tables(_scores, _samples, _items, _references),
}


# Cells


def _table(
    data: bytes, name: str, columns: tuple[str, ...], more: Callable[[str], Any] = lambda _: False
) -> pd.DataFrame:
    """A CSV of texts, its columns those that are expected, in order, and then only such as `more` allows."""
    lines, width = data.count(b"\n") + data.count(b"\r"), data.partition(b"\n")[0].count(b",") + 1
    # A line of one byte becomes a whole row of cells.
    if lines * width > MAX_CELLS:
        raise Refused(f"{name} is too large: {lines} lines of {width} cells, more than {MAX_CELLS} in all")
    try:
        frame = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False, encoding="utf-8", index_col=False)
    except (ValueError, UnicodeDecodeError, pd.errors.ParserError) as error:
        raise Refused(f"{name} is no table: {str(error)[:100]}") from error
    found = [str(column) for column in frame.columns]
    if tuple(found[: len(columns)]) != columns or not all(more(column) for column in found[len(columns) :]):
        raise Refused(f"{name} has other columns than a bundle's: {', '.join(found)[:300]}")
    return frame


def _unique_rows(frame: pd.DataFrame, key: list[str], name: str) -> None:
    twice = frame[frame.duplicated(key)]
    if len(twice):
        raise Refused(f"{name}: {', '.join(map(str, twice.iloc[0][key]))} stands there twice")


def _converted(frame: pd.DataFrame, name: str, columns: Iterable[str], convert: Callable[[str], Any]) -> pd.DataFrame:
    found: dict[str, list[Any]] = {}
    for column in columns:
        try:
            found[column] = [convert(text) for text in frame[column]]
        except ValueError as error:
            raise Refused(f"{name}, column {column}: {error}") from error
    return frame.assign(**found)


def number(text: str) -> float:
    """A finite number of at most `MAX_NUMBER`; NaN for an empty cell.

    >>> number("1e-3"), number("")
    (0.001, nan)
    """
    value = float(text) if text else math.nan
    if text and not abs(value) <= MAX_NUMBER:
        raise ValueError(f"{text[:30]!r} is not a finite number, or too large")
    return value


def count(text: str) -> int:
    """A whole number, not negative."""
    if not text.isdecimal() or len(text) > 15:
        raise ValueError(f"{text[:30]!r} is not a whole number")
    return int(text)


def count_or_none(text: str) -> int | None:
    """Return a whole number, or None for an empty cell; pandas wrote those of a column with gaps as 5.0."""
    return count(text.removesuffix(".0")) if text else None


def certain(text: str) -> bool:
    """Return True or False."""
    value = truth(text)
    if value is None:
        raise ValueError("an empty cell, where True or False must be")
    return value


def truth(text: str) -> bool | None:
    """True, False or (empty) neither."""
    if text not in ("True", "False", ""):
        raise ValueError(f"{text[:30]!r} is neither True nor False")
    return {"True": True, "False": False}.get(text)
