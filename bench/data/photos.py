"""The table of photos: what a dataset's list names, looked at on the disk.

One row per photo, in the list's order, with the columns

    item     the name of an item, which the photo is put to the methods for; "" for other photos
    subject  the person: subjects of whom the list has a photo with the same bytes are one, named like the first
    listed_subject  the person as the list names it
    role     "reference" (put to the methods, an item each), "further" (a further reference of the subject's items) or
             "target" (another photo of the person, which no method sees)
    image    place below the root, with "/"
    path     the same as an absolute path, links followed; recorded only; "" where the photo must not be read
    sha256   of the file's bytes; "" where the photo does not take part (missing or refused); of the vector where
             the person has no photo
    width, height   pixels as read (upright); 0 where unknown
    status   "ok", "undecodable" (not an image), "refused" (must not be used), "missing", or "absent" (the item is a
             sampled person, who has no photo)
    reason   why the status is not ok; "" where it is
    key      a file name for the item, unique whatever the case; "" for other photos

and any number of group columns (`gender`, `age`, `ancestry`, ...) of text, "" where unknown. Only headers are read
here: a photo whose pixels turn out to be damaged is found by whoever decodes it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from bench.assets import origin
from bench.data.known import Content, KnownPhotos, known
from bench.errors import UserError
from bench.hashing import sha256_bytes
from bench.identity import digest
from bench.images import ImageError, MissingImageError, header_size, read_bytes


class PhotoStatus(StrEnum):
    """Whether a photo of a list can be used, as far as its file and header say."""

    OK = "ok"
    UNDECODABLE = "undecodable"
    REFUSED = "refused"
    MISSING = "missing"
    ABSENT = "absent"


ROLES = ("reference", "further", "target")
LIST_COLUMNS = ("item", "subject", "role", "image", "sha256", "width", "height")
PHOTO_COLUMNS = (*LIST_COLUMNS, "listed_subject", "path", "status", "reason", "key")
SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png"}
    | {".ppm", ".tif", ".tiff", ".webp"}
)
"""A file is a photo by its name alone, so that a text called .jpg is a row with a reason and not a silent gap."""


class Seen(NamedTuple):
    """What the disk says about one photo; the fields are columns of the table."""

    path: str
    sha256: str = ""
    width: int = 0
    height: int = 0
    status: PhotoStatus = PhotoStatus.OK
    reason: str = ""


def look(root: Path, listed: pd.DataFrame) -> pd.DataFrame:
    """Look at every photo of a list, without decoding it.

    An image is refused that lies outside the root (by its name or through symbolic links), or whose bytes are not those
    of the list. So is a target with the very bytes of a reference, or of a further one, of the same person.

    Args:
        root: the folder of the images.
        listed: columns `item, subject, role, image`, and where known `sha256`; further ones are groups.

    Returns:
        The table of photos, rows in the order of `listed`.

    Raises:
        UserError: `root` is not a folder, or the list is empty.
    """
    top = root_folder(root)
    if listed.empty:
        raise UserError(f"no photo in {root}; a photo's name ends in one of {' '.join(sorted(SUFFIXES))}")
    expected = listed["sha256"] if "sha256" in listed else [""] * len(listed)
    photos_before = known()
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        seen = list(pool.map(lambda image, sha: _look(top, image, sha, photos_before), listed["image"], expected))
    named = listed[["item", "subject", "role", "image"]].reset_index(drop=True)
    photos = named.join(pd.DataFrame(seen, columns=Seen._fields))
    photos["status"] = photos["status"].map(str)
    photos.insert(2, "listed_subject", photos["subject"])
    photos["subject"] = one_person(list(photos["subject"]), list(photos["sha256"]))
    photos["key"] = _keys_column(photos)
    groups = listed[group_columns(listed)].reset_index(drop=True)
    return _refuse_copies(photos).join(groups)


def root_folder(root: Path) -> Path:
    """Return the real path of a folder of images.

    Raises:
        UserError: there is none.
    """
    if not Path(root).is_dir():
        get = origin(Path(root))
        raise UserError(f"no folder of images at {root}; give it as dataset.root=DIR{f', or {get}' if get else ''}")
    return Path(os.path.realpath(root))


def group_columns(photos: pd.DataFrame) -> list[str]:
    """Return the columns of a list or table of photos that say something about the person: all but the fixed ones."""
    return [c for c in photos.columns if c not in PHOTO_COLUMNS]


def _look(top: Path, image: str, expected: str, before: KnownPhotos) -> Seen:
    path = _inside(top, image)
    if path is None:
        return Seen("", status=PhotoStatus.REFUSED, reason="lies outside the root")
    try:
        content = before.content(path, _content)
    except MissingImageError as error:
        hint = " (a name that is not UTF-8 cannot be used)" if "\\x" in image else ""
        return Seen(str(path), status=PhotoStatus.MISSING, reason=error.reason + hint)
    except _HeaderError as error:
        found = _expected(error.sha256, expected)
        return found or Seen(str(path), error.sha256, status=PhotoStatus.UNDECODABLE, reason=error.reason)
    except ImageError as error:
        return Seen(str(path), status=PhotoStatus.UNDECODABLE, reason=error.reason)
    return _expected(content.sha256, expected) or Seen(str(path), *content)


class _HeaderError(ImageError):
    """A file that cannot be read as an image, with the sha256 of its bytes."""

    def __init__(self, reason: str, sha256: str) -> None:
        super().__init__(reason)
        self.sha256 = sha256


def _content(path: Path) -> Content:
    data = read_bytes(path)
    sha256 = sha256_bytes(data)
    try:
        return Content(sha256, *header_size(data))
    except ImageError as error:
        raise _HeaderError(error.reason, sha256) from error


def _expected(sha256: str, expected: str) -> Seen | None:
    """Return the refusal of a photo whose bytes are not those of the list; None where they are."""
    if not expected or expected == sha256:
        return None
    return Seen("", status=PhotoStatus.REFUSED, reason=f"sha256 differs from the list: the file has {sha256}")


def _inside(top: Path, image: str) -> Path | None:
    """Return the real path of an image below `top`; None where its name or a symbolic link leads out of it."""
    place = PurePosixPath(image)
    if place.is_absolute() or ".." in place.parts or "\0" in image:
        return None
    path = Path(os.path.realpath(top / place))
    return path if path.is_relative_to(top) else None


def one_person(subjects: Sequence[str], sha256: Sequence[str]) -> list[str]:
    """Return the person of each photo: subjects that share a photo are one, and have the name that comes first.

    A person is not an impostor of themself, under whatever names a list has them.

    Args:
        subjects: (n,) as the list names them.
        sha256: (n,) of the photos; "" where it is unknown.

    >>> one_person(["ann", "bob", "bob", "cleo", "dora"], ["1", "2", "3", "3", "1"])
    ['ann', 'bob', 'bob', 'bob', 'ann']
    """
    named: dict[str, str] = {subject: subject for subject in subjects}

    def first(subject: str) -> str:
        while named[subject] != subject:
            subject = named[subject]
        return subject

    order = {subject: place for place, subject in enumerate(named)}
    owner: dict[str, str] = {}
    for subject, content in zip(subjects, sha256, strict=True):
        if content:
            pair = sorted((first(subject), first(owner.setdefault(content, subject))), key=order.__getitem__)
            named[pair[1]] = pair[0]
    return [first(subject) for subject in subjects]


def _refuse_copies(photos: pd.DataFrame) -> pd.DataFrame:
    """Refuse targets with the bytes of a reference: a target is another photo of the person."""
    pairs = zip(photos["subject"], photos["sha256"], strict=True)
    shown = {pair for pair, role in zip(pairs, photos["role"], strict=True) if role != "target" and pair[1]}
    same = [pair in shown for pair in zip(photos["subject"], photos["sha256"], strict=True)]
    copies = pd.Series(same, index=photos.index) & (photos["role"] == "target")
    photos.loc[copies, ["path", "sha256", "status"]] = ["", "", str(PhotoStatus.REFUSED)]
    photos.loc[copies, "reason"] = "the same bytes as a reference"
    return photos


def with_further_references(photos: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return a table of photos in which items have up to `count` references.

    The first good targets of each subject become further references, which its items share; they are targets no longer,
    and neither are photos with the same bytes. Further references that the list names count, too.
    """
    if count == 1:
        return photos
    is_further = photos["role"] == "further"
    wanted = count - 1 - is_further.groupby(photos["subject"]).transform("sum")
    free = (photos["role"] == "target") & (photos["status"] == PhotoStatus.OK)
    free &= ~photos.duplicated(["subject", "role", "sha256"])
    chosen = free & (free.groupby(photos["subject"]).cumsum() <= wanted)
    return _refuse_copies(photos.assign(role=photos["role"].mask(chosen, "further")))


