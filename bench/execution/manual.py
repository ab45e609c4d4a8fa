"""Any other scheduler: the user starts the processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from bench.errors import UserError
from bench.execution.engine import Stage


@dataclass(frozen=True)
class Manual:
    """The engine that starts nothing: it says what to start.

    Attributes:
        workers: parts that the stage is cut into.
    """

    workers: int

    def attempt(self, stage: Stage, parts: Sequence[Sequence[int]]) -> NoReturn:
        """Say which commands make what is missing.

        Raises:
            UserError: always, with the commands.
        """
        missing = sum(map(len, parts))
        raise UserError(
            f"{stage.name}: {missing} shards are not made yet. Run `python -m bench work {stage.folder} {stage.name} "
            f"I/{self.workers}` for I = 1 to {self.workers}, wherever you like, then this command again"
        )
