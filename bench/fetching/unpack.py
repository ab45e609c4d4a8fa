"""Files out of a zip, without trusting it: no path leaves its folder, no links, no devices, no name twice, no bombs."""

from __future__ import annotations

import errno
import shutil
import stat
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from bench.assets import is_inside
from bench.errors import one_line
from bench.fetching.transport import DownloadError
from bench.zips import DAMAGE, PLAIN

LIMIT = 32 << 30
"""Bytes that may come out of one archive."""
ENTRIES = 200_000
"""Files and folders that one archive may hold."""
RATIO = 200
"""How many times its own size may come out of an archive; images and weights hardly shrink at all."""
_KINDS = {stat.S_IFLNK: "a link", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFIFO: "a pipe"}


@contextmanager
def _entries(archive: Path) -> Iterator[tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]]:
    """Yield the archive and its files, all of them found to be harmless."""
    try:
        with zipfile.ZipFile(archive) as opened:
            files = [info for info in opened.infolist() if not info.is_dir()]
            _check(archive, opened.infolist(), files)
            yield opened, files
    except DAMAGE as error:
        raise DownloadError(f"{archive.name} cannot be unpacked: {one_line(error)}") from error
    except OSError as error:
        # A damaged offset makes the reader jump to before the file's beginning; other errors are the disk's.
        if error.errno != errno.EINVAL:
            raise
        raise DownloadError(f"{archive.name} cannot be unpacked: {one_line(error)}") from error


def _check(archive: Path, entries: Sequence[zipfile.ZipInfo], files: Sequence[zipfile.ZipInfo]) -> None:
    """Check what an archive says of itself, before anything comes out of it."""
    if len(entries) > ENTRIES:
        raise _refused(archive, f"it holds {len(entries)} files and folders, more than {ENTRIES}")
    for info in entries:
        _check_entry(archive, info)
    _check_names(archive, files)
    total = sum(info.file_size for info in files)
    if total > LIMIT:
        raise _refused(archive, f"more than {LIMIT >> 30} GiB would come out of it")
    if total > RATIO * archive.stat().st_size:
        raise _refused(archive, f"more than {RATIO} times its size would come out of it")


def _check_entry(archive: Path, info: zipfile.ZipInfo) -> None:
    # The name as it is in the file: `filename` ends where a NUL is.
    name = info.orig_filename
    parts = name.removesuffix("/").split("/")
    if not is_inside(name) or not {"", ".", ".."}.isdisjoint(parts):
        raise _refused(archive, f"{name!r} would leave its folder")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFDIR if info.is_dir() else stat.S_IFREG):
        raise _refused(archive, f"{name!r} is {_KINDS.get(kind, 'a special file')}")
    if info.compress_type not in PLAIN:
        raise _refused(archive, f"{name!r} is packed by another method than deflate")


def _check_names(archive: Path, files: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse names that are one file on some disk, and a file that is another one's folder."""
    taken: set[str] = set()
    for info in files:
        name = _folded(info.filename)
        if name in taken:
            raise _refused(archive, f"{info.filename!r} is in it twice (small and capital letters are the same)")
        taken.add(name)
    for info in files:
        if not taken.isdisjoint(str(parent) for parent in PurePosixPath(_folded(info.filename)).parents):
            raise _refused(archive, f"a folder of {info.filename!r} is a file too")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _refused(archive: Path, why: str) -> DownloadError:
    return DownloadError(f"{archive.name} is refused: {why}")


def extract_file(archive: Path, name: str, target: Path) -> None:
    """Write one file of a zip to `target`.

    Args:
        archive: the zip.
        name: its path in the zip, or the last parts of it (some zips nest everything in one more folder).
        target: where to; its folder exists.

    Raises:
        DownloadError: not a zip, a harmful or damaged one, or no such file in it, or several.
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
        DownloadError: not a zip, a harmful or damaged one, or no file under that folder.
    """
    with _entries(archive) as (opened, files):
        found = [info for info in files if info.filename.startswith(name)]
        if not found:
            raise DownloadError(f"{archive.name} holds no folder {name}")
        for info in found:
            path = target / info.filename.removeprefix(name)
            # The names were checked; the disk has the last word.
            if not path.resolve().is_relative_to(target.resolve()):
                raise _refused(archive, f"{info.filename!r} would leave its folder")
            _write(opened, info, path)


def _write(opened: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(info) as source, open(target, "wb") as sink:
        shutil.copyfileobj(source, sink, 1 << 20)
