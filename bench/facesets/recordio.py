"""MXNet's RecordIO, in which insightface keeps training sets: read and written without mxnet.

A file is a chain of records: a magic number, three bits of flags with 29 bits of length, the payload, padded to four
bytes. Where a payload holds the magic number on a border of four bytes the writer cuts it there: flags 1, 2 and 3 mark
the first, the middle and the last part, and the reader puts the magic number back between them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from bench.errors import UserError

MAGIC = struct.pack("<I", 0xCED7230A)
_HEAD = struct.Struct("<IfQQ")
"""Flag (0: the label is the number that follows; k: k labels come before the payload), label, id, a second id."""
LARGEST = 2**24
"""Bytes of a record; a crop without compression has 40,000."""
WHOLE, FIRST, MIDDLE, LAST = range(4)


class Record(NamedTuple):
    """One record.

    Attributes:
        key: its number in the file.
        labels: one or several numbers.
        payload: an encoded image; empty in a record that describes the file or an identity.
    """

    key: int
    labels: tuple[float, ...]
    payload: bytes


def read(path: Path) -> Iterator[Record]:
    """Yield the records of a .rec file, one at a time.

    Raises:
        UserError: no such file, or a record that is truncated or damaged; the message has its number.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    with file:
        number = 0
        while (data := _whole(file, path, number)) is not None:
            yield _parsed(data, path, number)
            number += 1


def _whole(file: BinaryIO, path: Path, number: int) -> bytes | None:
    """The next record's bytes, its parts joined; None at the end of the file."""
    parts: list[bytes] = []
    total = 0
    while True:
        head = file.read(8)
        if not head and not parts:
            return None
        if len(head) < 8 or head[:4] != MAGIC:
            raise _damaged(path, number, "is truncated" if len(head) < 8 else "does not begin with the magic number")
        flag, length = divmod(struct.unpack("<I", head[4:])[0], 1 << 29)
        total += len(MAGIC) + length
        if total > LARGEST:
            raise _damaged(path, number, f"has more than {LARGEST >> 20} MiB")
        padded = -(-length // 4) * 4
        data = file.read(padded)
        if len(data) < padded:
            raise _damaged(path, number, "is truncated")
        if flag not in ((MIDDLE, LAST) if parts else (WHOLE, FIRST)):
            raise _damaged(path, number, f"has a part of kind {flag} in a wrong place")
        parts.append(data[:length])
        if flag in (WHOLE, LAST):
            return MAGIC.join(parts)


def _parsed(data: bytes, path: Path, number: int) -> Record:
    if len(data) < _HEAD.size:
        raise _damaged(path, number, "has no header")
    flag, label, key, _ = _HEAD.unpack_from(data)
    start = _HEAD.size + 4 * flag
    if len(data) < start:
        raise _damaged(path, number, f"is too short for its {flag} labels")
    labels = struct.unpack_from(f"<{flag}f", data, _HEAD.size) if flag else (label,)
    return Record(int(key), labels, data[start:])


def _damaged(path: Path, number: int, what: str) -> UserError:
    return UserError(f"{path}: record {number} {what}; get the file again")


def images(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (identity, encoded image) of a .rec file of insightface or of im2rec, in the order of the file.

    Raises:
        UserError: see `read`; or an identity is not a whole number, an image is empty, or the file holds fewer records
            than its record 0 says.
    """
    number, wanted = -1, 0.0
    for number, record in enumerate(read(path)):
        if len(record.labels) == 2 and not record.payload:
            wanted = wanted or record.labels[1]
            continue
        identity = record.labels[0]
        if identity < 0 or not identity.is_integer():
            raise _damaged(path, number, f"has the label {identity:g}, which is not a whole number from 0")
        if not record.payload:
            raise _damaged(path, number, "has no image")
        yield int(identity), record.payload
    if number + 1 < wanted:
        raise UserError(f"{path} ends after {number + 1} of {wanted:.0f} records; get the file again")


def write(folder: Path, items: Iterable[tuple[int, bytes]]) -> None:
    """Write `train.rec`, `train.idx`, `train.lst` and `property` in insightface's layout.

    Record 0 says where the identities' records begin and end, images follow, then a record for each identity says which
    images are its own.

    Args:
        folder: is made where it is missing; files in it are replaced once all are written.
        items: (identity, encoded image), the images of one identity in a row, identities 0, 1, 2, ... in order.

    Raises:
        UserError: the identities are not in that order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = ("train.rec", "train.idx", "train.lst")
    rec, idx, lst = ((folder / f".tmp-{name}").open("wb") for name in names)
    with rec, idx, lst:
        ends = _write_images(rec, idx, lst, items)
        n, ids = (ends[-1] if ends else 0), len(ends)
        for identity, (first, last) in enumerate(zip([0, *ends], ends, strict=False)):
            _add(rec, idx, n + 1 + identity, (first + 1, last + 1), b"")
        rec.seek(0)
        _put(rec, _payload(0, (n + 1, n + 1 + ids), b""))
    for name in names:
        (folder / f".tmp-{name}").replace(folder / name)
    (folder / "property").write_text(f"{ids},112,112\n", encoding="utf-8")


def _write_images(rec: BinaryIO, idx: BinaryIO, lst: BinaryIO, items: Iterable[tuple[int, bytes]]) -> list[int]:
    """Writes a blank record 0 and the images; returns how many images there are up to the end of each identity."""
    ends: list[int] = []
    _add(rec, idx, 0, (0, 0), b"")
    for key, (identity, data) in enumerate(items, 1):
        if identity not in (len(ends) - 1, len(ends)):
            raise UserError(f"image {key} belongs to identity {identity}, after {len(ends) - 1}: sort them first")
        ends[identity:] = [key]
        _add(rec, idx, key, (identity,), data)
        lst.write(f"{key}\t{identity}\t{identity}/{key}\n".encode())
    return ends


def _add(rec: BinaryIO, idx: BinaryIO, key: int, labels: tuple[float, ...], image: bytes) -> None:
    idx.write(f"{key}\t{rec.tell()}\n".encode())
    _put(rec, _payload(key, labels, image))


def _payload(key: int, labels: tuple[float, ...], image: bytes) -> bytes:
    if len(labels) == 1:
        return _HEAD.pack(0, labels[0], key, 0) + image
    return _HEAD.pack(len(labels), 0.0, key, 0) + struct.pack(f"<{len(labels)}f", *labels) + image


def _put(rec: BinaryIO, data: bytes) -> None:
    cuts = [place for place in range(0, len(data) // 4 * 4, 4) if data.startswith(MAGIC, place)]
    starts = [0, *(cut + 4 for cut in cuts)]
    for number, (start, end) in enumerate(zip(starts, [*cuts, len(data)], strict=True)):
        flag = WHOLE if not cuts else FIRST if number == 0 else LAST if number == len(cuts) else MIDDLE
        part = data[start:end]
        rec.write(MAGIC + struct.pack("<I", flag << 29 | len(part)) + part + bytes(-len(part) % 4))
