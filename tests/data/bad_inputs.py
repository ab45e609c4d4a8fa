"""A folder of awkward photos: what users really have, and what an attacker would send."""

import os
import struct
import zlib
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from tests.shared import SHARED

PORTRAITS = (SHARED / "photos/scarlett/scarlett_0.jpg", SHARED / "photos/newton/newton_0.jpg")


class Expected(NamedTuple):
    """What must become of one photo.

    Attributes:
        status: of its row in the table of photos.
        reason: how the row's reason begins.
        decode: how the reason of `read_image` begins; "" where it gives an image.
        face: whether the image shows a face: None where it depends on the portraits being here.
    """

    status: str = "ok"
    reason: str = ""
    decode: str = ""
    face: bool | None = None


@lru_cache
def portrait(which: int = 0, side: int = 256) -> Image.Image:
    """A real face where the shared photos are here, else an image with as much detail."""
    if PORTRAITS[which].exists():
        return Image.open(PORTRAITS[which]).convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
    noise = np.random.default_rng(which).integers(0, 256, (side // 8, side // 8), dtype=np.uint8)
    return Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC).convert("RGB")


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    sink = BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG whose header claims any size, over a few bytes of pixels."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
            chunk(b"IDAT", zlib.compress(bytes(1000))),
            chunk(b"IEND", b""),
        ]
    )


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]


def two_faces() -> Image.Image:
    both = Image.new("RGB", (512, 256))
    both.paste(portrait(0), (0, 0))
    both.paste(portrait(1), (256, 0))
    return both


def landscape() -> Image.Image:
    sky = np.linspace([90, 140, 220], [60, 110, 40], 240).astype(np.uint8)
    return Image.fromarray(np.repeat(sky[:, None], 320, axis=1))


def palette() -> Image.Image:
    return portrait().quantize(255)


def good_files() -> dict[str, bytes]:
    """Photos that are fine, however they are stored or called."""
    face, jpeg = portrait(), encoded(portrait(), "JPEG", quality=95)
    frames = [face.rotate(angle) for angle in (0, 90)]
    grey16 = Image.fromarray(np.asarray(face.convert("L")).astype(np.uint16) * 257)
    cut_out = face.copy()
    cut_out.putalpha(200)
    return {
        "good.jpg": jpeg,
        "cmyk.jpg": encoded(face.convert("CMYK"), "JPEG", quality=95),
        "rotated.jpg": encoded(face.rotate(90, expand=True), "JPEG", quality=95, exif=exif(6)),
        "progressive.jpeg": encoded(face, "JPEG", progressive=True, icc_profile=profile()),
        "grey.jpg": encoded(face.convert("L"), "JPEG", quality=95),
        "sixteen.png": encoded(grey16, "PNG"),
        "palette.png": encoded(palette(), "PNG", transparency=0),
        "rgba.png": encoded(cut_out, "PNG"),
        "grey-alpha.png": encoded(cut_out.convert("LA"), "PNG"),
        "animated.gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "photo.webp": encoded(face, "WEBP", quality=90),
        "photo.tiff": encoded(face, "TIFF", compression="tiff_lzw"),
        "photo.bmp": encoded(face, "BMP"),
        "two_faces.png": encoded(two_faces(), "PNG"),
        "no.extension.in.stem.JPG": jpeg,
        "new\nline.jpg": jpeg,
        "quotes \"and' commas, too.jpg": jpeg,
        "<img src=x onerror=alert(1)>&amp;.jpg": jpeg,
        "=1+1;%2e%2e$HOME`id`.jpg": jpeg,
        "-rf.jpg": jpeg,
        "back\\slash.jpg": jpeg,
        "שלום \u202etxt.jpg": jpeg,
        "n" * 200 + ".jpg": jpeg,
        "Case.jpg": jpeg,
        "case.jpg": jpeg,
        "twins/a.jpg": encoded(portrait(1), "JPEG"),
        "twins/b.jpg": encoded(face, "JPEG", quality=94),
    }


def profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def faceless_files() -> dict[str, bytes]:
    """Images without a face."""
    return {
        "landscape.jpg": encoded(landscape(), "JPEG"),
        "one_pixel.png": encoded(Image.new("RGB", (1, 1), "red"), "PNG"),
        "one_bit.png": encoded(Image.fromarray(np.eye(64, dtype=bool)), "PNG"),
        "wide.png": encoded(Image.new("L", (60000, 1)), "PNG"),
    }


