"""What lies in a folder is what was made there: checksums of tables, rows of the plan, sha256 of samples.

What does not match is named. A damaged table or sample is dropped, and the stage that made it makes it again; a table
of other rows than the plan's stops the run, because nothing says which of the two is meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.console import say
from bench.errors import UserError
from bench.sample_files import changed, check_tar, tar_file
from bench.stages.plan import ImageList, Job
from bench.stages.retry import SAMPLES, forget
from bench.store import ANEW, checksum_file, read_arrow, shard_table

if TYPE_CHECKING:
    import pyarrow as pa

TABLES = "tables"
_KEYS = ("row", "item")


def check_tables(images: ImageList) -> None:
    """Drop the damaged tables of a folder, and check that the others hold the rows of the plan.

    Args:
        images: of the folder; of a run, its planned samples.

    Raises:
        UserError: a table holds other rows than the plan says, or cannot be deleted.
    """
    paths = sorted((images.folder / TABLES).rglob("*.parquet"))
    unsigned = [path for path in paths if not checksum_file(path).exists()]
    if unsigned:
        _say_unsigned(images.folder, len(unsigned))
    planned = [images.frame[name].tolist() for name in _KEYS]
    for path in paths:
        keys = _keys(path)
        # A batch of a shard that is not whole yet is checked when it is read.
        if keys is not None and path.parent.parent.name != ".parts":
            _check_rows(images, path, keys, planned)


@cache
def _say_unsigned(folder: Path, count: int) -> None:
    """Say once in a process that tables are believed as they are."""
    say(f"{folder}: {count} tables are from an older version, without a checksum to be read by")


def _keys(path: Path) -> pa.Table | None:
    """Return the columns of a table that say which samples it is of; None where it is damaged and was dropped."""
    try:
        return read_arrow(path, _KEYS)
    except UserError as error:
        path.unlink()
        say(f"warning: {str(error).partition('; delete it')[0]}; it was dropped, and is made again")
        return None


def _check_rows(images: ImageList, path: Path, keys: pa.Table, planned: Sequence[list[object]]) -> None:
    if "row" not in keys.column_names:
        return
    number = int(path.stem)
    mine = slice(*images.bounds[number : number + 2]) if number < images.shards else slice(0)
    expected = [column[mine] for column in planned]
    # A table of pairs has several rows of a sample; one thread keeps the order.
    once = keys if len(keys) == len(expected[0]) else keys.group_by(list(_KEYS), use_threads=False).aggregate([])
    if [once[name].to_pylist() for name in _KEYS] != expected:
        raise UserError(f"{path} holds other rows than the plan (shards of another size?); {ANEW}")


def check_samples(job: Job) -> None:
    """Drop the samples whose images are gone or are not what was made; the generate stage makes them again."""
    samples = shard_table(job.folder, SAMPLES)
    for shard in range(job.shards):
        if not samples.has(shard):
            continue
        rows = samples.read_shard(shard)
        dropped = changed(job.folder, rows, "shard")
        if dropped.any():
            forget(job, shard, dropped)
        else:
            check_tar(job.folder, rows, tar_file(job.folder, shard), job.keys)


def check_folder(folder: Path, record: Path) -> None:
    """Check that a folder with tables has the record that says what they are of.

    Raises:
        UserError: it has none.
    """
    if not record.exists() and any((folder / TABLES).rglob("*.parquet")):
        raise UserError(f"{folder} holds tables and no {record.name}, so that nothing says what made them; {ANEW}")
