"""What the user sees: messages and progress on stderr, results on stdout."""

from __future__ import annotations

import sys
from typing import Any


def say(message: str) -> None:
    """One line on stderr."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


def show(text: str) -> None:
    """A result on stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def progress(total: int, what: str) -> Any:
    """A progress bar (rate, time left) on stderr, silent where stderr is no terminal; close it after use."""
    from tqdm import tqdm

    return tqdm(total=total, desc=what, unit="img", file=sys.stderr, disable=not sys.stderr.isatty(), leave=False)
