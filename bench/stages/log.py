"""The log of a run: what a method raised, and what a program said, for whoever has to find out why."""

from __future__ import annotations

import traceback
from pathlib import Path

LOG = "log"
"""Folder of the logs, in the folder of a run."""
LONGEST = 100_000
"""Characters of a traceback that are kept, its last ones."""
TRACEBACKS = "tracebacks.log"


def log_traceback(folder: Path, what: str, error: BaseException) -> None:
    """Add a traceback to the log of a run.

    Args:
        folder: of the run.
        what: was being made.
        error: what was raised.
    """
    path = folder / LOG / TRACEBACKS
    path.parent.mkdir(exist_ok=True)
    # One call per entry, so that those of several processes stay whole.
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{what}\n{''.join(traceback.format_exception(error))[-LONGEST:]}\n")
