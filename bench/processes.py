"""Which process wrote something, and whether it still lives: for locks and temporary files on disks that many share."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process of some machine.

    Attributes:
        host: name of the machine.
        pid: its number.
        start: when it started, in the kernel's ticks, so that a later process of the same number is another; 0 where
            the system does not say.
    """

    host: str
    pid: int
    start: int

    @property
    def name(self) -> str:
        """How a file's or a folder's name says whose it is."""
        return f"{self.host}~{self.pid}~{self.start}"

    def is_dead(self) -> bool | None:
        """Return whether the process has ended; None where it is of another machine, which nobody can ask."""
        if self.host != socket.gethostname():
            return None
        return not _exists(self.pid) or started(self.pid) != self.start


@lru_cache(maxsize=1)
def _here(pid: int) -> Process:
    return Process(socket.gethostname(), pid, started(pid))


def this() -> Process:
    """Return this process."""
    return _here(os.getpid())


def named(text: str) -> Process | None:
    """Return the process whose name a text begins with; None where it begins with none.

    >>> named("node1~42~1234~table.parquet")
    Process(host='node1', pid=42, start=1234)
    >>> named("table.parquet") is None
    True
    """
    host, *numbers = text.split("~")[:3]
    if len(numbers) < 2 or not all(number.isascii() and number.isdecimal() for number in numbers):
        return None
    return Process(host, *map(int, numbers))


def started(pid: int) -> int:
    """Return when a process of this machine started, in the kernel's ticks; 0 where the system does not say."""
    try:
        # The name of the program, in brackets, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return int(fields[19])
    except (OSError, IndexError, ValueError):
        return 0


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
