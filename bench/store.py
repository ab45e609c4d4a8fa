"""The folder of a run (or of a dataset's references): shards, atomic writes, locks, resume.

    <folder>/run.json, run.json.sha256   spec, identities, provenance, and the checksum by which it is read
    <folder>/samples/…                   the samples (`bench.sample_files`)
    <folder>/tables/<table>/00000.parquet, 00001.parquet, …
    <folder>/tables/<table>/00000.parquet.sha256, …         the checksums by which they are read
    <folder>/tables/<table>/.parts/00001/00000.parquet, …   committed batches of a shard that is not whole yet
    <folder>/scores/, <folder>/report/

Everything is written under a temporary name in the same folder, flushed to the disk and renamed, so that at any instant
a file is whole or absent. A shard or a batch that exists and is what was written is never made again.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bench import processes
from bench.errors import UserError, one_line
from bench.hashing import sha256_bytes
from bench.locks import held
from bench.threads import computed

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

T = TypeVar("T")


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


def write_record(path: Path, value: Any) -> None:
    """Write JSON as `write_json` does, with a checksum by which it is read."""
    _write_signed(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file of ours, if it is what was written; one without a checksum is read as it is.

    Raises:
        UserError: it is missing, not JSON, or not what was written.
    """
    try:
        return json.loads(_read_signed(path).decode("utf-8"))
    # Deeply nested brackets end Python's reader.
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {path}: {one_line(error)}") from error


def read_record(path: Path, needed: Mapping[str, type | tuple[type, ...]]) -> dict[str, Any]:
    """Read a JSON file that holds an object with certain fields.

    Args:
        path: of the file.
        needed: name of a field -> its type.

    Raises:
        UserError: it is missing, not JSON, something else than an object, or lacks a field.
    """
    try:
        record = read_json(path)
    except UserError as error:
        raise UserError(f"{error}; {ANEW}") from error
    if not isinstance(record, dict):
        raise UserError(f"{path} is not the record of a run but a {type(record).__name__}; {ANEW}")
    wrong = [name for name, kind in needed.items() if not isinstance(record.get(name), kind)]
    if wrong:
        raise UserError(f"{path} is not the record of a run (no valid {', '.join(wrong)}); {ANEW}")
    return record


ANEW = "execution.on_existing=always makes everything again"


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Write a data frame as Parquet, atomically, with its checksum; the same frame gives the same bytes."""
    import pyarrow as pa

    write_arrow(path, pa.Table.from_pandas(frame, preserve_index=False))


def write_arrow(path: Path, table: pa.Table) -> None:
    """Write an Arrow table as `write_table` writes a data frame."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    # A dictionary of features makes a table half as large again, and writing it takes five times as long.
    leaves = [leaf for field in table.schema for leaf in _leaves(field.name, field.type)]
    others = [path for path, kind in leaves if not (path.endswith(_ITEM) and pa.types.is_floating(kind))]
    pq.write_table(table, sink, compression="zstd", use_dictionary=others)
    _write_signed(path, sink.getvalue().to_pybytes())


_ITEM = ".list.element"
"""What Parquet adds to the name of a column of lists for the values in them."""


def _leaves(path: str, kind: pa.DataType) -> Iterator[tuple[str, pa.DataType]]:
    """Yield Parquet's names of the values in a column, each with its type."""
    import pyarrow as pa

    if pa.types.is_list(kind):
        yield from _leaves(f"{path}{_ITEM}", kind.value_type)
    elif pa.types.is_struct(kind):
        for field in kind:
            yield from _leaves(f"{path}.{field.name}", field.type)
    else:
        yield path, kind


def _write_signed(path: Path, data: bytes) -> None:
    # The checksum of the file that is replaced stays valid: a kill between the two writes leaves that file.
    replaced = [sha256_bytes(path.read_bytes())] if path.exists() else []
    valid = [sha256_bytes(data), *(sha for sha in replaced if sha in (_checksums(path) or ()))]
    write_atomic(checksum_file(path), "".join(f"{sha}\n" for sha in valid).encode())
    write_atomic(path, data)


