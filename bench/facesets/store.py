"""A face set on the disk: tar shards of crops, and a manifest with one row an image, those that failed included.

    <folder>/faceset.json                        what it is, from what it was made
    <folder>/shards/00000.tar                    <identity>_<index>.jpg (or .png) and .cls, as webdataset reads them
    <folder>/tables/manifest/00000.parquet       a row per image that was tried; written last, it vouches for the tar

A shard is written under a temporary name and renamed. The manifest knows where in its tar each crop lies, so a crop is
read by one seek.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench import tars
from bench.errors import UserError
from bench.hashing import sha256_bytes
from bench.images import Image, ImageError, decode
from bench.status import SampleStatus, ViewStatus
from bench.store import ShardTable, read_json, shard_table, write_json

SIDE = 112
RECORD = "faceset.json"
SUFFIX = {b"\xff\xd8": "jpg", b"\x89P": "png"}
"""The first two bytes of a crop's file -> the end of its name."""


@dataclass(frozen=True)
class Row:
    """One image that was tried.

    Attributes:
        identity: number of the identity, from 0.
        index: number of the image within it.
        seed: of its noise; 0 where there is none.
        vector: sha256 of the vector that it was made from; "" where there is none.
        cosine: of that vector to the identity's own; NaN where there is none.
        score: of the detector; NaN without a face.
        status: of the sample: ok, generation_error or no_face; or of its view: no_crop.
        reason: what went wrong; "" where nothing did.
        crop: the encoded crop, 112 x 112; empty unless the status is ok.
    """

    identity: int
    index: int
    seed: int = 0
    vector: str = ""
    cosine: float = float("nan")
    score: float = float("nan")
    status: SampleStatus | ViewStatus = SampleStatus.OK
    reason: str = ""
    crop: bytes = b""


COLUMNS = [field.name for field in fields(Row) if field.name != "crop"]


def manifest(folder: Path) -> ShardTable:
    """Return the table of all images that were tried."""
    return shard_table(folder, "manifest")


def shard_file(folder: Path, shard: int) -> Path:
    """Return the path of a shard's tar."""
    return folder / "shards" / f"{shard:05d}.tar"


def write_shard(folder: Path, shard: int, rows: Iterable[Row]) -> pd.DataFrame:
    """Write a shard, its tar first, then its rows; the same rows give the same bytes.

    Returns:
        The rows of the manifest: `COLUMNS`, and for each crop its `sha256`, `offset` in the tar and
        `size` in bytes.
    """
    path = shard_file(folder, shard)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    with unfinished.open("wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        frame = pd.DataFrame([_add(tar, row) for row in rows])
    with unfinished.open("rb") as written:
        os.fsync(written.fileno())
    os.replace(unfinished, path)
    manifest(folder).write(shard, frame)
    return frame


def _add(tar: tarfile.TarFile, row: Row) -> dict[str, Any]:
    """Appends a row's crop and label; returns its line of the manifest."""
    line = {**{name: value for name, value in asdict(row).items() if name != "crop"}, "status": str(row.status)}
    if row.status != SampleStatus.OK:
        return line | {"sha256": "", "offset": -1, "size": 0}
    stem = f"{row.identity:08d}_{row.index:06d}"
    offset = tars.append(tar, f"{stem}.{SUFFIX[row.crop[:2]]}", row.crop)
    tars.append(tar, f"{stem}.cls", str(row.identity).encode())
    return line | {"sha256": sha256_bytes(row.crop), "offset": offset, "size": len(row.crop)}


def close(folder: Path, shards: int, record: dict[str, Any]) -> None:
    """Write `faceset.json`: the set is whole."""
    digest = hashlib.sha256()
    for shard in range(shards):
        frame = manifest(folder).read_shard(shard)
        for line in frame.loc[frame["status"] == SampleStatus.OK, ["identity", "sha256"]].itertuples(index=False):
            digest.update(f"{line.identity} {line.sha256}\n".encode())
    write_json(folder / RECORD, {**record, "shards": shards, "content": digest.hexdigest()})


class FaceSet:
    """A whole face set, opened to be read.

    Attributes:
        folder: where it lies.
        record: what `faceset.json` says.
        labels: (n,) int32, the identity of each crop, 0 to the number of identities less 1.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / RECORD).is_file():
            raise UserError(
                f"{folder} is not a whole face set: {RECORD} is missing; make it with `python -m bench faceset`"
            )
        self.folder, self.record = folder, read_json(folder / RECORD)
        parts = [self._places(shard) for shard in range(self.record["shards"])]
        identity, self._shard, self._offset, self._size = (np.concatenate(part) for part in zip(*parts, strict=True))
        known, self.labels = np.unique(identity, return_inverse=True)
        self.labels = self.labels.astype(np.int32)
        self.identities = len(known)
        self._file = lru_cache(maxsize=64)(self._open)

    def __len__(self) -> int:
        return len(self.labels)

    def __reduce__(self) -> tuple[type[FaceSet], tuple[Path]]:
        return FaceSet, (self.folder,)

    def _places(self, shard: int) -> tuple[NDArray[Any], ...]:
        frame = manifest(self.folder).read_shard(shard)
        kept = frame[frame["status"] == SampleStatus.OK]
        numbers = np.full(len(kept), shard, np.int32)
        offset, size = kept["offset"].to_numpy(np.int64), kept["size"].to_numpy(np.int32)
        return kept["identity"].to_numpy(np.int64), numbers, offset, size

    def _open(self, shard: int) -> Any:
        return shard_file(self.folder, shard).open("rb")

    def encoded(self, number: int) -> bytes:
        """Return the file of one crop.

        Raises:
            UserError: the shard is missing or shorter than its manifest says.
        """
        shard = int(self._shard[number])
        try:
            data = os.pread(self._file(shard).fileno(), int(self._size[number]), int(self._offset[number]))
        except OSError as error:
            raise UserError(f"cannot read {shard_file(self.folder, shard)}: {error.strerror}") from error
        if len(data) != self._size[number]:
            raise UserError(f"{shard_file(self.folder, shard)} is truncated; delete the set and make it again")
        return data

    def image(self, number: int) -> Image:
        """Return one crop, (112, 112, 3) uint8 RGB.

        Raises:
            UserError: it cannot be decoded.
        """
        try:
            return decode(self.encoded(number))
        except ImageError as error:
            raise UserError(f"{self.folder}: crop {number} is {error.reason}; make the set again") from error

    def items(self) -> Iterator[tuple[int, bytes]]:
        """Yield (identity, encoded crop), the crops of one identity in a row, identities in order."""
        return ((int(self.labels[k]), self.encoded(k)) for k in np.argsort(self.labels, kind="stable"))

    def per_identity(self) -> NDArray[np.int64]:
        """Return how many crops each identity has."""
        return np.bincount(self.labels, minlength=self.identities)

    def tried(self) -> pd.DataFrame:
        """Return the manifest: a row per image that was tried."""
        return manifest(self.folder).read(self.record["shards"])
