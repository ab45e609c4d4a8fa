"""Readers of foreign files, each with a good file: changed in any way, it is read or refused in one line."""

from __future__ import annotations

import io
import json
import lzma
import math
import pickle
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from bench.data.lists import read_list
from bench.errors import UserError
from bench.exchange.bundle import Refused, read_bundle
from bench.facesets import recordio
from bench.facesets.formats import LARGEST, _row, read
from bench.facesets.store import SIDE
from bench.fetching.transport import DownloadError
from bench.fetching.unpack import extract_folder
from bench.images import ImageError, encode_png, header_size, read_image
from bench.recognition.pairs import open_pairs
from bench.report.golden import COUNTS, changes, judge, read_golden
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
        Reader("pairs.bin", _pairs(), _read_pairs, (UserError,)),
        Reader("arrays.bin", _pairs_of_arrays(), _read_pairs, (UserError,)),
        Reader("pairs.xz", lzma.compress(_pairs()), _read_pairs, (UserError,)),
        Reader("pairs.csv", b"first,second,same\na.png,b.png,1\n", _read_pairs, (UserError,)),
        Reader("train.rec", _records(), _read_set, (UserError,)),
        Reader("set.tar", _tar(), _read_set_in_folder, (UserError,)),
        Reader("set.parquet", _parquet_set(), _read_set_in_folder, (UserError,)),
        Reader("golden.json", _golden(), _read_golden, (UserError,)),
    ]


def _bundle(path: Path, _: Path) -> object:
    return read_bundle(path)


def _read_pairs(path: Path, _: Path) -> object:
    pairs = open_pairs(path)
    assert len(pairs.images) == 2 * len(pairs.same) > 0
    assert all(isinstance(image, (bytes, Path)) for image in pairs.images)
    return pairs


def _read_set(path: Path, _: Path) -> object:
    """Read a set as `faceset import` does; what it would keep is in its range."""
    rows = [_row(number, *item) for number, item in enumerate(read(path))]
    assert all(0 <= row.identity <= LARGEST and header_size(row.crop) == (SIDE, SIDE) for row in rows)
    return rows


def _read_set_in_folder(path: Path, out: Path) -> object:
    return _read_set(path.parent, out)


def _read_golden(path: Path, _: Path) -> object:
    """Judge by a file as `check` does; its counts are counts, its numbers finite."""
    golden = read_golden(path)
    for number in golden.scores.values():
        values = [value for value in number.model_dump().values() if value is not None]
        assert all(math.isfinite(value) for value in values)
        assert all(getattr(number, count) is None or getattr(number, count) >= 0 for count in COUNTS)
    assert all(row.verdict.is_good for row in judge(golden, golden, golden.tolerances))
    return changes(golden, golden)


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


def _crops() -> list[bytes]:
    return [encode_png(np.full((SIDE, SIDE, 3), value, np.uint8), {}) for value in (0, 90, 200, 255)]


def _pairs() -> bytes:
    return pickle.dumps((_crops(), [True, False]), protocol=2)


def _pairs_of_arrays() -> bytes:
    return pickle.dumps(([np.frombuffer(crop, np.uint8) for crop in _crops()], np.array([True, False])), protocol=4)


def _records() -> bytes:
    with tempfile.TemporaryDirectory() as place:
        recordio.write(Path(place), [(number // 2, crop) for number, crop in enumerate(_crops())])
        return (Path(place) / "train.rec").read_bytes()


def _tar() -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", bufsize=512) as tar:
        for number, crop in enumerate(_crops()):
            for suffix, data in (("png", crop), ("cls", b"%d" % (number // 2))):
                member = tarfile.TarInfo(f"{number:08d}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return sink.getvalue()


def _parquet_set() -> bytes:
    sink = io.BytesIO()
    images = [{"bytes": crop, "path": None} for crop in _crops()]
    pd.DataFrame({"image": images, "label": [0, 0, 1, 1]}).to_parquet(sink)
    return sink.getvalue()


def _golden() -> bytes:
    number = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 8, "n_failed": 1, "n_items": 4}
    content = {
        "format": 1,
        "identity": {"protocol": {"seed": 0}, "dataset": {"content": "ab" * 32}, "metrics": {"fid": 3}},
        "made": {"processor": "x", "device": "cpu", "threads": 1, "platform": "y"},
        "tolerances": {"measured": "here", "default": {"absolute": 1e-6}, "given": {"fid": {"relative": 0.1}}},
        "scores": {"fid[inception].distance": number, "id_similarity[arcface].mean": {"value": None}},
    }
    return json.dumps(content, indent=1).encode()


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
