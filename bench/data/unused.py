"""Files below a folder that nothing uses: counted and named, so that a wrong name is not a silent gap."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

NAMED = 5
"""Files that a line names."""


def files_below(top: Path) -> Iterator[Path]:
    """Yield every file below a folder, and every link to a folder, without hidden ones.

    Raises:
        OSError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(top, onerror=refuse):
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place) / name for name in (*names, *links) if not name.startswith("."))


def unused(what: str, names: Sequence[str]) -> str:
    """Return the line that counts and names what is not used.

    >>> unused("files", ["b.txt", "a.txt"])
    'unused files (2): b.txt, a.txt'
    """
    more = f", and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"unused {what} ({len(names)}): {', '.join(names[:NAMED])}{more}"
