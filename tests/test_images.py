import io
import random
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngInfo

from bench import images
from bench.images import ImageError, decode, encode_png, header_size, image_size, read_image, write_png
from tests.data.bad_inputs import chunk, png_header

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


def encoded(image, kind="PNG", **options):
    sink = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(sink, kind, **options)
    return sink.getvalue()


# What a viewer does for each orientation (EXIF 2.3, tag 0x0112), written out with array operations alone.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_orientation(kind, orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    data = encoded(PIXELS, kind, exif=tags, **({"lossless": True} if kind == "WEBP" else {}))
    upright = UPRIGHT[orientation](PIXELS)
    assert np.array_equal(decode(data), upright)
    assert header_size(data) == (upright.shape[1], upright.shape[0])


def test_orientation_of_a_jpeg():
    tags = Image.Exif()
    tags[0x0112] = 6  # stored lying on its left side: the viewer turns it clockwise
    stored = np.zeros((32, 64, 3), np.uint8)
    stored[:, :32] = (255, 0, 0)
    upright = decode(encoded(stored, "JPEG", exif=tags, quality=95))
    assert upright.shape == (64, 32, 3)
    assert (upright[4, 16] > (200, -1, -1)).all()
    assert upright[60, 16].max() < 30


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_ignored(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    assert np.array_equal(decode(encoded(PIXELS, exif=tags)), PIXELS)


def test_damaged_exif_is_ignored():
    assert np.array_equal(decode(encoded(PIXELS, exif=b"Exif\0\0garbage")), PIXELS)


# value of 16 bits -> value of 8 bits: v * 255 / 65535, rounded; by hand
SIXTEEN = {0: 0, 128: 0, 129: 1, 257: 1, 385: 1, 386: 2, 32767: 127, 32768: 128, 65406: 254, 65407: 255, 65535: 255}


@pytest.mark.parametrize(("kind", "dtype"), [("PNG", np.uint16), ("TIFF", np.uint16), ("TIFF", np.int32)])
def test_sixteen_bits_are_scaled(kind, dtype):
    stored = np.array([list(SIXTEEN)], dtype=dtype)
    assert decode(encoded(stored, kind))[0, :, 1].tolist() == list(SIXTEEN.values())


def test_sixteen_bit_colour_keeps_its_high_byte():
    # Pillow writes no 16-bit colour: 2x1 pixels by hand, filter 0
    rows = b"\0" + np.array([[0x0102, 0x8081, 0xFFFF], [0x00FF, 0xFF00, 0x7F80]], ">u2").tobytes()
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    data += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert decode(data).tolist() == [[[0x01, 0x80, 0xFF], [0x00, 0xFF, 0x7F]]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0, 0.5, 1], [0, 128, 255]), ([0, 0.4, 1.5, 255], [0, 0, 2, 255]), ([0.0, 0.0], [0, 0])],
)
def test_floats(values, expected):
    assert decode(encoded(np.array([values], np.float32), "TIFF"))[0, :, 0].tolist() == expected


@pytest.mark.parametrize(
    "values",
    [
        np.array([[0, np.nan]], np.float32),
        np.array([[-0.1, 1]], np.float32),
        np.array([[0, 256]], np.float32),
        np.array([[0, np.inf]], np.float32),
        np.array([[0, 65536]], np.int32),
        np.array([[-1, 0]], np.int32),
    ],
)
def test_numbers_without_a_known_range_are_refused(values):
    with pytest.raises(ImageError, match="unsupported: values from"):
        decode(encoded(values, "TIFF"))


def test_alpha_is_laid_over_white():
    stored = np.array([[[100, 0, 0, 128], [9, 9, 9, 0], [1, 2, 3, 255]]], np.uint8)
    expected = [[[177, 127, 127], [255, 255, 255], [1, 2, 3]]]  # (100 * 128 + 255 * 127) / 255 = 177.2
    assert decode(encoded(stored)).tolist() == expected
    assert decode(encoded(stored, "TIFF")).tolist() == expected


def test_grey_alpha_is_laid_over_white():
    stored = Image.fromarray(np.array([[[100, 128], [9, 0], [1, 255]]], np.uint8), "LA")
    assert decode(encoded(stored))[0].tolist() == [[177] * 3, [255] * 3, [1] * 3]


@pytest.mark.parametrize(
    ("kind", "transparency", "second"),
    [("PNG", 1, 255), ("PNG", bytes([255, 128, 255]), 147), ("GIF", 1, 255), ("PNG", None, 40)],
)
def test_palettes(kind, transparency, second):
    stored = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    stored.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    options = {} if transparency is None else {"transparency": transparency}
    got = decode(encoded(stored, kind, **options))[0]
    assert got[0].tolist() == [10, 20, 30]
    assert got[1, 0] == second  # (40 * 128 + 255 * 127) / 255 = 147.1
    assert got[2].tolist() == [70, 80, 90]


def test_a_transparent_colour_is_white():
    stored = np.array([[[0, 0, 0], [1, 2, 3]]], np.uint8)
    assert decode(encoded(stored, transparency=(1, 2, 3))).tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_grey_and_one_bit():
    assert decode(encoded(np.array([[0, 77, 255]], np.uint8)))[0].tolist() == [[0] * 3, [77] * 3, [255] * 3]
    assert decode(encoded(np.array([[True, False]])))[0].tolist() == [[255] * 3, [0] * 3]


