"""The log of a run: what a method raised, and what a program said, for whoever has to find out why."""

from __future__ import annotations

import traceback
from pathlib import Path

from bench import logs

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
    text = f"{what}\n{''.join(traceback.format_exception(error))[-LONGEST:]}\n"
    logs.add(folder / LOG / TRACEBACKS, text.encode("utf-8", "backslashreplace"))
