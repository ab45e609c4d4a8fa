"""Notes on shards that are not whole: which process works on one, or why it failed. A whole shard has none."""

from __future__ import annotations

import os
import shutil
import socket
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from bench.errors import UserError, users_error
from bench.execution.engine import Stage
from bench.execution.faults import is_machine_fault
from bench.store import read_json, write_json


class Kind(StrEnum):
    """How the work on a shard ended."""

    BEGUN = "begun"
    """It is in progress; or its process ended without a word."""
    USER = "user"
    """By a mistake that the user can fix."""
    MACHINE = "machine"
    """By the machine's fault."""
    ERROR = "error"
    """By any other exception."""


@dataclass(frozen=True)
class Note:
    """Why a shard is not whole.

    Attributes:
        kind: how the work on it ended.
        reason: one line.
        host: the machine that worked on it.
        pid: the process.
        traceback: of the exception, line by line.
    """

    kind: Kind
    reason: str
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    traceback: Sequence[str] = ()

    @property
    def ended_process(self) -> bool:
        """Return whether the shard's process ended with it, so that shards behind it were not made."""
        return self.kind in (Kind.BEGUN, Kind.MACHINE)


def note_of(error: Exception) -> Note:
    """Return the note on a shard whose work raised an error."""
    lines = [line.rstrip("\n") for line in traceback.format_exception(error)]
    mistake = users_error(error)
    reason = str(mistake) if mistake else " ".join(f"{type(error).__name__}: {error}".split())
    if is_machine_fault(error):
        return Note(Kind.MACHINE, reason, traceback=lines)
    return Note(Kind.USER, reason) if mistake else Note(Kind.ERROR, reason, traceback=lines)


@dataclass(frozen=True)
class Notes:
    """The notes on the shards of a stage.

    Attributes:
        folder: holds a file for each.
    """

    folder: Path

    @classmethod
    def of(cls, stage: Stage) -> Notes:
        """Return the notes of a stage."""
        return cls(stage.notes)

    def path(self, shard: int) -> Path:
        """Return the file of a shard's note."""
        return self.folder / f"{shard:05d}.json"

    def write(self, shard: int, note: Note) -> None:
        """Write the note on a shard."""
        write_json(self.path(shard), asdict(note))

    def read(self, shard: int) -> Note | None:
        """Return the note on a shard; None where there is none (or it was removed just now)."""
        if not self.path(shard).exists():
            return None
        try:
            values = read_json(self.path(shard))
        except UserError:
            return None
        return Note(**{**values, "kind": Kind(values["kind"])})

    def remove(self, shard: int) -> None:
        """Remove the note on a shard that is whole."""
        self.path(shard).unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove all notes and logs of the stage."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.parent.is_dir() and not any(self.folder.parent.iterdir()):
            self.folder.parent.rmdir()
