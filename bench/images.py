"""Images in and out: the one way in which a file becomes pixels, and the one in which a sample becomes a PNG.

Reading is strict, whatever other packages set on Pillow's modules: a truncated file is an error, never an image with
a grey lower half, and a header that claims more pixels than allowed is refused before memory is taken. Colour profiles
are not applied (no recogniser's training pipeline does), nor is the gamma of a PNG.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import stat
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pil
from PIL import ImageFile
from PIL.PngImagePlugin import PngInfo

from bench.errors import UserError
from bench.hashing import sha256_bytes
from bench.store import write_atomic

Image = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""


class Part(NamedTuple):
    """A part of a file that is an image file itself, such as a member of a tar.

    Attributes:
        path: of the file.
        offset: of the part's first byte.
        length: its bytes.
    """

    path: Path
    offset: int
    length: int

    def __str__(self) -> str:
        """Return what a message calls it."""
        return f"{self.path}, bytes {self.offset} to {self.offset + self.length - 1},"


Source = Path | Part
"""Where the bytes of an image are."""

LIMIT = "IDBENCH_MAX_PIXELS"
"""The environment's name for another limit than the one below."""


def _limit() -> int:
    """Return the pixels that an image may have; a header that claims more is refused before memory is taken.

    Raises:
        UserError: the environment says something else than a number.
    """
    text = os.environ.get(LIMIT) or "100000000"
    if not re.fullmatch("[1-9][0-9]{0,17}", text):
        raise UserError(f"{LIMIT}={text} in the environment is not a number of pixels, such as 200000000")
    return int(text)


MAX_PIXELS = _limit()
MAX_BYTES = 2**30
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "MPO", "JPEG2000", "AVIF", "PPM")
"""The formats that are tried; others (PostScript among them, which runs a program) are not an image here."""