def test_cmyk():
    stored = Image.new("CMYK", (16, 16), (10, 100, 200, 50))  # 205 - ink * 205 / 255, by hand
    assert decode(encoded(stored, "TIFF"))[0, 0].tolist() == [197, 125, 44]
    jpeg = encoded(stored, "JPEG", quality=100)
    assert Image.open(io.BytesIO(jpeg)).info["adobe"]
    assert np.abs(decode(jpeg)[8, 8].astype(int) - (197, 125, 44)).max() <= 2
    assert np.array_equal(decode(jpeg), np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert (decode(data) == (255, 0, 0)).all()


def test_a_plain_image_is_untouched():
    assert np.array_equal(decode(encoded(PIXELS)), PIXELS)
    jpeg = encoded(PIXELS, "JPEG")
    assert np.array_equal(decode(jpeg), np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")))
    assert decode(jpeg).flags.writeable


def test_a_bomb_is_refused_before_memory_is_taken(monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("pixels were asked for"))
    for read in (decode, header_size):
        with pytest.raises(ImageError, match=r"^too large: 60000x60000 pixels; .* set IDBENCH_MAX_PIXELS=3600000000$"):
            read(png_header(60000, 60000))


def test_the_limit_of_pixels():
    assert decode(encoded(PIXELS), max_pixels=54).shape == (6, 9, 3)
    for read in (decode, header_size):
        with pytest.raises(ImageError, match="too large: 9x6 pixels"):
            read(encoded(PIXELS), max_pixels=53)


def test_a_text_bomb_is_refused():
    texts = PngInfo()
    texts.add_text("Comment", "0" * 4_000_000, zip=True)
    with pytest.raises(ImageError, match=r"broken|too large"):
        decode(encoded(PIXELS, pnginfo=texts))


def test_a_large_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_BYTES", 10)
    (tmp_path / "x.png").write_bytes(encoded(PIXELS))
    with pytest.raises(ImageError, match=r"too large: [0-9]+ bytes"):
        read_image(tmp_path / "x.png")


@pytest.mark.parametrize("switch", [True, False])
def test_global_switches_change_nothing_and_stay(monkeypatch, switch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", switch)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1 if switch else None)
    image = encoded(np.repeat(np.repeat(PIXELS, 40, 0), 40, 1), "JPEG")
    assert decode(image).shape == (240, 360, 3)
    for cut in (len(image) // 2, 100):
        with pytest.raises(ImageError, match="truncated"):
            decode(image[:cut])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is switch
    assert (1 if switch else None) == Image.MAX_IMAGE_PIXELS


def test_threads_read_alike():
    data = [encoded(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(8)]
    alone = [decode(d) for d in data]
    got = [None] * 8

    def work(i):
        for _ in range(10):
            got[i] = decode(data[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(a, b) for a, b in zip(alone, got, strict=True))
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "PPM", "AVIF"])
def test_damaged_bytes_only_ever_raise_image_error(kind):
    """Cut anywhere, or with random bytes changed: an image or a reason, nothing else."""
    data = encoded(np.repeat(np.repeat(PIXELS, 4, 0), 4, 1), kind)
    rng = random.Random(kind)
    reasons = [reason_of(data[:cut]) for cut in rng.sample(range(len(data)), 40)]
    for _ in range(80):
        broken = bytearray(data)
        for _ in range(rng.randint(1, 8)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        reasons.append(reason_of(bytes(broken)))
    assert len(set(reasons)) > 2
    for reason in reasons:
        assert reason == "" or reason.startswith(REASONS[1:])
        assert "object at 0x" not in reason  # an address would differ from run to run


REASONS = ("", "empty file", "not an image", "truncated", "broken", "too large", "unsupported")


def reason_of(data):
    try:
        decode(data)
    except ImageError as error:
        return error.reason
    return ""


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_truncated_image_is_never_an_image(kind):
    data = encoded(np.repeat(np.repeat(PIXELS, 4, 0), 4, 1), kind)
    for cut in range(len(data) - 40):
        with pytest.raises(ImageError):
            decode(data[:cut])


def test_every_changed_byte_of_a_png_is_noticed():
    data = encoded(PIXELS)
    for place in range(8, len(data) - 12):  # the last chunk only says that nothing follows
        with pytest.raises(ImageError):
            decode(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])


def test_what_is_no_image_file(tmp_path):
    for path, reason in [
        (tmp_path / "gone.png", "no such file"),
        (tmp_path, "not a file: folder"),
        (tmp_path / "a\0b.png", "unreadable: embedded null byte"),
        (tmp_path / ("n" * 300), "unreadable: file name too long"),
    ]:
        with pytest.raises(ImageError) as caught:
            read_image(path)
        assert caught.value.reason == reason
        with pytest.raises(ImageError):
            image_size(path)


def test_write_png_round_trip(tmp_path):
    texts = {"Software": "idbench", "AI-generated": "true", "Comment": 'é "quotes"\n名前'}
    write_png(PIXELS, tmp_path / "deep" / "x.png", texts)
    assert np.array_equal(read_image(tmp_path / "deep" / "x.png"), PIXELS)
    with Image.open(tmp_path / "deep" / "x.png") as image:
        assert image.text == texts
        assert image.mode == "RGB"
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["x.png"]


def test_write_png_is_deterministic():
    image = RNG.integers(0, 256, (64, 48, 3), dtype=np.uint8)
    first = encode_png(image, {"a": "1", "b": "2"})
    assert encode_png(np.asfortranarray(image), {"b": "2", "a": "1"}) == first
    assert encode_png(image, {"a": "1", "b": "3"}) != first


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
)
def test_write_png_refuses_other_arrays(wrong):
    with pytest.raises(ValueError, match="must be"):
        encode_png(wrong, {})
