"""The lock of a folder: one process works on it at a time, wherever the disk may be mounted.

The kernel's lock (flock) ends with its process, however that ends. Some network disks do not have it: there, a file
that names its holder takes its place, and one that a dead process of this machine left behind is deleted. Some grant it
to everybody: then work is done twice, with the same results, and a message says so.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bench import processes
from bench.console import say
from bench.errors import UserError
from bench.processes import Process

LOCK = ".lock"
HOLDER = ".holder.json"
"""Names the process that has the kernel's lock."""
SOFT = ".soft-lock.json"
"""The lock itself, where the disk has none: names its holder."""
PAUSE = 0.5
"""Seconds between two looks at a lock that is a file."""
_WITHOUT = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder's lock; wait for another process that holds it, and name it on stderr.

    Raises:
        UserError: the disk's service for locks does not answer.
    """
    with (folder / LOCK).open("a") as file:
        if _has_kernel_lock(file, folder):
            with _named(folder):
                yield
            return
        say(f"the disk of {folder} has no flock: a file, {SOFT}, locks the folder instead")
        with _soft(folder):
            yield


def _has_kernel_lock(file: IO[str], folder: Path) -> bool:
    """Return whether this process has the kernel's lock, after waiting for it; False where the disk has none."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        holder = _read(folder / HOLDER)
        say(f"waiting for {_described(holder) if holder else 'another process'}, which works on {folder}")
        fcntl.flock(file, fcntl.LOCK_EX)
        return True
    except OSError as error:
        if error.errno in _WITHOUT:
            return False
        raise UserError(
            f"the disk of {folder} cannot be locked ({(error.strerror or '').lower()}): its service for locks does not "
            "answer; start it, or use another disk for out="
        ) from error


@contextmanager
def _named(folder: Path) -> Iterator[None]:
    """Name this process as the holder of the kernel's lock."""
    path = folder / HOLDER
    before = _read(path)
    if before is not None and not before.is_dead():
        doubt = "works on it, too" if before.is_dead() is False else "was killed, or works on it, too"
        say(
            f"{_described(before)} {doubt}: {folder} was locked by it. If it is at work, this disk grants its locks to "
            "everybody: the work is done twice, and the results stay the same"
        )
    path.write_text(json.dumps(vars(processes.this())), encoding="utf-8")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _soft(folder: Path) -> Iterator[None]:
    """Hold the file that takes the place of the kernel's lock."""
    path = folder / SOFT
    has_waited = False
    while not _create(path):
        holder = _read(path)
        if holder is not None and holder.is_dead():
            say(f"{_described(holder)} has ended and left {path}: it is taken away")
            path.unlink(missing_ok=True)
            continue
        if not has_waited:
            say(
                f"waiting for {_described(holder) if holder else 'another process'}, which works on {folder} "
                f"since {_age(path)}; if it has ended: rm '{path}'"
            )
            has_waited = True
        time.sleep(PAUSE)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _create(path: Path) -> bool:
    """Return whether this process has made a file that was not there."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(vars(processes.this()), file)
    return True


def _read(path: Path) -> Process | None:
    """Return the process that a file names; None where there is none, or it is half written."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Process(str(values["host"]), int(values["pid"]), int(values.get("start", 0)))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _described(process: Process) -> str:
    return f"process {process.pid} on {process.host}"


def _age(path: Path) -> str:
    """Return since when a file is there, as minutes."""
    try:
        return f"{(time.time() - path.stat().st_mtime) / 60:.0f} minutes"
    except OSError:
        return "just now"
