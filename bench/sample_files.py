"""Where the images of a run's samples lie, and how they are written: a PNG file each, or one tar per shard.

    <folder>/samples/<key>/<index>.png      `execution.samples=files`
    <folder>/samples/<shard>.tar            `execution.samples=tar`: <key>.<index>.png, in the order of the rows

The rows of the table say where each image lies, so that no reader asks how a run was made, and one run may have both.
The columns `offset` and `length` are only in tables of samples in tars; null where a sample has a file of its own.
A batch of a shard that is not whole yet has a tar next to its rows, of which the shard's tar is made at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pandas as pd

from bench import tars
from bench.console import say
from bench.errors import UserError
from bench.hashing import sha256_bytes
from bench.images import ImageError, Part, Source, read_bytes
from bench.store import ANEW, write_atomic

FOLDER = "samples"
"""Of a run: where the images of whole shards are."""
PART = ("offset", "length")
"""Columns that say which bytes of the file are the image; null or not there where all are."""
PLACE = ("path", *PART)
"""Columns that say where the image of a sample lies."""


class Png(NamedTuple):
    """The image of a sample as it is written.

    Attributes:
        key: file name of its item (`bench.data.photos.keys`).
        number: of the sample within the item.
        data: bytes of the PNG.
    """

    key: str
    number: int
    data: bytes


def image_of(folder: Path, row: Mapping[Any, Any] | pd.Series) -> Source | None:
    """Return the image of a sample; None where it has none.

    Args:
        folder: of the run.
        row: of a table of its samples; one without the column `path` has no image.

    Raises:
        UserError: it would lie outside of the folder.
    """
    path, offset, length = map(row.get, PLACE)
    # Where tables are joined, a row of one without the column has NaN there.
    return image_at(below(folder, path), offset, length) if isinstance(path, str) and path else None


def image_at(path: Path, offset: Any, length: Any) -> Source:
    """Return a file, or the part of it that two columns of a table say, where they say one."""
    return path if pd.isna(offset) else Part(path, int(offset), int(length))


def below(folder: Path, path: str) -> Path:
    """Return a path that a table of the folder names.

    Raises:
        UserError: it leads out of the folder.
    """
    place = PurePosixPath(path)
    if place.is_absolute() or ".." in place.parts:
        raise UserError(f"a table in {folder} names {path}, which lies outside of that folder; {ANEW}")
    return folder / place


def tar_file(folder: Path, shard: int) -> Path:
    """Return the tar of a shard."""
    return folder / FOLDER / f"{shard:05d}.tar"


def write_files(folder: Path, images: Sequence[Png]) -> list[dict[str, Any]]:
    """Write a file for each image; return what the rows say of them, `path`."""
    paths = [Path(FOLDER) / image.key / f"{image.number}.png" for image in images]
    for path, image in zip(paths, images, strict=True):
        write_atomic(folder / path, image.data)
    return [{"path": path.as_posix()} for path in paths]


def write_tar(folder: Path, tar: Path, images: Iterable[Png]) -> list[dict[str, Any]]:
    """Write images into one tar; return what the rows say of them, `PLACE`.

    Args:
        folder: of the run.
        tar: to be written, or to be replaced as a whole; below the folder.
        images: one at least.
    """
    data, places = _packed(images)
    write_atomic(tar, data)
    path = tar.relative_to(folder).as_posix()
    return [{"path": path, "offset": offset, "length": length} for offset, length in places]


def _packed(images: Iterable[Png]) -> tuple[bytes, list[tuple[int, int]]]:
    return tars.packed((f"{image.key}.{image.number}.png", image.data) for image in images)


def key_of(name: str) -> str:
    """Return the key of the item whose image is called so in a tar.

    >>> key_of("anna.b.3.png")
    'anna.b'
    """
    return name.rsplit(".", 2)[0]


def table_of(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows of samples as a table, in which offsets are whole numbers also where some rows have none."""
    frame = pd.DataFrame(rows)
    return frame.astype({name: "Int64" for name in PART if name in frame})


def gathered(folder: Path, rows: pd.DataFrame, tar: Path, keys: Mapping[str, str]) -> pd.DataFrame:
    """Copy images that lie in tars into one tar; return the rows that say so. Images with a file of their own stay.

    Args:
        folder: of the run.
        rows: of its samples.
        tar: as in `write_tar`.
        keys: item -> its key.

    Raises:
        ImageError: one of the tars is damaged.
    """
    is_in_tar = _is_in_tar(rows)
    if not is_in_tar.any():
        return rows
    places = write_tar(folder, tar, _read(folder, rows[is_in_tar], keys))
    moved = rows.copy()
    moved.loc[is_in_tar, list(PLACE)] = table_of(places).set_index(rows.index[is_in_tar])
    return moved


def _is_in_tar(rows: pd.DataFrame) -> pd.Series:
    return rows["offset"].notna() if "offset" in rows else pd.Series(False, index=rows.index)


def _read(folder: Path, rows: pd.DataFrame, keys: Mapping[str, str]) -> Iterator[Png]:
    for row in rows.to_dict("records"):
        image = image_of(folder, row)
        if image is not None:
            yield Png(keys[row["item"]], row["index"], read_bytes(image))


def changed(folder: Path, rows: pd.DataFrame, among: str) -> pd.Series:
    """Return which samples have an image that is gone or is not what was made, and say so in a line where any has.

    Args:
        folder: of the run.
        rows: of its samples.
        among: what the rows are, for the line.
    """
    is_changed = pd.Series([_is_changed(folder, row) for row in rows.to_dict("records")], index=rows.index, dtype=bool)
    if is_changed.any():
        first = image_of(folder, rows[is_changed].iloc[0])
        say(f"warning: {first} is not the image that was made ({is_changed.sum()} in its {among}); made again")
    return is_changed


def _is_changed(folder: Path, row: Mapping[Any, Any]) -> bool:
    image = image_of(folder, row)
    try:
        return image is not None and sha256_bytes(read_bytes(image)) != row["sha256"]
    except ImageError:
        return True


def check_tar(folder: Path, rows: pd.DataFrame, tar: Path, keys: Mapping[str, str]) -> None:
    """Write the tar of a shard again where it is damaged between its images, which are what was made.

    Args:
        folder: of the run.
        rows: of the shard.
        tar: of the shard.
        keys: item -> its key.
    """
    is_in_tar = _is_in_tar(rows)
    if is_in_tar.any():
        data, _ = _packed(_read(folder, rows[is_in_tar], keys))
        if tar.read_bytes() != data:
            say(f"warning: {tar} is damaged between its images; written again")
            write_atomic(tar, data)
