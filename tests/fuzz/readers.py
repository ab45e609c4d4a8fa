"""Readers of foreign files, each with a good file: changed in any way, it is read or refused in one line."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from bench.data.lists import read_list
from bench.errors import UserError
from bench.exchange.bundle import Refused, read_bundle
from bench.fetching.transport import DownloadError
from bench.fetching.unpack import extract_folder
from bench.images import ImageError, encode_png, read_image
from bench.store import read_record, read_table
from tests.shared import ROOT

TOKENS = [
    b"",
    b"\0",
    b"\n",
    b"\r",
    b'"',
    b",",
    b"../",
    b"=",
    b"nan",
    b"1e999",
    b"-1",
    b"\xff\xfe",
    b"{",
    b"[" * 5000,
    b"PK",
]


class Reader(NamedTuple):
    """A reader.

    Attributes:
        name: of the kind of file.
        good: a file that it reads.
        read: reads a file; the second argument is a folder to write to.
        refusals: the exceptions by which it refuses.
    """

    name: str
    good: bytes
    read: Callable[[Path, Path], object]
    refusals: tuple[type[Exception], ...]


def readers() -> list[Reader]:
    """Return all readers."""
    return [
        Reader("archive.zip", _archive(), lambda path, out: extract_folder(path, "a/", out), (DownloadError,)),
        Reader("bundle.zip", (ROOT / "tests/report/old/bundle_v1.zip").read_bytes(), _bundle, (Refused,)),
        Reader("image.png", _image(), lambda path, _: read_image(path, max_pixels=10**6), (ImageError,)),
        Reader("list.csv", _list(), lambda path, _: read_list(path), (UserError,)),
        Reader("run.json", _record(), lambda path, _: read_record(path, {"id": str, "spec": dict}), (UserError,)),
        Reader("table.parquet", _table(), lambda path, _: read_table(path), (UserError,)),
    ]


def _bundle(path: Path, _: Path) -> object:
    return read_bundle(path)


def _archive() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"a/{number}.txt", bytes(range(64)) * (number + 1))
    return sink.getvalue()


def _image() -> bytes:
    return encode_png(np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3), {"Comment": "x"})


def _list() -> bytes:
    return b'item,subject,role,image,sha256\na,A,reference,a.png,\n,"B, b",target,b.png,\n'


def _record() -> bytes:
    return json.dumps({"id": "x", "spec": {"a": [1, 2.5, None]}, "warnings": ["é"]}).encode()


def _table() -> bytes:
    sink = io.BytesIO()
    pd.DataFrame({"row": range(20), "item": ["a", "b"] * 10, "value": np.linspace(0, 1, 20)}).to_parquet(sink)
    return sink.getvalue()


def changed(good: bytes, rng: np.random.Generator) -> bytes:
    """Return a file with one to four changes: flipped bits, foreign bytes put in, parts cut out, doubled or cut off."""
    data = bytearray(good)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(len(data) + 1))
        end = min(len(data), at + int(rng.integers(1, 20)))
        match rng.integers(5):
            case 0 if at < len(data):
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                data[at:end] = TOKENS[rng.integers(len(TOKENS))]
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = data[at:end]
            case _:
                del data[len(data) - int(rng.integers(1, 20)) :]
    return bytes(data)


def attack(reader: Reader, case: int, folder: Path) -> str | None:
    """Read one changed file; return what is wrong with the answer, None where nothing is.

    Args:
        reader: of the file.
        case: number of the case, which decides the changes.
        folder: for the file; empty.
    """
    path = folder / reader.name
    path.write_bytes(changed(reader.good, np.random.default_rng([case, len(reader.name)])))
    try:
        reader.read(path, folder / "out")
    except reader.refusals as error:
        return None if len(str(error).splitlines()) <= 1 else f"{reader.name}, case {case}: several lines: {error!r}"
    # Anything else is what this looks for.
    except Exception as error:  # noqa: BLE001
        return f"{reader.name}, case {case}: {type(error).__name__}: {error}"
    return None
