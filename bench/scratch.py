"""Folders that a process needs while it lives, in the temporary directory; the next one deletes those of the dead."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

from bench import processes

PREFIX = "idbench-"


def prefix() -> str:
    """Return how the name of such a folder begins: it says whose it is."""
    return f"{PREFIX}{processes.this().name}~"


def sweep() -> None:
    """Delete the folders that dead processes of this user and this machine have left."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = processes.named(path.name.removeprefix(PREFIX))
        if owner is not None and owner.is_dead() and _is_ours(path):
            shutil.rmtree(path, ignore_errors=True)


def _is_ours(path: Path) -> bool:
    """Return whether a path is a folder of this user: in the temporary directory anybody may make a link."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
