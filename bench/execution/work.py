"""What one process does: it loads what the work needs once, and makes shards one after the other."""

from __future__ import annotations

import faulthandler
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.execution.engine import Stage
from bench.execution.faults import is_machine_fault
from bench.execution.notes import Kind, Note, Notes, note_of
from bench.memory import keep_freed
from bench.store import ShardTable
from bench.threads import pool

if TYPE_CHECKING:
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
"""Loads what the work needs, once in each process."""


@dataclass(frozen=True)
class Task:
    """A stage with what a process needs to make its shards.

    Attributes:
        stage: its names.
        setup: see `Setup`.
        tables: a shard is whole that all of them have.
        sizes: images in each shard.
        items: shard -> names of its items, for messages.
    """

    stage: Stage
    setup: Setup
    tables: Sequence[ShardTable]
    sizes: Sequence[int]
    items: Callable[[int], Sequence[str]]

    def is_whole(self, shard: int) -> bool:
        """Return whether a shard is made."""
        return all(table.has(shard) for table in self.tables)

    def missing(self) -> list[int]:
        """Return the shards that are not whole, in order."""
        for table in self.tables:
            # A network disk remembers for a while that a file was not there, until its folder is listed.
            if table.folder.is_dir():
                os.listdir(table.folder)
        return [shard for shard in range(len(self.sizes)) if not self.is_whole(shard)]


def ignore(count: int) -> None:
    """Ignore progress: whoever started the process reads it from the disk."""


def work(task: Task, part: Sequence[int], minutes: float | None = None, advance: Advance = ignore) -> None:
    """Make those shards of a part that are not whole; each that is not made keeps a note.

    An exception costs its own shard alone.

    Args:
        task: the stage.
        part: shards by number, in the order in which they are made.
        minutes: the process ends where setting up, or a shard, takes longer; None: it may take any time.
        advance: takes progress.

    Raises:
        Exception: what ended the work as a whole: setting up failed, or a fault of the machine.
    """
    todo = [shard for shard in part if not task.is_whole(shard)]
    if not todo:
        return
    notes = Notes.of(task.stage)
    limit = partial(_limit, minutes)
    limit()
    try:
        with _closing(_set_up(task, todo, notes)) as loaded:
            for shard, begun in _begun(loaded, todo, notes, minutes, advance):
                limit()
                _finish(loaded, shard, begun, notes, advance)
    finally:
        if minutes is not None:
            faulthandler.cancel_dump_traceback_later()


def _limit(minutes: float | None) -> None:
    """End this process, however it hangs, unless the limit is set anew in time."""
    if minutes is not None:
        faulthandler.dump_traceback_later(minutes * 60, exit=True)


def _set_up(task: Task, todo: Sequence[int], notes: Notes) -> Work:
    try:
        return task.setup()
    except Exception as error:
        for shard in todo:
            notes.write(shard, note_of(error))
        raise


@contextmanager
def _closing(loaded: Work) -> Iterator[Work]:
    """Close the work at the end, however it ends."""
    _LOADED.append(loaded)
    try:
        yield loaded
    finally:
        let_go()


_LOADED: list[Work] = []
"""What this process has loaded and not closed yet."""


def let_go() -> None:
    """Close what this process has loaded, for example because it must end now."""
    while _LOADED:
        loaded = _LOADED.pop()
        if loaded.close is not None:
            loaded.close()


def _begun(
    loaded: Work, shards: Sequence[int], notes: Notes, minutes: float | None, advance: Advance
) -> Iterator[tuple[int, Future[Any]]]:
    """Yield each shard with what `begin` will have given, and keep a note on each that is begun."""

    def begin(shard: int, step: Advance) -> Any:
        notes.write(shard, _in_progress(minutes))
        return None if loaded.begin is None else loaded.begin(shard, step)

    yield from begun_ahead(begin, shards, advance)


class _NobodyWaits(Exception):
    """The caller has ended: what is being begun ends, too."""


def begun_ahead(
    begin: Callable[[int, Advance], Any], shards: Sequence[int], advance: Advance
) -> Iterator[tuple[int, Future[Any]]]:
    """Yield each shard with what `begin` will have given; in a thread, the next one is begun when this one is.

    Where the caller ends early, for example by SIGTERM, what is being begun ends when it next reports progress.
    """
    has_ended = threading.Event()

    def step(count: int) -> None:
        if has_ended.is_set():
            raise _NobodyWaits
        advance(count)

    with pool(1) as thread:
        try:
            ahead = [thread.submit(begin, shard, step) for shard in shards[:1]]
            for number, shard in enumerate(shards, 1):
                ahead += [thread.submit(begin, following, step) for following in shards[number : number + 1]]
                yield shard, ahead.pop(0)
        finally:
            has_ended.set()


def _in_progress(minutes: float | None) -> Note:
    host = socket.gethostname()
    too_long = "" if minutes is None else f", or a shard took longer than {minutes:g} minutes"
    return Note(Kind.BEGUN, f"process {os.getpid()} on {host} ended without a word{too_long}", host)


def _finish(loaded: Work, shard: int, begun: Future[Any], notes: Notes, advance: Advance) -> None:
    try:
        loaded.finish(shard, begun.result(), advance)
    # Whatever one shard raises, the others can be made.
    except Exception as error:
        notes.write(shard, note_of(error))
        if is_machine_fault(error):
            raise
    else:
        notes.remove(shard)


def share_of_cores(execution: Execution) -> int:
    """Return how many threads this process has for what is exact in any number of them: decoding, warping, encoding.

    The workers of one machine share its cores; a scheduler gives each process its own. Two at least, because a thread
    that waits for the disk leaves a core idle.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(2, cores // execution.workers if execution.engine == "local" else cores)


def prepare_process(threads: int) -> None:
    """Prepare this process to run networks: with so many threads of torch, loaded or not, and memory that it keeps.

    Sums depend on the number of threads in the last digits.
    """
    keep_freed()
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
