"""The one loop behind all engines: start what is missing, read from the disk what was made, start the rest again."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.console import progress, say
from bench.errors import UserError, WorkFailedError
from bench.execution.engine import Engine, split
from bench.execution.notes import Kind, Note, Notes
from bench.execution.work import Task
from bench.spec import Execution

SHOWN = 5
"""Failed shards that a message names."""
LOOKS = 1.0
"""Seconds between two looks at the disk, for the progress bar."""
_NO_PROCESS = Note(Kind.BEGUN, "no process worked on it", host="")


def run_shards(task: Task, engine: Engine, execution: Execution) -> None:
    """Make the shards of a stage that are not whole; where and in which order changes nothing in them.

    Up to `execution.attempts` times, what is missing is split anew. Shards that failed go last, and each whose process
    ended gets a process of its own, so that it costs no other. Nothing is tried again where an attempt made no shard
    and every shard failed for the same reason, which is an exception.

    Raises:
        UserError: every missing shard failed by a mistake that the user can fix.
        WorkFailedError: some shards failed in every attempt.
    """
    notes = Notes.of(task.stage)
    notes.forget()
    missing = in_order(task.missing(), execution.order)
    for attempt in range(1, execution.attempts + 1):
        if not missing:
            break
        found = {shard: notes.read(shard) for shard in missing}
        alone = {shard for shard, note in found.items() if note is not None and note.ended_process}
        engine.attempt(task.stage, split(_suspects_last(found), alone, execution.workers))
        left = in_order(task.missing(), execution.order)
        reasons = {shard: notes.read(shard) or _NO_PROCESS for shard in left}
        if len(left) == len(missing) and _is_hopeless(list(reasons.values())):
            break
        if left and attempt < execution.attempts:
            say(f"{task.stage.name}: {_described(task, reasons)}; attempt {attempt + 1} of {execution.attempts}")
        missing = left
    if missing:
        raise _failure(task, {shard: notes.read(shard) or _NO_PROCESS for shard in missing})
    notes.forget()


def in_order(shards: Sequence[int], order: str) -> list[int]:
    """Return the shards in the order of the list, reversed, or shuffled (with a fixed seed)."""
    ordered = sorted(shards, reverse=order == "reversed")
    if order == "shuffled":
        random.Random(0).shuffle(ordered)
    return ordered


def _suspects_last(found: dict[int, Note | None]) -> list[int]:
    return sorted(found, key=lambda shard: found[shard] is not None)


def _is_hopeless(reasons: Sequence[Note]) -> bool:
    """Return whether every shard failed by one and the same exception."""
    return len({note.reason for note in reasons}) == 1 and reasons[0].kind is not Kind.BEGUN


def _failure(task: Task, reasons: dict[int, Note]) -> Exception:
    notes = list(reasons.values())
    if all(note.kind is Kind.USER for note in notes) or (_is_hopeless(notes) and len(notes) == len(task.sizes)):
        return _whole_failure(task, notes[0])
    of_all = f"{len(reasons)} of {len(task.sizes)} shards failed in every attempt"
    return WorkFailedError(
        f"{task.stage.name}: {of_all}: {_described(task, reasons)}; all others are whole; logs: {task.stage.notes}; "
        "the same command tries them again"
    )


def _whole_failure(task: Task, note: Note) -> Exception:
    if note.kind is Kind.USER:
        return UserError(note.reason)
    return WorkFailedError(
        f"{task.stage.name}: every shard failed on {note.host}: {note.reason}; logs: {task.stage.notes}"
    )


def _described(task: Task, reasons: dict[int, Note]) -> str:
    """Return the first few shards with their items and reasons, on one line."""
    texts = [f"shard {shard} ({_items(task, shard)}): {_reason(note)}" for shard, note in reasons.items()]
    more = [f"and {len(texts) - SHOWN} more"] if len(texts) > SHOWN else []
    return "; ".join(texts[:SHOWN] + more)


def _items(task: Task, shard: int) -> str:
    names = list(task.items(shard))
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} to {names[-1]}"


def _reason(note: Note) -> str:
    return note.reason if note.kind is Kind.BEGUN else f"{note.reason} (on {note.host})"


@contextmanager
def watched(task: Task) -> Iterator[None]:
    """Show the progress of other processes, read from the disk, while the block runs."""
    done = sum(task.sizes) - _images(task)
    bar = progress(_images(task), task.stage.name)
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(LOOKS):
            bar.update(sum(task.sizes) - _images(task) - done - bar.n)

    thread = threading.Thread(target=watch, daemon=True)
    if not bar.disable:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        bar.close()


def _images(task: Task) -> int:
    """Return the number of images in shards that are not whole."""
    return sum(task.sizes[shard] for shard in task.missing())
