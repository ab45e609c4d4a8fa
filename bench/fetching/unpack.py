"""Files out of a zip, without trusting it: no path leaves its folder, no links, no bombs."""

from __future__ import annotations

import shutil
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from bench.assets import is_inside
from bench.fetching.transport import DownloadError

LIMIT = 32 << 30
"""Bytes that may come out of one archive."""


@contextmanager
def _entries(archive: Path) -> Iterator[tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]]:
    """Yield the archive and its files, all of them found to be harmless."""
    try:
        with zipfile.ZipFile(archive) as opened:
            files = [info for info in opened.infolist() if not info.is_dir()]
            _check(archive, files)
            yield opened, files
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise DownloadError(f"{archive.name} cannot be unpacked: {error}") from error


def _check(archive: Path, files: list[zipfile.ZipInfo]) -> None:
    for info in files:
        if not is_inside(info.filename):
            raise DownloadError(f"{archive.name} is refused: {info.filename!r} would leave its folder")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise DownloadError(f"{archive.name} is refused: {info.filename!r} is a link")
    if sum(info.file_size for info in files) > LIMIT:
        raise DownloadError(f"{archive.name} is refused: more than {LIMIT >> 30} GiB would come out of it")


def extract_file(archive: Path, name: str, target: Path) -> None:
    """Write one file of a zip to `target`.

    Args:
        archive: the zip.
        name: its path in the zip, or the last parts of it (some zips nest everything in one more folder).
        target: where to; its folder exists.

    Raises:
        DownloadError: not a zip, a harmful one, or no such file in it, or several.
    """
    wanted = PurePosixPath(name).parts
    with _entries(archive) as (opened, files):
        found = [info for info in files if PurePosixPath(info.filename).parts[-len(wanted) :] == wanted]
        found = [info for info in found if not info.filename.startswith("__MACOSX/")]
        if len(found) != 1:
            raise DownloadError(f"{archive.name} holds {len(found) or 'no'} files {name}")
        _write(opened, found[0], target)


def extract_folder(archive: Path, name: str, target: Path) -> None:
    """Write all files under one top folder of a zip to the folder `target`, which is made.

    Args:
        archive: the zip.
        name: the folder in the zip, ending in "/".
        target: where to.

    Raises:
        DownloadError: not a zip, a harmful one, or no file under that folder.
    """
    with _entries(archive) as (opened, files):
        found = [info for info in files if info.filename.startswith(name)]
        if not found:
            raise DownloadError(f"{archive.name} holds no folder {name}")
        for info in found:
            _write(opened, info, target / info.filename.removeprefix(name))


def _write(opened: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(info) as source, open(target, "wb") as sink:
        shutil.copyfileobj(source, sink, 1 << 20)
