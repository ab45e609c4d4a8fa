"""Uncompressed tars whose members are found by their offsets: the same members give the same bytes."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path


def append(tar: tarfile.TarFile, name: str, data: bytes) -> int:
    """Append a file, whose header depends on nothing but its name and size.

    Args:
        tar: open to be written, in the format USTAR.
        name: of the file; with its folders at most 255 characters, and 100 without one.
        data: its content.

    Returns:
        The offset of its first byte in the tar.
    """
    offset = tar.offset + tarfile.BLOCKSIZE
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
    return offset


def packed(files: Iterable[tuple[str, bytes]]) -> tuple[bytes, list[tuple[int, int]]]:
    """Return a tar of some files (name, content), and each one's offset and length in it."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        places = [(append(tar, name, data), len(data)) for name, data in files]
    return sink.getvalue(), places


def names(path: Path) -> list[str]:
    """Return the names of a tar's members, in their order.

    Raises:
        OSError: it cannot be read.
        tarfile.TarError: it is damaged.
    """
    with tarfile.open(path, "r:") as tar:
        return tar.getnames()
