"""Reads a bundle that somebody else made: nothing is unpacked to the disk, and nothing in it is believed."""

from __future__ import annotations

import io
import json
import math
import os
import stat
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pandas as pd
from pydantic import BaseModel, ValidationError

from bench.exchange.schema import (
    ITEMS,
    MANIFEST,
    MAX_BYTES,
    MAX_FILE_BYTES,
    MAX_FILES,
    MAX_JSON_BYTES,
    MAX_JSON_DEPTH,
    MAX_NUMBER,
    NAMES,
    PER_SAMPLE,
    RECORD,
    REQUIRED,
    SAMPLES,
    SCORE_COUNTS,
    SCORE_NUMBERS,
    SCORE_TEXTS,
    SCORES,
    Manifest,
    Record,
)
from bench.hashing import sha256_bytes

Model = TypeVar("Model", bound=BaseModel)
Name = tuple[str, str, str]
"""Metric, variant and statistic."""


class Refused(Exception):
    """A bundle that cannot be taken; the text says why."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle whose files are whole and well formed; whether its numbers agree is `bench.exchange.verify`'s matter.

    Attributes:
        source: where it was read from. sha256: of its manifest, which names all other files.
        manifest, record: as declared. scores, samples, items: its tables, with missing values as NaN.
    """

    source: Path
    sha256: str
    manifest: Manifest
    record: Record
    scores: pd.DataFrame
    samples: pd.DataFrame
    items: pd.DataFrame

    @cached_property
    def by_name(self) -> dict[Name, dict[str, Any]]:
        """The rows of scores by metric, variant and statistic."""
        rows = self.scores.to_dict("records")
        return {(row["metric"], row["variant"], row["statistic"]): {str(k): v for k, v in row.items()} for row in rows}

    @cached_property
    def items_by_name(self) -> dict[Name, pd.DataFrame]:
        """The rows of items by metric, variant and statistic."""
        groups = self.items.groupby(["metric", "variant", "statistic"], sort=False)
        return {(str(m), str(v), str(s)): rows for (m, v, s), rows in groups}

    def items_of(self, name: Name) -> pd.DataFrame:
        """The rows of items of one number; none where there are none."""
        return self.items_by_name.get(name, self.items[:0])


def read_bundle(source: Path) -> Bundle:
    """Reads a zip file or a folder.

    Raises:
        Refused: it is no bundle, too large, has foreign or missing files, or a file is not what the manifest says.
    """
    files = read_files(source)
    if MANIFEST not in files:
        raise Refused(f"it has no {MANIFEST}")
    manifest = _model(Manifest, files.pop(MANIFEST), MANIFEST)
    _check_files(files, manifest)
    return Bundle(
        source,
        sha256_bytes(json.dumps(manifest.model_dump(mode="json"), sort_keys=True).encode()),
        manifest,
        _model(Record, files[RECORD], RECORD),
        _scores(files["scores.csv"]),
        _samples(files["samples.csv"]),
        _items(files["items.csv"]),
    )


def read_files(source: Path) -> dict[str, bytes]:
    """The files of a zip or a folder by name, within the limits of the schema."""
    try:
        return _from_folder(source) if source.is_dir() else _from_zip(source)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zipfile.LargeZipFile) as error:
        raise Refused(f"it cannot be read: {error}") from error


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
            with archive.open(entry) as file:
                files[entry.filename] = _limited(file.read(entry.file_size + 1), entry.file_size, entry.filename)
    return files


def _from_folder(source: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    paths = [
        Path(place) / name for place, folders, names in os.walk(source) for name in (*names, *_links(place, folders))
    ]
    if any(not stat.S_ISREG(os.lstat(path).st_mode) for path in paths):
        raise Refused("it holds a link or something that is no file")
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
        raise Refused(f"{name[:100]!r} is no file of a bundle")
    if name in known:
        raise Refused(f"{name!r} is in it twice")


def _limited(data: bytes, limit: int, name: str) -> bytes:
    if len(data) > limit:
        raise Refused(f"{name!r} is larger than it says")
    return data


def _check_files(files: Mapping[str, bytes], manifest: Manifest) -> None:
    """Files and manifest name each other, with the right bytes."""
    for name in sorted({*files, *manifest.files, *REQUIRED}):
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
    frame = _table(data, "scores.csv", SCORES)
    _unique_rows(frame, ["metric", "variant", "statistic"], "scores.csv")
    frame = _converted(frame, "scores.csv", SCORE_NUMBERS, number)
    frame = _converted(frame, "scores.csv", SCORE_COUNTS, count)
    return _converted(frame, "scores.csv", ("higher_is_better",), truth).astype({name: str for name in SCORE_TEXTS})


def _samples(data: bytes) -> pd.DataFrame:
    frame = _table(data, "samples.csv", SAMPLES, PER_SAMPLE.fullmatch)
    _unique_rows(frame, ["item", "index"], "samples.csv")
    frame = _converted(frame, "samples.csv", ("index", "n_faces"), count)
    return _converted(frame, "samples.csv", frame.columns[len(SAMPLES) :], number)


def _items(data: bytes) -> pd.DataFrame:
    frame = _table(data, "items.csv", ITEMS)
    _unique_rows(frame, ["item", "metric", "variant", "statistic"], "items.csv")
    return _converted(frame, "items.csv", ("value",), number)


def _table(
    data: bytes, name: str, columns: tuple[str, ...], more: Callable[[str], Any] = lambda _: False
) -> pd.DataFrame:
    """A CSV of texts, its columns those that are expected, in order, and then only such as `more` allows."""
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


def truth(text: str) -> bool | None:
    """True, False or (empty) neither."""
    if text not in ("True", "False", ""):
        raise ValueError(f"{text[:30]!r} is neither True nor False")
    return {"True": True, "False": False}.get(text)
