"""Keep embeddings that nearest neighbours are searched in: shards of fp16 vectors, and keys that name nobody.

    <folder>/bank.json       what the vectors are, and a row per shard
    <folder>/00000.npy       (n, d) float16, rows of length 1
    <folder>/00000.parquet   key and subject of each row

A key is a keyed hash of the image's name, a subject's key one of the subject's name; the secret lies in `bank.json`.
Somebody who has the list of images finds the image of a row with `key_of`; the vectors alone name nobody. They are
biometric templates all the same: a bank stays on the machine, and no export reads it.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.errors import UserError
from bench.hashing import sha256_bytes, sha256_path
from bench.metrics.functional.cosine import unit
from bench.metrics.shared.eligibility import nonzero
from bench.store import read_json, read_table, write_atomic, write_json, write_table
from bench.studies.nearest import BLOCK, Block

SHARD = 65_536
"""Rows of a full shard."""
RECORD = "bank.json"


@dataclass(frozen=True)
class Shard:
    """One shard as it was written.

    Attributes:
        rows: number of vectors.
        vectors: sha256 of the file of vectors.
        keys: sha256 of the file of keys.
    """

    rows: int
    vectors: str
    keys: str


@dataclass(frozen=True)
class Bank:
    """A folder of embeddings of one recogniser.

    Attributes:
        folder: where it lies.
        recogniser: identity of the network, its weights and its view; vectors of another one do not belong here.
        dimension: length of a vector.
        secret: the key of the hashes, hexadecimal.
        shards: in the order in which they were added.
    """

    folder: Path
    recogniser: str
    dimension: int
    secret: str
    shards: tuple[Shard, ...] = ()

    @property
    def rows(self) -> int:
        """Number of vectors."""
        return sum(shard.rows for shard in self.shards)

    def start(self, number: int) -> int:
        """Return the position of a shard's first row."""
        return sum(shard.rows for shard in self.shards[:number])

    def vectors_file(self, number: int) -> Path:
        """Return the file of a shard's vectors."""
        return self.folder / f"{number:05d}.npy"

    def keys_file(self, number: int) -> Path:
        """Return the file of a shard's keys."""
        return self.folder / f"{number:05d}.parquet"


def create(folder: Path, recogniser: str, dimension: int) -> Bank:
    """Write an empty bank with a secret of its own.

    Raises:
        UserError: there is a bank already, or the folder cannot be written.
    """
    if (folder / RECORD).exists():
        raise UserError(f"{folder} is a bank already; add to it, or give another name")
    bank = Bank(folder, recogniser, dimension, secrets.token_hex(16))
    _commit(bank)
    return bank


def open_bank(folder: Path) -> Bank:
    """Return the bank in a folder.

    Raises:
        UserError: there is none, or its record is damaged.
    """
    if not (folder / RECORD).exists():
        raise UserError(f"no bank in {folder}; `python -m bench bank add NAME …` makes one")
    record = read_json(folder / RECORD)
    try:
        shards = tuple(Shard(**shard) for shard in record["shards"])
        return Bank(folder, record["recogniser"], int(record["dimension"]), record["secret"], shards)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder / RECORD} is damaged ({error}); delete the folder and add the bank again") from error


def _commit(bank: Bank) -> None:
    record = {"recogniser": bank.recogniser, "dimension": bank.dimension, "secret": bank.secret}
    write_json(bank.folder / RECORD, {**record, "shards": [vars(shard) for shard in bank.shards]})


def key_of(bank: Bank, name: str) -> str:
    """Return the opaque key of a name in this bank: 32 hexadecimal digits of HMAC-SHA256."""
    return hmac.new(bytes.fromhex(bank.secret), name.encode(), hashlib.sha256).hexdigest()[:32]


def codes_of(keys: Iterable[str]) -> NDArray[np.uint64]:
    """Return numbers that are equal where keys are: their first 64 bits.

    >>> codes_of(["00000000000000ff" + 16 * "0"])
    array([255], dtype=uint64)
    """
    return np.array([int(key[:16], 16) for key in keys], dtype=np.uint64)


