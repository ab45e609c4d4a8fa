"""Drop samples that failed or were damaged, so that the generate stage makes them again and nothing else.

What was made of a shard's samples (faces, features, scores) goes first, then the shard itself; its good batches are
kept as those of a shard that is not whole yet. A killed retry leaves either the old shard or an unfinished one.
"""

from __future__ import annotations

import pandas as pd

from bench.console import say
from bench.sample_files import gathered, tar_file
from bench.stages.generate import TIMING_COLUMNS, batch_size, batch_tar
from bench.stages.plan import Job
from bench.status import SampleStatus
from bench.store import ShardTable, shard_table

SAMPLES = "samples"
TIMINGS = "timings"


def forget_failures(job: Job) -> None:
    """Drop every batch in which the method failed to make a sample."""
    samples = shard_table(job.folder, SAMPLES)
    failed = [shard for shard in range(job.shards) if samples.has(shard) and _failures(samples.read_shard(shard)).any()]
    number = sum(int(_failures(samples.read_shard(shard)).sum()) for shard in failed)
    for shard in failed:
        forget(job, shard, _failures(samples.read_shard(shard)))
    say(f"execution.retry=errors: {number} failed samples are made again")


def _failures(rows: pd.DataFrame) -> pd.Series:
    return rows["status"] == SampleStatus.GENERATION_ERROR


def forget(job: Job, shard: int, dropped: pd.Series) -> None:
    """Drop every batch of a shard with a sample that is to be made again.

    Args:
        job: of the run.
        shard: number of the shard, which is whole.
        dropped: which of its samples, in their order.
    """
    samples = shard_table(job.folder, SAMPLES)
    rows = _with_timings(job, samples.read_shard(shard), shard)
    _drop_derived(job, shard)
    size = batch_size(job)
    for number, start in enumerate(range(0, len(rows), size)):
        batch = rows.iloc[start : start + size].reset_index(drop=True)
        if not dropped.iloc[start : start + size].any():
            # The shard's tar will be another one.
            tar = batch_tar(samples, shard, number)
            samples.keep_batch(shard, number, gathered(job.folder, batch, tar, job.keys))
    samples.path(shard).unlink()
    tar_file(job.folder, shard).unlink(missing_ok=True)


def _with_timings(job: Job, rows: pd.DataFrame, shard: int) -> pd.DataFrame:
    """Return samples with the columns of how they were made; unknown where that table was damaged."""
    timings = shard_table(job.folder, TIMINGS)
    if not timings.has(shard):
        return rows.assign(seconds=float("nan"), note="")
    return rows.merge(timings.read_shard(shard)[["row", *TIMING_COLUMNS]], on="row")


def _drop_derived(job: Job, shard: int) -> None:
    """Delete the rows of a shard in every table that was made from its samples."""
    tables = {path.parent for path in (job.folder / "tables").rglob("*.parquet") if ".parts" not in path.parts}
    for folder in tables - {job.folder / "tables" / SAMPLES}:
        ShardTable(folder).path(shard).unlink(missing_ok=True)