_ORIENTATION = 0x0112
_TURNS = {
    2: Pil.Transpose.FLIP_LEFT_RIGHT,
    3: Pil.Transpose.ROTATE_180,
    4: Pil.Transpose.FLIP_TOP_BOTTOM,
    5: Pil.Transpose.TRANSPOSE,
    6: Pil.Transpose.ROTATE_270,
    7: Pil.Transpose.TRANSVERSE,
    8: Pil.Transpose.ROTATE_90,
}
_EIGHT_OF_SIXTEEN = ((np.arange(2**16, dtype=np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


class ImageError(Exception):
    """An image that cannot be used.

    Its `reason` is a short text that begins with one of: no such file, empty file, not a file, not an image, truncated,
    broken, too large, unsupported, unreadable.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ChangedImageError(UserError):
    """A file is not the image that it was when the run was planned or the sample made: nothing goes on with it."""


class MissingImageError(ImageError):
    """There is no file of that name."""

    def __init__(self) -> None:
        super().__init__("no such file")


def read_image(source: Source, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Read an image file.

    Args:
        source: a regular file, or a part of one; devices, pipes and folders are refused without being waited for.
        max_pixels: more than this in the header is an error.

    Returns:
        (H, W, 3) uint8 RGB, as `decode` makes it.

    Raises:
        ImageError: with the reason why the file is not an image.
    """
    return decode(read_bytes(source), max_pixels=max_pixels)


def read_known_image(source: Source, sha256: str) -> Image:
    """Read an image file whose bytes are known: what is measured is what was planned or made.

    Args:
        source: the file, or the part of one.
        sha256: of its bytes.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ImageError: the bytes are those, and not an image.
        ChangedImageError: the file is gone or holds other bytes.
    """
    try:
        data = read_bytes(source)
    except ImageError as error:
        raise ChangedImageError(f"{source} was an image when the run was planned: {error}; {_AGAIN}") from error
    if sha256_bytes(data) != sha256:
        raise ChangedImageError(f"{source} is not the image that it was when the run was planned; {_AGAIN}")
    return decode(data)


_AGAIN = "run the same command again: it works with the files as they are now"


def image_size(path: Path, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return the width and height of an image file as `read_image` would return it, from its header alone.

    Raises:
        ImageError: no header of a known format, or more than `max_pixels` pixels.
    """
    return header_size(read_bytes(path), max_pixels=max_pixels)


def read_bytes(source: Source) -> bytes:
    """Return the content of a regular file, or of a part, of at most `MAX_BYTES`; never blocks on a pipe or a device.

    Raises:
        ImageError: there is none, it is something else, it is empty, it ends early or it cannot be read.
    """
    path, offset, length = source if isinstance(source, Part) else (source, 0, None)
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            _check_regular(os.fstat(handle), length)
            with open(handle, "rb", closefd=False) as file:
                file.seek(offset)
                data = file.read(length)
        finally:
            os.close(handle)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingImageError from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ImageError(f"unreadable: {(getattr(error, 'strerror', None) or str(error)).lower()}") from error
    if length is not None and len(data) != length:
        raise ImageError("truncated")
    return data


def _check_regular(status: os.stat_result, length: int | None) -> None:
    if not stat.S_ISREG(status.st_mode):
        kinds = {stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
        raise ImageError(f"not a file: {kinds.get(stat.S_IFMT(status.st_mode), 'special file')}")
    if status.st_size == 0:
        raise ImageError("empty file")
    size = status.st_size if length is None else length
    if size > MAX_BYTES:
        raise ImageError(f"too large: {size} bytes")


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Turn the bytes of an image file into pixels.

    The first frame of several; turned upright as EXIF says; alpha, alpha palettes and colour keys laid over white (as
    a page shows them); CMYK by Pillow's plain formula (Adobe's inverted JPEGs included); 16-bit grey scaled by
    255/65535 and rounded, 16-bit colour by its high byte; 32-bit integers as 16-bit grey; floats as 0 to 1 where the
    largest is at most 1, else as 0 to 255. Integers and floats outside these ranges are refused, not clipped.

    Returns:
        (H, W, 3) uint8 RGB, writable.

    Raises:
        ImageError: with the reason why the bytes are not an image.
    """
    with _strict(), _reasons():
        opened = _open(data, max_pixels)
        _check_sums(data)
        opened.load()
        turn = _TURNS.get(_orientation(opened))
        upright = _rgb(opened) if turn is None else _rgb(opened).transpose(turn)
        return np.array(upright, dtype=np.uint8)


def header_size(data: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return the width and height that `decode` would return, from the header alone.

    Raises:
        ImageError: no header of a known format, or more than `max_pixels` pixels.
    """
    with _strict(), _reasons():
        opened = _open(data, max_pixels)
        width, height = opened.size
        # Pillow's TIFF reader turns by itself.
        turned = opened.format != "TIFF" and _orientation(opened) >= 5
        return (height, width) if turned else (width, height)


def _open(data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    """Open as Pillow's `open` does, which hides why a header is broken and depends on a global limit."""
    if not data:
        raise ImageError("empty file")
    # The common formats, then all: that takes a while the first time.
    for load in (Pil.preinit, Pil.init):
        load()
        for name in FORMATS:
            factory, accept = Pil.OPEN.get(name, (None, None))
            if factory and accept and accept(data[:16]) is True:
                return _checked(factory(io.BytesIO(data), ""), max_pixels)
    # The container of HEIC, which telephones write, and of films.
    if data[4:8] == b"ftyp":
        raise ImageError("unsupported: HEIF; convert it to JPEG or PNG")
    raise ImageError("not an image")


def _checked(opened: ImageFile.ImageFile, max_pixels: int) -> ImageFile.ImageFile:
    width, height = opened.size
    if width * height > max_pixels:
        needed = f"; the limit is {max_pixels} pixels: make it smaller, or set {LIMIT}={width * height}"
        raise ImageError(f"too large: {width}x{height} pixels{needed}")
    if width * height == 0:
        raise ImageError(f"broken: {width}x{height} pixels")
    return opened


def _check_sums(data: bytes) -> None:
    """Check the checksums of a PNG's pixels, which Pillow skips while it reads them."""
    if data.startswith(b"\x89PNG"):
        _open(data, 2**62).verify()


def _orientation(opened: ImageFile.ImageFile) -> int:
    """Return EXIF's orientation, 1 where there is none or where the EXIF data are damaged."""
    try:
        # A PNG's own method would read all its pixels.
        value = Pil.Image.getexif(opened).get(_ORIENTATION)
    except (SyntaxError, ValueError, KeyError, IndexError, TypeError, OSError, struct.error):
        return 1
    return value if value in _TURNS else 1


def _rgb(opened: Pil.Image) -> Pil.Image:
    if opened.mode.startswith("I;16"):
        return _grey(_EIGHT_OF_SIXTEEN[np.asarray(opened)])
    if opened.mode == "I":
        return _grey(_EIGHT_OF_SIXTEEN[_within(np.asarray(opened), 65535)])
    if opened.mode == "F":
        values = _within(np.asarray(opened), 255)
        return _grey(np.rint(values * (255 if values.max() <= 1 else 1)).astype(np.uint8))
    if opened.has_transparency_data:
        rgba = opened.convert("RGBA")
        return Pil.alpha_composite(Pil.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return opened.convert("RGB")


def _grey(values: Image) -> Pil.Image:
    return Pil.fromarray(values).convert("RGB")


def _within(values: NDArray[np.generic], top: int) -> NDArray[np.generic]:
    # Also where they are not a number.
    if not (values.min() >= 0 and values.max() <= top):
        raise ImageError(f"unsupported: values from {values.min()} to {values.max()}, not from 0 to {top}")
    return values


@contextlib.contextmanager
def _reasons() -> Iterator[None]:
    """Turn whatever decoders raise on foreign bytes into `ImageError`."""
    try:
        yield
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(_reason(error)) from error


def _reason(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, (Pil.DecompressionBombError, Pil.DecompressionBombWarning, MemoryError)):
        return f"too large: {text}"
    if isinstance(error.__cause__ or error, _ENDS_EARLY) or re.search(_SAYS_ENDS_EARLY, text):
        return "truncated"
    return f"broken: {text.removeprefix('broken ')}"


# What Pillow meets where it reads past the end.
_ENDS_EARLY = (EOFError, IndexError, struct.error)
_SAYS_ENDS_EARLY = "(?i)truncated|only got|EOF|not enough image data|incomplete checksum"

_lock = threading.Lock()
_readers = 0
_before: tuple[bool, int | None] = (False, None)


@contextlib.contextmanager
def _strict() -> Iterator[None]:
    """Hold Pillow's two global switches still while at least one thread reads."""
    global _readers, _before
    with _lock:
        if _readers == 0:
            _before = (ImageFile.LOAD_TRUNCATED_IMAGES, Pil.MAX_IMAGE_PIXELS)
            ImageFile.LOAD_TRUNCATED_IMAGES, Pil.MAX_IMAGE_PIXELS = False, MAX_PIXELS
        _readers += 1
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if _readers == 0:
                ImageFile.LOAD_TRUNCATED_IMAGES, Pil.MAX_IMAGE_PIXELS = _before


def encode_png(image: Image, metadata: Mapping[str, str]) -> bytes:
    """Return a PNG of `image`; the same image and texts give the same bytes under the same Pillow.

    Adaptive filters with run-length coding: on 512x512 photographs a quarter of the time of zlib's level 6 for 5 %
    more bytes.

    Args:
        image: (H, W, 3) uint8 RGB.
        metadata: keyword (1 to 79 Latin-1 characters) -> text, stored in the order of the keywords.

    Raises:
        ValueError: another shape or type.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"an image must be (H, W, 3) uint8, not {image.shape} {image.dtype}")
    texts = PngInfo()
    sink = io.BytesIO()
    for key in sorted(metadata):
        texts.add_text(key, metadata[key])
    Pil.fromarray(np.ascontiguousarray(image)).save(sink, "PNG", pnginfo=texts, compress_type=zlib.Z_RLE)
    return sink.getvalue()


def write_png(image: Image, path: Path, metadata: Mapping[str, str]) -> None:
    """Write `encode_png` to a file, atomically.

    Raises:
        ValueError: `image` is not (H, W, 3) uint8.
        UserError: the disk is full or the folder cannot be written.
    """
    write_atomic(path, encode_png(image, metadata))