def content_id(photos: pd.DataFrame) -> str:
    """Return the identity of a dataset by content: sha256 (hex) over (item, subject, role, sha256) of its rows.

    Paths, times, sizes and group columns play no part: a copy of the folder elsewhere has the same id, and a folder in
    which one pixel of a photo differs has another.
    """
    rows = photos[["item", "subject", "role", "sha256"]].to_numpy().tolist()
    return digest({"photos": rows})


def first_items(listed: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """Return the first `limit` references of a list and the targets of their subjects, in its order; None: all."""
    if limit is None:
        return listed
    is_reference = listed["role"] == "reference"
    kept = is_reference & (is_reference.cumsum() <= limit)
    subjects = set(listed.loc[kept, "subject"])
    return listed[kept | (~is_reference & listed["subject"].isin(subjects))].reset_index(drop=True)


def _keys_column(photos: pd.DataFrame) -> pd.Series:
    items = photos.loc[photos["role"] == "reference", "item"]
    return pd.Series(keys(list(items)), index=items.index, dtype=photos["item"].dtype).reindex(
        photos.index, fill_value=""
    )


_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


def keys(items: Sequence[str]) -> list[str]:
    """Return file names for items: the item itself where it is a plain name that no other equals but for case.

    Otherwise what is plain of it, "-" and the first 8 hex digits of the sha256 of its UTF-8 bytes.

    >>> keys(["anna", "Bob", "bob", "../x y"])
    ['anna', 'Bob-cd9fb1e1', 'bob-81b637d8', 'x_y-46c740c6']
    """
    for digits in (8, 16, 64):
        names = _keys(items, digits)
        if len({name.casefold() for name in names}) == len(set(items)):
            return names
    # The sha256 of two items would have to collide.
    raise ValueError("two items have the same key")


def _keys(items: Sequence[str], digits: int) -> list[str]:
    times = Counter(item.casefold() for item in set(items))
    plain = {item for item in items if _PLAIN.fullmatch(item) and times[item.casefold()] == 1}
    return [item if item in plain else hashed_key(item, digits) for item in items]


def hashed_key(item: str, digits: int = 8) -> str:
    """Return the key of an item whose own name cannot be a file's.

    >>> hashed_key("名前")
    'item-7ec26292'
    """
    prefix = re.sub(r"[^A-Za-z0-9._-]+", "_", item)[:40].strip("._-") or "item"
    return f"{prefix}-{hashlib.sha256(item.encode()).hexdigest()[:digits]}"


def natural(name: str) -> tuple[tuple[tuple[int, str], ...], bytes]:
    """Return the sort key of the natural order: digits 0-9 by value, the rest by code point, ties by UTF-8 bytes.

    >>> sorted(["b10.jpg", "b9.jpg", "B1.jpg", "b09.jpg"], key=natural)
    ['B1.jpg', 'b09.jpg', 'b9.jpg', 'b10.jpg']
    """
    parts = re.split(r"([0-9]+)", name)
    return tuple((int(p), "") if i % 2 else (-1, p) for i, p in enumerate(parts)), name.encode()


def images_in(folder: Path) -> list[str]:
    """Return the names of the images directly in a folder, in natural order, without hidden files and other kinds.

    A name that is not UTF-8 is shown with \\x escapes; no file will be found under it, and its row says so.
    """
    names = (printable(entry.name) for entry in os.scandir(folder))
    return sorted((n for n in names if is_image_name(n)), key=natural)


def is_image_name(name: str) -> bool:
    """Return whether a file is taken for a photo: by its suffix, whatever it holds, unless it is hidden."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def printable(name: str) -> str:
    """Return a file name as text that can be written anywhere."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def listing(rows: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Return a list of photos: `item, subject, role, image` first, then the groups; "" where a row lacks one."""
    frame = pd.DataFrame(list(rows), dtype="str").fillna("")
    first = ["item", "subject", "role", "image"]
    return frame.reindex(columns=first + [c for c in frame.columns if c not in first], fill_value="")
