"""Small copies of images, named by the sha256 of the original: made once, and no name says whose face it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from bench.console import progress
from bench.store import write_atomic

if TYPE_CHECKING:
    from PIL.Image import Image

SIZE = 192
"""Pixels of the longer side on a page."""
QUALITY = 82
FOLDER = "thumbnails"


def thumbnail_name(sha256: str) -> str:
    """Return the file name of the thumbnail of an image with these bytes; "" for no image.

    >>> thumbnail_name("ab" * 32)
    'abababababababababab.jpg'
    """
    return f"{sha256[:20]}.jpg" if sha256 else ""


def thumbnail(path: Path, size: int = SIZE) -> Image | None:
    """Return the image fitted into `size` x `size` (LANCZOS), a smaller one enlarged; None where it cannot be read."""
    from PIL import Image

    from bench.images import ImageError, read_image

    try:
        image = Image.fromarray(read_image(path))
    except ImageError:
        return None
    longer = max(image.size)
    # A strip of one pixel by thousands keeps its pixel.
    fitted = (max(round(image.width / longer * size), 1), max(round(image.height / longer * size), 1))
    return image.resize(fitted, Image.Resampling.LANCZOS)


def write_thumbnails(wanted: Mapping[str, Path], folder: Path, elsewhere: Iterable[Path] = ()) -> set[str]:
    """Write those of the wanted thumbnails (name -> image) that `folder` lacks; delete those that nobody wants.

    Args:
        wanted: thumbnails by name.
        folder: to write to.
        elsewhere: folders that may have some of them already.

    Returns:
        The names that are there in the end; an image that cannot be read has none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    places = [place for place in elsewhere if place.is_dir()]
    present = {path.name for path in folder.glob("*.jpg")}
    for name in present - wanted.keys():
        (folder / name).unlink()
    missing = {name: path for name, path in wanted.items() if name not in present}
    with ThreadPoolExecutor(2) as pool, progress(len(missing), "thumbnails") as bar:
        made = pool.map(lambda name: _write(folder / name, missing[name], places), missing)
        for _ in made:
            bar.update()
    return {path.name for path in folder.glob("*.jpg")}


def _write(target: Path, image: Path, places: Iterable[Path]) -> None:
    found = next((place / target.name for place in places if (place / target.name).exists()), None)
    data = found.read_bytes() if found else _jpeg(thumbnail(image))
    if data is not None:
        write_atomic(target, data)


def _jpeg(image: Image | None) -> bytes | None:
    """Return the image as JPEG without metadata."""
    if image is None:
        return None
    data = BytesIO()
    image.save(data, "JPEG", quality=QUALITY, optimize=True)
    return data.getvalue()
