"""This process: no other one is started, and everything is loaded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.console import progress
from bench.execution.engine import Stage
from bench.execution.work import Task, prepare_process, work


@dataclass(frozen=True)
class Here:
    """The engine of one worker.

    A fault of the machine ends the process, and so the run, as it ends any worker.

    Attributes:
        task: the stage, as this process has it.
        threads: of torch.
    """

    task: Task
    threads: int

    def attempt(self, stage: Stage, parts: Sequence[Sequence[int]]) -> None:
        """Work on each part, one after the other."""
        prepare_process(self.threads)
        bar = progress(sum(self.task.sizes[shard] for part in parts for shard in part), stage.name)
        try:
            for part in parts:
                work(self.task, part, advance=bar.update)
        finally:
            bar.close()