def read_table(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a Parquet table of ours, if it is what was written; one without a checksum is read as it is.

    Args:
        path: of the table.
        columns: to read, without those that it does not have; None: all.

    Raises:
        UserError: it is missing or damaged.
    """
    return _read(path, lambda data: _some(data, columns).to_pandas())


def read_arrow(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table as `read_table` does, without making objects of the cells."""
    return _read(path, lambda data: _some(data, columns))


def _read(path: Path, parse: Callable[[bytes], T]) -> T:
    import pyarrow as pa

    try:
        return parse(_read_signed(path))
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise UserError(f"cannot read {path}: {one_line(error)}; delete it and run the same command again") from error


def _some(data: bytes, columns: Sequence[str] | None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Threads cost more than they save with tables of one shard.
    found = pq.ParquetFile(pa.BufferReader(data)).read(columns, use_threads=False)
    # Parquet takes "a.b" for the part b of a column a, too.
    return found if columns is None else found.select([name for name in columns if name in found.column_names])


def checksum_file(path: Path) -> Path:
    """Return the file that holds the checksum of a table or a record."""
    return path.with_name(f"{path.name}.sha256")


def _read_signed(path: Path) -> bytes:
    data = path.read_bytes()
    known = _checksums(path)
    if known is not None and sha256_bytes(data) not in known:
        raise ValueError("it is not what was written there")
    return data


def _checksums(path: Path) -> list[str] | None:
    """Return the sha256 that a file may have; None where an older version wrote it."""
    try:
        return checksum_file(path).read_bytes().decode("ascii", "replace").split()
    except FileNotFoundError:
        return None


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

    def read(self, shards: int | range, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the rows of several shards, in this order.

        Args:
            shards: their number, from the first; or which of them.
            columns: to read, without those that a shard does not have; None: all.

        Raises:
            UserError: one is missing.
        """
        import pandas as pd
        import pyarrow as pa

        chosen = range(shards) if isinstance(shards, int) else shards
        self.check(chosen)
        parts = computed(lambda shard: read_arrow(self.path(shard), columns), chosen)
        # Where shards differ, for example because one has nothing but gaps in a column, pandas joins them.
        alike = groupby(parts, key=lambda part: (part.schema, part.schema.metadata))
        return pd.concat([pa.concat_tables(group).to_pandas() for _, group in alike], ignore_index=True)

    def check(self, shards: range) -> None:
        """Check that shards are there.

        Raises:
            UserError: one is missing.
        """
        missing = [s for s in shards if not self.has(s)]
        if missing:
            raise UserError(
                f"{self.folder} lacks {len(missing)} of {len(shards)} shards; run the stage that makes it again"
            )

    def _batches(self, shard: int) -> Path:
        return self.folder / ".parts" / f"{shard:05d}"

    def has_batch(self, shard: int, number: int, rows: Sequence[int]) -> bool:
        """Return whether a batch of an unfinished shard is committed; one of other rows (another size) is dropped.

        Args:
            shard: number of the shard.
            number: of the batch in the shard.
            rows: what its column `row` must hold.
        """
        path = self.batch(shard, number)
        if path.exists() and list(read_table(path, ["row"])["row"]) != list(rows):
            path.unlink()
        return path.exists()

    def read_batch(self, shard: int, number: int) -> pd.DataFrame:
        """Return the rows of a committed batch of an unfinished shard."""
        return read_table(self.batch(shard, number))

    def keep_batch(self, shard: int, number: int, frame: pd.DataFrame) -> None:
        """Commit the rows of a batch of an unfinished shard as they are."""
        write_table(self.batch(shard, number), frame)

    def batch(self, shard: int, number: int) -> Path:
        """Return the file of a batch of an unfinished shard; what lies next to it goes with it."""
        return self._batches(shard) / f"{number:05d}.parquet"


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
    return path.parent / f"{_TEMPORARY}{processes.this().name}~{threading.get_ident()}~{path.name}"[:200]


def _is_left_over(path: Path) -> bool:
    owner = processes.named(path.name.removeprefix(_TEMPORARY))
    # An older version's does not say whose it is.
    is_dead = True if owner is None else owner.is_dead()
    return _age(path) > _OLD if is_dead is None else is_dead


def _age(path: Path) -> float:
    """Return the seconds since a file was written; 0 where it has just gone."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
