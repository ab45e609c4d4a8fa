"""The folder of a run (or of a dataset's references): shards, atomic writes, locks, resume.

    <folder>/run.json                    spec, identities, provenance
    <folder>/samples/<key>/<index>.png   the samples
    <folder>/tables/<table>/00000.parquet, 00001.parquet, …
    <folder>/tables/<table>/.parts/00001/00000.parquet, …   committed batches of a shard that is not whole yet
    <folder>/scores/, <folder>/report/

Everything is written under a temporary name in the same folder, flushed to the disk and renamed, so that at any instant
a file is whole or absent. A shard or a batch that exists is never made again.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench import processes
from bench.errors import UserError
from bench.locks import held
from bench.processes import Process


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader (or a crash) sees the old one or the whole new one.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(path)
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _disk_error(path, error) from error


def _disk_error(path: Path, error: OSError) -> UserError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"the disk of {path.parent} is full; free some space and run the same command again")
    return UserError(f"cannot write {path}: {error.strerror}")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, keys in the order given, one line a field."""
    write_atomic(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file of ours.

    Raises:
        UserError: it is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}") from error


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Write a data frame as Parquet, atomically; the same frame gives the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), sink, compression="zstd")
    write_atomic(path, sink.getvalue().to_pybytes())


def read_table(path: Path) -> pd.DataFrame:
    """Read a Parquet table of ours.

    Raises:
        UserError: it is missing or damaged.
    """
    import pyarrow as pa

    try:
        return pd.read_parquet(path)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"cannot read {path}: {error}; delete it and run the same command again") from error


@dataclass(frozen=True)
class ShardTable:
    """One table of a run folder, in numbered shards.

    Attributes:
        folder: holds one Parquet file per committed shard.
    """

    folder: Path

    def path(self, shard: int) -> Path:
        """Return the file of a shard."""
        return self.folder / f"{shard:05d}.parquet"

    def has(self, shard: int) -> bool:
        """Return whether a shard is committed."""
        return self.path(shard).exists()

    def write(self, shard: int, frame: pd.DataFrame) -> None:
        """Commit a shard and drop the batches that it was made of."""
        write_table(self.path(shard), frame)
        shutil.rmtree(self._batches(shard), ignore_errors=True)
        with contextlib.suppress(OSError):
            # Succeeds once no shard is unfinished.
            self._batches(shard).parent.rmdir()

    def read_shard(self, shard: int) -> pd.DataFrame:
        """Return the rows of one shard."""
        return read_table(self.path(shard))

    def read(self, shards: int) -> pd.DataFrame:
        """Return the rows of shards 0 to `shards` - 1, in this order.

        Raises:
            UserError: one is missing.
        """
        missing = [s for s in range(shards) if not self.has(s)]
        if missing:
            raise UserError(f"{self.folder} lacks {len(missing)} of {shards} shards; run the stage that makes it again")
        return pd.concat([self.read_shard(s) for s in range(shards)], ignore_index=True)

    def _batches(self, shard: int) -> Path:
        return self.folder / ".parts" / f"{shard:05d}"

    def batch(self, shard: int, number: int, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """Return the rows of a batch of an unfinished shard: read where it is committed, else made and committed.

        Args:
            shard: number of the shard.
            number: of the batch in the shard.
            make: makes the rows.
        """
        path = self._batches(shard) / f"{number:05d}.parquet"
        if not path.exists():
            write_table(path, make())
        return read_table(path)

    def keep_batch(self, shard: int, number: int, frame: pd.DataFrame) -> None:
        """Commit the rows of a batch of an unfinished shard as they are."""
        write_table(self._batches(shard) / f"{number:05d}.parquet", frame)


def shard_table(folder: Path, name: str) -> ShardTable:
    """Return the table `name` of a run folder."""
    return ShardTable(folder / "tables" / name)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; wait for another one that holds it, and name it on stderr.

    The lock is the operating system's and ends with the process, however it ends (`bench.locks`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder):
        yield


def sweep(folder: Path) -> None:
    """Delete what dead processes left half written; call it while the folder is locked.

    Others may be at work: what a living process of this machine writes stays, and what one of another machine wrote in
    the last hour.
    """
    for path in folder.rglob(f"{_TEMPORARY}*"):
        if _is_left_over(path):
            path.unlink(missing_ok=True)


_TEMPORARY = ".tmp-"
_OLD = 3600
"""Seconds after which a temporary file of another machine counts as left over."""


def _temporary(path: Path) -> Path:
    """Return a name next to a file that no other process or thread uses, and that says whose it is."""
    me = processes.this()
    return path.parent / f"{_TEMPORARY}{me.host}~{me.pid}~{me.start}~{threading.get_ident()}~{path.name}"[:200]


def _is_left_over(path: Path) -> bool:
    host, _, rest = path.name.removeprefix(_TEMPORARY).partition("~")
    numbers = rest.split("~")[:2]
    if len(numbers) < 2 or not all(number.isdecimal() for number in numbers):
        # An older version's, which did not say whose it is.
        return True
    is_dead = Process(host, *map(int, numbers)).is_dead()
    return _age(path) > _OLD if is_dead is None else is_dead


def _age(path: Path) -> float:
    """Return the seconds since a file was written; 0 where it has just gone."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
