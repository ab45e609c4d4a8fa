"""Face sets in the formats of others: folders, WebDataset tars, RecordIO, Parquet for `datasets`."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from bench.errors import UserError, one_line
from bench.facesets import recordio
from bench.facesets.store import RECORD, SIDE, SUFFIX, FaceSet, Row, close, manifest, shard_file, write_shard
from bench.images import ImageError, header_size, read_bytes
from bench.store import locked, sweep

Format = Literal["folder", "webdataset", "recordio", "parquet"]
Items = Iterator[tuple[int, bytes]]
"""(identity, encoded crop)."""
SHARD = 4096
"""Images in a shard of an imported set."""
LARGEST = 2**31 - 1
"""The largest label; more do not fit into the table of a set."""
LARGEST_IMAGE = 2**24
"""Bytes of an image in a tar; a crop without compression has 40,000."""
LONGEST_NUMBER = 100
"""Bytes of a label in a tar."""
T = TypeVar("T")
IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_ROWS = 1000


def export(faces: FaceSet, kind: Format, folder: Path) -> None:
    """Write a face set in a format of others; memory does not grow with its size.

    Args:
        faces: the set.
        kind: the format.
        folder: where to; it must be new or empty.

    Raises:
        UserError: there is something in `folder`, or no such format.
    """
    if kind not in get_args(Format):
        raise UserError(f"format {kind!r}; allowed are {', '.join(get_args(Format))}")
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty; give to=DIR of a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    writers: dict[Format, Callable[[FaceSet, Path], None]] = {
        "folder": _to_folder,
        "webdataset": _to_tars,
        "recordio": lambda faces, folder: recordio.write(folder, faces.items()),
        "parquet": _to_parquet,
    }
    writers[kind](faces, folder)


def _to_folder(faces: FaceSet, folder: Path) -> None:
    for number, (identity, data) in enumerate(faces.items()):
        path = folder / f"{identity:08d}" / f"{number:08d}.{SUFFIX[data[:2]]}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)


def _to_tars(faces: FaceSet, folder: Path) -> None:
    for shard in range(faces.record["shards"]):
        shutil.copyfile(shard_file(faces.folder, shard), folder / f"{shard:05d}.tar")


def _to_parquet(faces: FaceSet, folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    features = {"image": {"_type": "Image"}, "label": {"dtype": "int64", "_type": "Value"}}
    known = {"huggingface": json.dumps({"info": {"features": features}})}
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", image), ("label", pa.int64())], metadata=known)
    with pq.ParquetWriter(folder / "train.parquet", schema) as writer:
        for rows in _batches(faces.items(), _ROWS):
            images = [{"bytes": data, "path": None} for _, data in rows]
            labels = [identity for identity, _ in rows]
            writer.write_table(pa.table([pa.array(images, image), pa.array(labels, pa.int64())], schema=schema))


def read(source: Path) -> Items:
    """Yield the images of a set of others; a folder's kind is known by what lies in it.

    Args:
        source: a .rec file, or a folder: of one folder an identity, of WebDataset tars, of Parquet files, or with
            `train.rec`.

    Raises:
        UserError: nothing of that kind is there, or it is damaged.
    """
    if source.suffix == ".rec" or (source / "train.rec").is_file():
        return recordio.images(source if source.suffix == ".rec" else source / "train.rec")
    tars, tables = sorted(source.glob("*.tar")), sorted(source.glob("*.parquet"))
    if tars:
        return _from_tars(tars)
    if tables:
        return _from_parquet(tables)
    people = sorted(path for path in source.glob("*") if path.is_dir())
    if not people:
        raise UserError(f"no face set in {source}: no train.rec, *.tar, *.parquet, nor one folder an identity")
    return _from_folders(people)


def _from_folders(people: list[Path]) -> Items:
    for identity, person in enumerate(people):
        files = sorted(path for path in person.iterdir() if path.suffix.lower() in IMAGES)
        for path in files:
            try:
                yield identity, read_bytes(path)
            except ImageError as error:
                raise UserError(f"{path}: {error.reason}") from error


def _from_tars(tars: list[Path]) -> Items:
    for path in tars:
        try:
            # Not a compressed one, which could unfold to any size.
            with tarfile.open(path, "r:") as tar:
                yield from _from_tar(tar, path)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise UserError(f"{path} is a damaged tar: {one_line(error)}") from error


def _from_tar(tar: tarfile.TarFile, path: Path) -> Items:
    """Pairs of an image and its `.cls`, which lie next to each other in either order."""
    image: dict[str, bytes] = {}
    label: dict[str, bytes] = {}
    for member in tar:
        stem, _, suffix = member.name.partition(".")
        # A few bytes of a sparse file may claim any size.
        if member.issparse() or member.size > LARGEST_IMAGE:
            raise UserError(f"{path}: {member.name[:100]!r} is sparse or has more than {LARGEST_IMAGE >> 20} MiB")
        held = tar.extractfile(member)
        if held is None:
            continue
        (label if suffix == "cls" else image)[stem] = held.read()
        if stem in image and stem in label:
            yield _number(label.pop(stem), path, stem), image.pop(stem)
    if image or label:
        raise UserError(f"{path}: {next(iter(image or label))} has no {'.cls' if image else 'image'}")


def _number(text: bytes, path: Path, stem: str) -> int:
    if not text.strip().isdigit() or len(text) > LONGEST_NUMBER:
        raise UserError(f"{path}: {stem}.cls holds {text[:20]!r}, not a whole number")
    return int(text)


def _held(image: dict[str, Any] | None, path: Path) -> bytes:
    if image is None or image.get("bytes") is None:
        raise UserError(f"{path}: a row has no image")
    return bytes(image["bytes"])


def _from_parquet(tables: list[Path]) -> Items:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in tables:
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_ROWS, columns=["image", "label"]):
                    for image, label in zip(batch["image"], batch["label"], strict=True):
                        yield label.as_py(), _held(image.as_py(), path)
        # A name of a column may be no text.
        except (pa.ArrowException, OSError, KeyError, UnicodeDecodeError) as error:
            raise UserError(f"{path} is not a Parquet file with `image` and `label`: {one_line(error)}") from error


def take_in(items: Items, folder: Path, record: dict[str, object]) -> None:
    """Write a set of others as one of ours, without changing a crop; goes on where it was stopped.

    Args:
        items: (label, encoded image); labels may be any whole numbers from 0, in any order.
        folder: of the new set.
        record: what `faceset.json` says of its origin.

    Raises:
        UserError: an image is not 112 x 112 JPEG or PNG, or its label is out of range; the message has its number.
    """
    with locked(folder):
        if (folder / RECORD).exists():
            return
        sweep(folder)
        shard = -1
        for shard, part in enumerate(_batches(enumerate(items), SHARD)):
            if not manifest(folder).has(shard):
                write_shard(folder, shard, (_row(number, identity, data) for number, (identity, data) in part))
        if shard < 0:
            raise UserError("the set holds no image")
        close(folder, shard + 1, record)


def _batches(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while part := list(islice(items, size)):
        yield part


def _row(number: int, identity: int, data: bytes) -> Row:
    if not isinstance(identity, int) or not 0 <= identity <= LARGEST:
        raise UserError(f"image {number} of the set has the label {identity!r}; labels are whole numbers to {LARGEST}")
    try:
        width, height = header_size(data)
    except ImageError as error:
        raise UserError(f"image {number} of the set (identity {identity}) is {error.reason}") from error
    if (width, height) != (SIDE, SIDE) or data[:2] not in SUFFIX:
        raise UserError(
            f"image {number} of the set (identity {identity}) has {width} x {height} pixels; crops are JPEG or PNG of "
            f"{SIDE} x {SIDE}, aligned; make them with `python -m bench faceset make`"
        )
    return Row(identity, number, crop=data)
