"""Small copies of images, named by the sha256 of the original: made once, and no name says whose face it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from bench.console import progress
from bench.errors import UserError
from bench.hashing import sha256_bytes, sha256_path
from bench.store import read_json, write_atomic, write_json
from bench.threads import pool

if TYPE_CHECKING:
    from PIL.Image import Image

    from bench.images import Source

SIZE = 192
"""Pixels of the longer side on a page."""
QUALITY = 82
FOLDER = "thumbnails"
CHECKSUMS = "sha256.json"
"""In that folder: name -> sha256 of each thumbnail; one that is something else is made again."""


def thumbnail_name(sha256: str) -> str:
    """Return the file name of the thumbnail of an image with these bytes; "" for no image.

    >>> thumbnail_name("ab" * 32)
    'abababababababababab.jpg'
    """
    return f"{sha256[:20]}.jpg" if sha256 else ""


def thumbnail(source: Source, size: int = SIZE) -> Image | None:
    """Return the image fitted into `size` x `size` (LANCZOS), a smaller one enlarged; None where it cannot be read."""
    from PIL import Image

    from bench.images import ImageError, read_image

    try:
        image = Image.fromarray(read_image(source))
    except ImageError:
        return None
    longer = max(image.size)
    # A strip of one pixel by thousands keeps its pixel.
    fitted = (max(round(image.width / longer * size), 1), max(round(image.height / longer * size), 1))
    return image.resize(fitted, Image.Resampling.LANCZOS)


def write_thumbnails(wanted: Mapping[str, Source], folder: Path, elsewhere: Iterable[Path] = ()) -> set[str]:
    """Write those of the wanted thumbnails (name -> image) that `folder` lacks; delete those that nobody wants.

    Args:
        wanted: thumbnails by name.
        folder: to write to.
        elsewhere: folders that may have some of them already.

    Returns:
        The names that are there in the end; an image that cannot be read has none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    places = {place: checksums(place) for place in elsewhere}
    whole = _whole(folder)
    for path in folder.glob("*.jpg"):
        if path.name not in wanted or path.name not in whole:
            path.unlink()
    missing = {name: path for name, path in wanted.items() if name not in whole}
    with pool(2) as threads, progress(len(missing), "thumbnails") as bar:
        made = threads.map(lambda name: _write(folder / name, missing[name], places), missing)
        for _ in made:
            bar.update()
    there = {path.name: sha256_path(path) for path in sorted(folder.glob("*.jpg"))}
    if not there:
        (folder / CHECKSUMS).unlink(missing_ok=True)
    elif there != checksums(folder):
        write_json(folder / CHECKSUMS, there)
    return {*there}


def checksums(folder: Path) -> dict[str, str]:
    """Return name -> sha256 of the thumbnails of a folder; none where an older version made them."""
    try:
        return dict(read_json(folder / CHECKSUMS))
    except (UserError, TypeError, ValueError):
        return {}


def _whole(folder: Path) -> set[str]:
    """Return the thumbnails that are what was written."""
    known = checksums(folder)
    return {path.name for path in folder.glob("*.jpg") if known.get(path.name) == sha256_path(path)}


def _write(target: Path, image: Source, places: Mapping[Path, Mapping[str, str]]) -> None:
    found = next(_copies(target.name, places), None)
    data = found or _jpeg(thumbnail(image))
    if data is not None:
        write_atomic(target, data)


def _copies(name: str, places: Mapping[Path, Mapping[str, str]]) -> Iterator[bytes]:
    """Yield the whole copies of a thumbnail that other folders have."""
    for place, known in places.items():
        if name in known and (place / name).is_file():
            data = (place / name).read_bytes()
            if sha256_bytes(data) == known[name]:
                yield data


def _jpeg(image: Image | None) -> bytes | None:
    """Return the image as JPEG without metadata."""
    if image is None:
        return None
    data = BytesIO()
    image.save(data, "JPEG", quality=QUALITY, optimize=True)
    return data.getvalue()