def add(bank: Bank, vectors: NDArray[Any], images: Sequence[str], subjects: Sequence[str]) -> Bank:
    """Add embeddings, and return the bank with them; an image that is there already is left out.

    Each shard is written whole before the record names it, so a killed call leaves a smaller bank, and the same call
    adds the rest.

    Args:
        bank: of the same recogniser.
        vectors: (n, d) raw or normalised; a row of zeros or NaN (an image without a face) is left out.
        images: (n,) a name for each image that no other image of the bank has.
        subjects: (n,) the person of each, by a name that no other dataset gives to somebody else.

    Raises:
        UserError: vectors of another dimension, or the disk is full.
    """
    if vectors.ndim != 2 or vectors.shape[1] != bank.dimension:
        raise UserError(f"{bank.folder} holds vectors of {bank.dimension} numbers; given: shape {vectors.shape}")
    keys = pd.Series([key_of(bank, name) for name in images], dtype="str")
    people = {name: key_of(bank, name) for name in dict.fromkeys(subjects)}
    fresh = nonzero(vectors) & ~keys.duplicated().to_numpy()
    for number in range(len(bank.shards)):
        fresh &= ~keys.isin(read_table(bank.keys_file(number))["key"]).to_numpy()
    rows = np.flatnonzero(fresh)
    for at in range(0, len(rows), SHARD):
        part = rows[at : at + SHARD]
        table = pd.DataFrame({"key": keys[part].to_numpy(), "subject": [people[subjects[row]] for row in part]})
        bank = _append(bank, unit(vectors[part]).astype(np.float16), table)
    return bank


def _append(bank: Bank, vectors: NDArray[np.float16], table: pd.DataFrame) -> Bank:
    number, data = len(bank.shards), io.BytesIO()
    np.save(data, vectors)
    write_atomic(bank.vectors_file(number), data.getvalue())
    write_table(bank.keys_file(number), table)
    shard = Shard(len(vectors), sha256_bytes(data.getvalue()), sha256_path(bank.keys_file(number)))
    bank = replace(bank, shards=(*bank.shards, shard))
    _commit(bank)
    return bank


def damaged(bank: Bank) -> list[str]:
    """Return the names of files whose bytes are not those that were written; a missing one among them."""
    files = [
        (path, expected)
        for number, shard in enumerate(bank.shards)
        for path, expected in ((bank.vectors_file(number), shard.vectors), (bank.keys_file(number), shard.keys))
    ]
    return [path.name for path, expected in files if not path.exists() or sha256_path(path) != expected]


def read_blocks(bank: Bank, number: int, *, offset: int = 0, subjects: bool = False) -> Iterator[Block]:
    """Yield the blocks of one shard, read one after the other so that memory stays flat.

    Args:
        bank: where it lies.
        number: of the shard.
        offset: added to the positions: the rows of the banks searched before this one.
        subjects: whether to read the subjects' keys, for a search that leaves out a query's own.

    Raises:
        UserError: the file is missing, cut short or not what the record says.
    """
    path, shard = bank.vectors_file(number), bank.shards[number]
    people = codes_of(read_table(bank.keys_file(number))["subject"]) if subjects else None
    start = offset + bank.start(number)
    try:
        with path.open("rb") as file:
            _check_header(file, (shard.rows, bank.dimension))
            for at in range(0, shard.rows, BLOCK):
                rows = min(BLOCK, shard.rows - at)
                vectors = np.fromfile(file, np.float16, rows * bank.dimension).reshape(rows, bank.dimension)
                yield Block(start + at, vectors, None if people is None else people[at : at + rows])
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: {error}; `python -m bench bank check {bank.folder.name}` lists what is damaged"
        ) from error


def _check_header(file: Any, shape: tuple[int, int]) -> None:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    stored, fortran, dtype = read(file)
    if stored != shape or fortran or dtype != np.float16:
        raise ValueError(f"holds {dtype} of shape {stored}, not float16 of shape {shape}")


def find_rows(bank: Bank, positions: NDArray[np.int64]) -> pd.DataFrame:
    """Return shard, row, key and subject of positions; a position of -1 gives -1, -1 and empty keys."""
    starts = np.cumsum([0, *(shard.rows for shard in bank.shards)])
    shards = np.where(positions >= 0, np.searchsorted(starts, positions, side="right") - 1, -1)
    rows = np.where(positions >= 0, positions - starts[shards], -1)
    table = pd.DataFrame({"shard": shards, "row": rows, "key": "", "subject": ""})
    for number in sorted(set(shards[shards >= 0].tolist())):
        here = shards == number
        keys = read_table(bank.keys_file(number)).iloc[rows[here]]
        table.loc[here, ["key", "subject"]] = keys[["key", "subject"]].to_numpy()
    return table
