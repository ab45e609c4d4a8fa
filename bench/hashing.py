"""sha256 of files and folders, remembered by (path, size, time of change) so that gigabytes are read once."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from bench.errors import UserError


def sha256_bytes(data: bytes) -> str:
    """Return the hex sha256 of a byte string."""
    return hashlib.sha256(data).hexdigest()


def sha256_path(path: Path) -> str:
    """Return the hex sha256 of a file's bytes; for a folder, of the sorted (relative name, sha256) of its files.

    Raises:
        UserError: there is nothing at `path`.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        lines = [f"{p.relative_to(path).as_posix()}\0{sha256_path(p)}" for p in files]
        return sha256_bytes("\n".join(lines).encode())
    try:
        stat = os.stat(path)
    except OSError as error:
        raise UserError(f"no file at {path}: {error.strerror}") from error
    return _sha256_file(str(path.resolve()), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=65536)
def _sha256_file(path: str, size: int, mtime_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
