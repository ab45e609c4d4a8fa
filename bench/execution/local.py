"""Shards on this machine: in this process, or in several that each load the networks once."""

from __future__ import annotations

import atexit
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import wait
from typing import Any

from bench.console import progress
from bench.errors import WorkFailedError
from bench.spec import Execution

Advance = Callable[[int], object]
"""Takes the number of images that were done."""


@dataclass(frozen=True)
class Work:
    """How a shard is made.

    Attributes:
        finish: (shard, what `begin` gave, advance); makes the shard.
        begin: (shard, advance); what can be done beforehand, in a thread, while the shard before it is finished.
        close: lets go of what the work holds; called once, when a process has made its last shard.
    """

    finish: Callable[[int, Any, Advance], None]
    begin: Callable[[int, Advance], Any] | None = None
    close: Callable[[], None] | None = None


Setup = Callable[[], Work]
"""Loads what the work needs, once in each process; picklable."""


def run_shards(setup: Setup, shards: Sequence[int], sizes: Sequence[int], execution: Execution, what: str) -> None:
    """Run `shards`; which process runs which, and in which order, changes nothing in what they write.

    Args:
        setup: see `Setup`.
        shards: numbers of the shards to run.
        sizes: images in each shard, by shard number, for the progress bar.
        execution: workers, threads and order.
        what: the bar's label.
    """
    ordered = in_order(shards, execution.order)
    if not ordered:
        return
    bar = progress(sum(sizes[s] for s in ordered), what)
    try:
        if execution.workers <= 1 or len(ordered) == 1:
            limit_threads(execution.threads)
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
    if work.begin is None:
        yield from ((shard, None) for shard in shards)
        return
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(work.begin, shards[0], advance)
        for number, shard in enumerate(shards, 1):
            begun = ahead.result()
            if number < len(shards):
                ahead = pool.submit(work.begin, shards[number], advance)
            yield shard, begun


def in_order(shards: Sequence[int], order: str) -> list[int]:
    """Return the shards in the order of the list, reversed, or shuffled (with a fixed seed)."""
    ordered = sorted(shards, reverse=order == "reversed")
    if order == "shuffled":
        random.Random(0).shuffle(ordered)
    return ordered


def limit_threads(threads: int) -> None:
    """Fix the number of torch's threads in this process, loaded or not: sums depend on it in the last digits."""
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


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
    limit_threads(threads)
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
    for _, begun in _begun(work, [shard], _ignore):
        work.finish(shard, begun, _ignore)


def _ignore(count: int) -> None:
    """Ignore progress: in a worker, its parent reports it."""
