"""Verification sets: insightface's .bin files, their .xz variant, and lists of files. Nothing in a file is executed."""

from __future__ import annotations

import csv
import io
import lzma
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError, one_line
from bench.images import MAX_BYTES, Image, ImageError, decode, read_bytes
from bench.recognition import plain_pickle
from bench.recognition.plain_pickle import Array

SIDE = 112
STANDARD: Mapping[str, int] = {
    "lfw": 6000,
    "cfp_fp": 7000,
    "cfp_ff": 7000,
    "cplfw": 6000,
    "agedb_30": 6000,
    "calfw": 6000,
}
"""Name of a public set's file -> its number of pairs."""
TITLES: Mapping[str, str] = {
    "lfw": "LFW",
    "cfp_fp": "CFP-FP",
    "cfp_ff": "CFP-FF",
    "cplfw": "CPLFW",
    "agedb_30": "AgeDB",
    "calfw": "CALFW",
}
"""Name of a public set's file -> how papers call it."""
HEADER = ("first", "second", "same")
"""Columns of a list: two files, relative to its folder, and 1 where they show one person, else 0."""
_XZ = b"\xfd7zXZ\x00"


@dataclass(frozen=True, eq=False)
class Pairs:
    """A verification set in the order of its file, which decides its folds.

    Attributes:
        name: of the set.
        source: the file that it was read from.
        same: (n,) whether each pair shows one person.
        images: 2n encoded images, or files; 2k and 2k + 1 form pair k.
    """

    name: str
    source: Path
    same: NDArray[np.bool_]
    images: Sequence[bytes | Path]

    def __len__(self) -> int:
        return len(self.same)

    @property
    def title(self) -> str:
        """What a table calls it."""
        return TITLES.get(self.name, self.name)

    @property
    def remark(self) -> str:
        """What a reader must know: that a public set has another number of pairs than its authors' file."""
        known = STANDARD.get(self.name, len(self))
        return "" if known == len(self) else f"{len(self)} pairs, not the {known} of the public file"

    @cached_property
    def different(self) -> Mapping[bytes | Path, int]:
        """Each different image -> its first place among the 2n: sets show one image in several pairs."""
        first: dict[bytes | Path, int] = {}
        for place, image in enumerate(self.images):
            first.setdefault(image, place)
        return first

    def of_places(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return (2n, …) rows, one for each place, of (m, …) rows, one for each of `crops`."""
        number = {image: row for row, image in enumerate(self.different)}
        return rows[[number[image] for image in self.images]]

    def crops(self) -> Iterator[Image]:
        """Yield the crop of each different image, (112, 112, 3) uint8 RGB, decoded one at a time.

        Squares of another size are scaled (bicubic), as insightface's code does.

        Raises:
            UserError: an image cannot be decoded, or is not square.
        """
        for image, place in self.different.items():
            yield self._crop(place, image)

    def _crop(self, number: int, image: bytes | Path) -> Image:
        where = f"{self.source}: image {number} (pair {number // 2})"
        try:
            found = decode(image if isinstance(image, bytes) else read_bytes(image))
        except ImageError as error:
            raise UserError(f"{where} is {error.reason}; get the file again") from error
        height, width = found.shape[:2]
        if height != width:
            raise UserError(f"{where} has {width} x {height} pixels; a crop must be square")
        return found if width == SIDE else _scaled(found)


def _scaled(image: Image) -> Image:
    import cv2

    return np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), np.uint8)


def open_pairs(path: Path) -> Pairs:
    """Return the verification set in a file; its kind is read from its content.

    Raises:
        UserError: no such file, a damaged or hostile one, or images and labels that do not match.
    """
    try:
        data = read_bytes(path)
    except ImageError as error:
        raise UserError(f"{path}: {error.reason}; give an insightface .bin, its .xz, or a list") from error
    same, images = _content(path, data)
    if len(images) != 2 * len(same) or not len(same):
        raise UserError(f"{path}: {len(images)} images for {len(same)} labels; two images a label are needed")
    return Pairs(path.name.partition(".")[0], path, same, images)


def _content(path: Path, data: bytes) -> tuple[NDArray[np.bool_], Sequence[bytes | Path]]:
    if data.startswith(",".join(HEADER).encode()):
        return _listed(path, data)
    return _pickled(path, _unpacked(path, data) if data.startswith(_XZ) else data)


def find_pairs(folder: Path, names: Sequence[str]) -> list[Pairs]:
    """Return the named sets of a folder, each as `.bin`, `.xz` or `.csv`.

    Raises:
        UserError: a set is not there.
    """
    return [open_pairs(_file(folder, name)) for name in names]


def _file(folder: Path, name: str) -> Path:
    for suffix in (".bin", ".xz", ".csv"):
        if (folder / f"{name}{suffix}").is_file():
            return folder / f"{name}{suffix}"
    known = sorted({path.stem for path in folder.glob("*") if path.suffix in (".bin", ".xz", ".csv")})
    raise UserError(f"no {name}.bin, {name}.xz or {name}.csv in {folder}; there are: {', '.join(known) or 'none'}")


def _unpacked(path: Path, data: bytes) -> bytes:
    try:
        with lzma.open(io.BytesIO(data)) as file:
            content = file.read(MAX_BYTES + 1)
    except (lzma.LZMAError, EOFError) as error:
        raise UserError(f"{path} is a damaged .xz file: {error}") from error
    if len(content) > MAX_BYTES:
        raise UserError(f"{path} unpacks to more than {MAX_BYTES} bytes")
    return content


def _pickled(path: Path, data: bytes) -> tuple[NDArray[np.bool_], list[bytes]]:
    try:
        images, labels = plain_pickle.load(data)
        if not isinstance(images, list):
            raise ValueError("its images are not a list")
        return _flags(labels), [_bytes(image) for image in images]
    except Exception as error:  # foreign bytes make the unpickler raise almost anything
        raise UserError(f"{path} is not a verification set (.bin): {one_line(error)}") from error


def _flags(labels: Any) -> NDArray[np.bool_]:
    # A list that holds lists could become an array of any size.
    is_flat = isinstance(labels, list) and all(isinstance(label, (int, np.integer, np.bool_)) for label in labels)
    values = np.asarray(labels) if is_flat else labels.values if isinstance(labels, Array) else np.empty(0)
    if values.dtype.kind not in "biu" or not np.isin(values, (0, 1)).all():
        raise ValueError("its labels are not a list of true and false")
    return values.astype(bool)


def _bytes(image: Any) -> bytes:
    if isinstance(image, Array) and image.values.dtype == np.uint8:
        return image.data
    if not isinstance(image, bytes):
        raise ValueError(f"an image is {type(image).__name__}, not encoded bytes")
    return image


def _listed(path: Path, data: bytes) -> tuple[NDArray[np.bool_], list[Path]]:
    try:
        rows = list(csv.reader(io.StringIO(data.decode("utf-8", "replace"), newline="")))[1:]
    except csv.Error as error:
        raise UserError(f"{path} is not a list of pairs: {one_line(error)}") from error
    for number, row in enumerate(rows, 2):
        if len(row) != 3 or row[2] not in ("0", "1"):
            raise UserError(f"{path}, line {number}: expected {','.join(HEADER)} with 0 or 1, found {','.join(row)!r}")
    files = [path.parent / name for row in rows for name in row[:2]]
    return np.array([row[2] == "1" for row in rows], bool), files


def write_list(path: Path, pairs: Iterable[tuple[str, str, bool]]) -> None:
    """Write a list of pairs.

    Args:
        path: of the list.
        pairs: two files, relative to the list's folder, and whether they show one person.
    """
    from bench.store import write_atomic

    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows((first, second, int(same)) for first, second, same in pairs)
    write_atomic(path, sink.getvalue().encode())
