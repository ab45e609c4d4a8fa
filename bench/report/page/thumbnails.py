"""Small copies of pictures, called by the sha256 of the original: made once, and no name tells whose face it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

from bench.console import progress
from bench.store import write_atomic

SIZE = 192  # pixels of the longer side
QUALITY = 82
FOLDER = "thumbnails"


def thumbnail_name(sha256: str) -> str:
    """The file name of the thumbnail of a picture with these bytes; "" for no picture.

    >>> thumbnail_name("ab" * 32)
    'abababababababababab.jpg'
    """
    return f"{sha256[:20]}.jpg" if sha256 else ""


def thumbnail(path: Path) -> bytes | None:
    """A JPEG of the picture that fits into `SIZE` x `SIZE` (LANCZOS), no metadata; None where it is unreadable."""
    from PIL import Image

    from bench.images import ImageError, read_image

    try:
        image = Image.fromarray(read_image(path))
    except ImageError:
        return None
    image.thumbnail((SIZE, SIZE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    data = BytesIO()
    image.save(data, "JPEG", quality=QUALITY, optimize=True)
    return data.getvalue()


def write_thumbnails(wanted: Mapping[str, Path], folder: Path, elsewhere: Iterable[Path] = ()) -> set[str]:
    """Writes those of the wanted thumbnails (name -> picture) that `folder` lacks; drops those that nobody wants.

    Args:
        wanted: thumbnails by name.
        folder: to write to.
        elsewhere: folders that may have some of them already.

    Returns:
        The names that are there in the end; a picture that cannot be read has none.
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


def _write(target: Path, picture: Path, places: Iterable[Path]) -> None:
    found = next((place / target.name for place in places if (place / target.name).exists()), None)
    data = found.read_bytes() if found else thumbnail(picture)
    if data is not None:
        write_atomic(target, data)
