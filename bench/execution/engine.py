"""The seam between the shards of a run and what runs them.

An engine starts processes. What is done is what lies on the disk: no engine reports success, and nothing but names
travels to a process. Any scheduler that can start a command is an engine.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.errors import UserError

WORK = "work"
"""Folder in the folder of a run: logs of processes, and a note on each shard that is not whole."""


@dataclass(frozen=True)
class Stage:
    """The names of a piece of work, from which any process rebuilds it.

    Attributes:
        folder: of the run.
        name: of the piece of work (`bench.stages.tasks`).
    """

    folder: Path
    name: str

    @property
    def notes(self) -> Path:
        """Return the folder of logs and notes."""
        return self.folder / WORK / self.name


class Engine(Protocol):
    """Starts processes somewhere."""

    def attempt(self, stage: Stage, parts: Sequence[Sequence[int]]) -> None:
        """Work on each part once, in a process of its own; return when no process is left.

        Args:
            stage: of the run.
            parts: shards by number.

        Raises:
            UserError: no process could be started.
        """


Command = Callable[[Stage, Sequence[int]], list[str]]
"""(stage, part) -> what a process is started with."""


def command(stage: Stage, part: Sequence[int]) -> list[str]:
    """Return the command that makes a part of a stage."""
    return [sys.executable, "-m", "bench", "work", str(stage.folder.absolute()), stage.name, spans(part)]


def spans(shards: Sequence[int]) -> str:
    """Return numbers as text; consecutive ones as a span.

    >>> spans([0, 1, 2, 7, 5, 4])
    '0-2,7,5,4'
    """
    runs: list[list[int]] = []
    for shard in shards:
        if runs and shard == runs[-1][-1] + 1:
            runs[-1].append(shard)
        else:
            runs.append([shard])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def parse_part(text: str, shards: int) -> list[int]:
    """Return the shards that a text names.

    Args:
        text: "3/32" for the third of 32 parts, or numbers and spans as `spans` gives them.
        shards: number of all shards.

    Raises:
        UserError: it names none, or one that the stage does not have.

    >>> parse_part("2/3", 8), parse_part("0-2,7", 8)
    ([1, 4, 7], [0, 1, 2, 7])
    """
    if of_many := re.fullmatch(r"([0-9]+)/([0-9]+)", text):
        part, parts = int(of_many[1]), int(of_many[2])
        if not 1 <= part <= parts:
            raise UserError(f"part {text} does not exist: I/N goes from 1/{parts} to {parts}/{parts}")
        return list(range(part - 1, shards, parts))
    if not re.fullmatch(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*", text):
        raise UserError(f"{text!r} names no shards; allowed: a part such as 3/32, or numbers such as 0-7,12")
    named = [number for span in text.split(",") for number in _span(span)]
    return _checked(named, shards)


def _span(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def _checked(named: list[int], shards: int) -> list[int]:
    if unknown := [number for number in named if number >= shards]:
        raise UserError(f"shard {unknown[0]} does not exist; the stage has shards 0 to {shards - 1}")
    return named


def split(shards: Sequence[int], alone: Collection[int], workers: int) -> list[list[int]]:
    """Return shards in at most `workers` parts of equal size, then each of those that must be alone in its own.

    >>> split([0, 1, 2, 3, 4], {3}, 2)
    [[0, 2], [1, 4], [3]]
    """
    others = [shard for shard in shards if shard not in alone]
    parts = [others[start::workers] for start in range(min(workers, len(others)))]
    return parts + [[shard] for shard in shards if shard in alone]