def bad_files() -> dict[str, tuple[bytes, Expected]]:
    """Files that are no image, and how that is found out."""
    jpeg, png = encoded(portrait(), "JPEG"), encoded(portrait(), "PNG")
    not_a_number = encoded(Image.fromarray(np.full((8, 8), np.nan, np.float32)), "TIFF")
    html = b"<!DOCTYPE html><html><body>Too many requests</body></html>"
    return {
        "empty.jpg": (b"", Expected("undecodable", "empty file", "empty file")),
        "truncated.jpg": (jpeg[: len(jpeg) // 2], Expected(decode="truncated")),
        "truncated.png": (png[: len(png) // 2], Expected(decode="truncated")),
        "stub.jpg": (jpeg[:30], Expected("undecodable", "truncated", "truncated")),
        "text.jpg": (b"this is no picture\n" * 20, Expected("undecodable", "not an image", "not an image")),
        "html.png": (html, Expected("undecodable", "not an image", "not an image")),
        "telephone.heic": (
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
            Expected("undecodable", "unsupported: HEIF", "unsupp"),
        ),
        "postscript.jpg": (b"%!PS-Adobe-3.0\n", Expected("undecodable", "not an image", "not an image")),
        "bomb.png": (png_header(60000, 60000), Expected("undecodable", "too large: 60000x60000", "too large: 60000x6")),
        "bad_pixels.png": (flipped(png, len(png) // 2), Expected(decode="broken")),
        "bad_header.png": (flipped(png, 17), Expected("undecodable", "broken", "broken")),
        "nan.tiff": (not_a_number, Expected(decode="unsupported")),
    }


def make_bad_folder(path: Path) -> dict[str, Expected]:
    """Fills a new folder; returns what must become of every photo, by its place in the folder."""
    path.mkdir(parents=True, exist_ok=True)
    portraits = all(p.exists() for p in PORTRAITS)
    good = {name: (data, Expected(face=portraits)) for name, data in good_files().items()}
    faceless = {name: (data, Expected(face=False)) for name, data in faceless_files().items()}
    files = good | faceless | bad_files()
    for name, (data, _) in files.items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_bytes(data)
    expected = {name: outcome for name, (_, outcome) in files.items()}
    return expected | special_files(path) | copies(path) | passed_over(path)


def special_files(path: Path) -> dict[str, Expected]:
    """Links, folders, pipes, and what the user may not read."""
    outside = path.parent / f"outside {path.name}.jpg"
    outside.write_bytes(encoded(portrait(), "JPEG"))
    (path / "leaves.jpg").symlink_to(outside)
    (path / "stays.jpg").symlink_to(path / "good.jpg")
    (path / "dangling.jpg").symlink_to(path / "nothing.jpg")
    (path / "loop.jpg").symlink_to(path / "loop.jpg")
    (path / "folder.jpg").mkdir()
    os.mkfifo(path / "pipe.jpg")
    (path / os.fsdecode(b"caf\xe9.jpg")).write_bytes(encoded(portrait(), "JPEG"))
    expected = {
        "leaves.jpg": Expected("refused", "lies outside the root"),
        "stays.jpg": Expected(face=all(p.exists() for p in PORTRAITS)),
        "dangling.jpg": Expected("missing", "no such file", "no such file"),
        "loop.jpg": Expected("undecodable", "unreadable", "unreadable"),
        "folder.jpg": Expected("undecodable", "not a file: folder", "not a file: folder"),
        "pipe.jpg": Expected("undecodable", "not a file: pipe", "not a file: pipe"),
        r"caf\xe9.jpg": Expected("missing", "no such file (a name", "no such file"),
    }
    if os.geteuid() != 0:  # root reads everything
        (path / "locked.jpg").write_bytes(b"secret")
        (path / "locked.jpg").chmod(0)
        expected["locked.jpg"] = Expected("undecodable", "unreadable: permission denied", "unreadable: permission")
    return expected


def copies(path: Path) -> dict[str, Expected]:
    """A subject whose second photo is the first once more."""
    (path / "copied").mkdir()
    for name in ("1.jpg", "2.jpg"):
        (path / "copied" / name).write_bytes(encoded(portrait(1), "JPEG"))
    face = PORTRAITS[1].exists()
    return {"copied/1.jpg": Expected(face=face), "copied/2.jpg": Expected("refused", "the same bytes as a reference")}


def passed_over(path: Path) -> dict[str, Expected]:
    """What isn't taken for a photo at all."""
    for name in (".hidden.jpg", "._resource.jpg", "Thumbs.db", "notes.txt"):
        (path / name).write_bytes(b"x")
    (path / "empty subject").mkdir()
    (path / ".cache").mkdir()
    (path / ".cache" / "x.jpg").write_bytes(b"x")
    return {}


def make_bad_list(root: Path, out: Path) -> dict[str, Expected]:
    """Writes a list whose images, below `root` as `make_bad_folder` left it, can't all be used."""
    secret = root.parent / "secret.jpg"
    secret.write_bytes(encoded(portrait(), "JPEG"))
    expected = {
        "good.jpg": Expected(),
        f"../{secret.name}": Expected("refused", "lies outside the root"),
        f"twins/../../{secret.name}": Expected("refused", "lies outside the root"),
        str(secret): Expected("refused", "lies outside the root"),
        "leaves.jpg": Expected("refused", "lies outside the root"),
        "gone.jpg": Expected("missing", "no such file"),
        "twins/a.jpg": Expected("refused", "sha256 differs from the list"),
    }
    rows = [f'{n},person {n},reference,"{image}",{"0" * 64 if n == 6 else ""}' for n, image in enumerate(expected)]
    out.write_text("\n".join(["item,subject,role,image,sha256", *rows, ""]), encoding="utf-8")
    return expected
