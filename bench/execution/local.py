"""Shards of other work than a run's stages, on this machine: in this process, or in several that each load once.

A process gets its set-up pickled. Engines need the folder of a run to rebuild it from, and this work has none.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import wait
from typing import Any

from bench.console import progress
from bench.errors import UserError, WorkFailedError
from bench.execution.shards import in_order
from bench.execution.work import Advance, Setup, Work, begun_ahead, ignore, prepare_process
from bench.spec import Execution


def run_shards(setup: Setup, shards: Sequence[int], sizes: Sequence[int], execution: Execution, what: str) -> None:
    """Run `shards`; which process runs which, and in which order, changes nothing in what they write.

    Args:
        setup: see `Setup`.
        shards: numbers of the shards to run.
        sizes: images in each shard, by shard number, for the progress bar.
        execution: workers, threads and order.
        what: the bar's label.

    Raises:
        UserError: `execution` asks for another engine than this machine.
    """
    if execution.engine != "local":
        raise UserError(f"execution={execution.engine} makes the stages of runs; this work takes execution=local")
    ordered = in_order(shards, execution.order)
    if not ordered:
        return
    bar = progress(sum(sizes[s] for s in ordered), what)
    try:
        if execution.workers <= 1 or len(ordered) == 1:
            prepare_process(execution.threads)
            with closing(setup()) as work:
                for shard, begun in _begun(work, ordered, bar.update):
                    work.finish(shard, begun, bar.update)
        else:
            _in_processes(setup, ordered, sizes, execution, bar.update)
    finally:
        bar.close()


@contextmanager
def closing(work: Work) -> Iterator[Work]:
    """Close the work at the end, however it ends."""
    try:
        yield work
    finally:
        if work.close is not None:
            work.close()


def _begun(work: Work, shards: Sequence[int], advance: Advance) -> Iterator[tuple[int, Any]]:
    """Yield each shard with what `begin` gave; the next one is begun while the caller finishes this one."""
    begin = work.begin
    if begin is None:
        yield from ((shard, None) for shard in shards)
        return
    for shard, begun in begun_ahead(begin, shards, advance):
        yield shard, begun.result()


def _in_processes(setup: Setup, shards: list[int], sizes: Sequence[int], execution: Execution, done: Advance) -> None:
    pool = ProcessPoolExecutor(
        min(execution.workers, len(shards)),
        mp_context=get_context("spawn"),
        initializer=_enter,
        initargs=(setup, execution.threads),
    )
    with pool:
        futures = {pool.submit(_one, shard): shard for shard in shards}
        try:
            for future in as_completed(futures):
                future.result()
                done(sizes[futures[future]])
        except BrokenProcessPool as error:
            raise WorkFailedError(_KILLED) from error
        except Exception:
            pool.shutdown(cancel_futures=True)
            raise
        except BaseException:
            # Interrupted or terminated: nobody waits for shards that are half done.
            for worker in active_children():
                worker.terminate()
            raise


_KILLED = (
    "a worker process was killed, for example because the memory was full; the same command goes on where this one "
    "stopped (fewer execution.workers need less memory)"
)


_WORK: list[Work | Exception] = []


def _enter(setup: Setup, threads: int) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGTERM, _leave)
    prepare_process(threads)
    try:
        work = setup()
    # Raised here it would break the pool, and the parent would learn only that.
    except Exception as error:  # noqa: BLE001
        _WORK.append(error)
        return
    if work.close is not None:
        atexit.register(work.close)
    _WORK.append(work)


def _end_with_parent() -> None:
    """End this worker when its parent ends: it must not go on writing."""
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    _leave(None, None)


def _leave(signum: int | None, frame: object) -> None:
    """End this worker now, and what its work holds with it: a program, a folder."""
    for work in _WORK:
        if isinstance(work, Work) and work.close is not None:
            work.close()
    os._exit(1 if signum is None else 128 + signum)


def _one(shard: int) -> None:
    [work] = _WORK
    if isinstance(work, Exception):
        raise work
    for _, begun in _begun(work, [shard], ignore):
        work.finish(shard, begun, ignore)
