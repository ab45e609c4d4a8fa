"""Processes of this machine."""

from __future__ import annotations

import subprocess
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from bench.execution.engine import Command, Stage

GRACE = 10
"""Seconds that a process has to let go of what it holds."""
PAUSE = 0.02
"""Seconds between two looks at the processes."""


@dataclass(frozen=True)
class Local:
    """The engine of several workers of one machine: a process for each part.

    Attributes:
        places: processes at once.
        command: what a process is started with; it ends when its standard input does, so with this process.
    """

    places: int
    command: Command

    def attempt(self, stage: Stage, parts: Sequence[Sequence[int]]) -> None:
        """Work on each part in a process; what one writes goes to a log next to the stage's notes."""
        stage.notes.mkdir(parents=True, exist_ok=True)
        waiting = deque(enumerate(parts, 1))
        running: list[subprocess.Popen[bytes]] = []
        try:
            while waiting or running:
                while waiting and len(running) < self.places:
                    number, part = waiting.popleft()
                    with (stage.notes / f"part-{number}.log").open("ab") as log:
                        running.append(start(self.command(stage, part), log))
                time.sleep(PAUSE)
                running = [child for child in running if child.poll() is None]
        finally:
            for child in running:
                end(child)


def start(command: Sequence[str], log: BinaryIO) -> subprocess.Popen[bytes]:
    """Start a process that ends when this one does."""
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)


def end(child: subprocess.Popen[bytes]) -> None:
    """End a process as the end of this one would; by force where it does not let go of what it holds."""
    assert child.stdin is not None
    child.stdin.close()
    try:
        child.wait(GRACE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
