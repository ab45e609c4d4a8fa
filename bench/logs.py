"""Logs that cannot fill the disk."""

from __future__ import annotations

from pathlib import Path

LARGEST = 2**23
"""Bytes after which a log begins anew; the part before is kept as NAME.1 until the next time."""


def add(path: Path, text: bytes) -> None:
    """Add to a log, in one call, so that what several processes say stays whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(text)
        size = file.tell()
    if size > LARGEST:
        path.replace(path.with_name(f"{path.name}.1"))
