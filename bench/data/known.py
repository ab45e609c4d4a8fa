"""Photos that were read before: a file of the same place, size, time and inode is not read and hashed again.

A list of a million photos is half a terabyte, and every command begins with it. What a command read is kept in one
table next to a dataset's runs, without the names of files. A change that keeps size, modification time and inode alike
is not noticed here; whoever decodes the photo compares its sha256 (`bench.images.read_known_image`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bench.console import say
from bench.errors import UserError
from bench.hashing import sha256_bytes
from bench.store import read_table, write_table

FILE = "known-photos.parquet"
"""Name of the table in the folder of a dataset's runs."""
SETTLED = 2 * 10**9
"""Nanoseconds since its last change after which a file is kept: the clocks of disks tick slowly."""
Stamp = tuple[int, int, int]
"""Size, modification time in nanoseconds, inode."""


class Content(NamedTuple):
    """What a photo's bytes and header say.

    Attributes:
        sha256: of the bytes.
        width: pixels, upright.
        height: likewise.
    """

    sha256: str
    width: int
    height: int


class KnownPhotos:
    """Photos by their place, with the stamp that they had when they were read."""

    def __init__(self, kept: dict[str, tuple[Stamp, Content]]) -> None:
        """Keep what is known.

        Args:
            kept: digest of a photo's path -> its stamp, and what was read then.
        """
        self._kept = kept
        self._read: dict[str, tuple[Stamp, Content]] = {}

    def content(self, path: Path, read: Callable[[Path], Content]) -> Content:
        """Return what a photo's bytes say, by `read` where the file is not as it was; its errors are not kept."""
        place, stamp = sha256_bytes(os.fsencode(path)), _stamp(path)
        before = self._kept.get(place)
        if before is not None and before[0] == stamp:
            return before[1]
        now, content = time.time_ns(), read(path)
        # A file that changed just now, or while it was read, may change again within one tick of the disk's clock.
        if stamp is not None and stamp == _stamp(path) and now - stamp[1] > SETTLED:
            self._read[place] = (stamp, content)
        return content

    def table(self) -> pd.DataFrame | None:
        """Return all that is known, a row per photo; None where nothing new was read."""
        if not self._read:
            return None
        rows = [(place, *stamp, *content) for place, (stamp, content) in (self._kept | self._read).items()]
        return pd.DataFrame(rows, columns=["place", "size", "mtime_ns", "inode", *Content._fields])


def _stamp(path: Path) -> Stamp | None:
    """Return the stamp of a file; None where there is none, which whoever reads it will say."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


_CURRENT: ContextVar[KnownPhotos | None] = ContextVar("known_photos", default=None)


def known() -> KnownPhotos:
    """Return the photos that are known where this is called; nothing is known outside of `remembered`."""
    return _CURRENT.get() or KnownPhotos({})


@contextmanager
def remembered(folder: Path, *, verify: bool) -> Iterator[None]:
    """Look at photos in the block with the memory of a folder, and write there what was new.

    Args:
        folder: of a dataset's runs.
        verify: every photo is read again, whatever its stamp.
    """
    path = folder / FILE
    current = KnownPhotos({} if verify else _kept(path))
    token = _CURRENT.set(current)
    try:
        yield
    finally:
        _CURRENT.reset(token)
    if (table := current.table()) is not None:
        write_table(path, table)


def _kept(path: Path) -> dict[str, tuple[Stamp, Content]]:
    """Return the rows of a table of known photos; none where it is not there or damaged."""
    if not path.exists():
        return {}
    try:
        rows = read_table(path).itertuples(index=False, name=None)
    except UserError as error:
        say(f"warning: {str(error).partition('; delete it')[0]}; all photos are read again")
        return {}
    return {place: ((size, changed, inode), Content(*content)) for place, size, changed, inode, *content in rows}
