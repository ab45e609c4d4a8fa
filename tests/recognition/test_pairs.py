"""Lists of pairs, and what is wrong with files of pairs."""

import pickle

import numpy as np
import pytest

from bench.errors import UserError
from bench.recognition.pairs import find_pairs, open_pairs, write_list
from tests.facesets.crops import crop, pixels


def save(path, images, labels):
    path.write_bytes(pickle.dumps((images, labels)))
    return path


def test_a_list_of_files(tmp_path):
    for k in range(4):
        (tmp_path / f"{k}.png").write_bytes(crop(k, 0))
    write_list(tmp_path / "mine.csv", [("0.png", "1.png", False), ("2.png", "3.png", True)])
    [found] = find_pairs(tmp_path, ["mine"])
    assert found.same.tolist() == [False, True]
    for k, image in enumerate(found.crops()):
        np.testing.assert_array_equal(image, pixels(crop(k, 0)))


def test_an_image_of_several_pairs_is_read_once(tmp_path):
    one, other = crop(0, 0), crop(1, 0)
    found = open_pairs(save(tmp_path / "mine.bin", [other, one, one, other, one, one], [True, False, True]))
    np.testing.assert_array_equal(np.stack([*found.crops()]), [pixels(other), pixels(one)])
    np.testing.assert_array_equal(found.of_places(np.array([[5], [7]])), [[5], [7], [7], [5], [7], [7]])


def test_another_number_of_pairs_is_said(tmp_path):
    assert "1 pairs, not the 6000" in open_pairs(save(tmp_path / "lfw.bin", [crop(0, 0)] * 2, [True])).remark
    assert open_pairs(save(tmp_path / "mine.bin", [crop(0, 0)] * 2, [True])).remark == ""


def oblong(tmp_path):
    import io

    from PIL import Image

    sink = io.BytesIO()
    Image.new("RGB", (112, 96)).save(sink, "PNG")
    return save(tmp_path / "a.bin", [crop(0, 0), sink.getvalue()], [True])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: save(folder / "a.bin", [crop(0, 0)] * 3, [True]), "3 images for 1 labels"),
        (lambda folder: save(folder / "a.bin", [crop(0, 0)] * 2, [7]), "not a list of true and false"),
        (lambda folder: save(folder / "a.bin", ["text", "text"], [True]), "an image is str"),
        (lambda folder: save(folder / "a.bin", [], []), "not a list of true and false"),
        (oblong, r"image 1 \(pair 0\) has 112 x 96 pixels; a crop must be square"),
        (lambda folder: save(folder / "a.bin", [crop(0, 0), b"junk"], [True]), r"image 1 \(pair 0\) is not an image"),
        (lambda folder: folder / "none.bin", "no such file"),
    ],
)
def test_bad_files(make, message, tmp_path):
    path = make(tmp_path)
    with pytest.raises(UserError, match=message) as refused:
        list(open_pairs(path).crops())
    assert path.name in str(refused.value)
    assert "\n" not in str(refused.value)


KEPT = b"\x80\x04" + b"r\xff\xff\xff\x7f" + b"."
"""Keeps a value as number 2**31 - 1: Python would make room for all before it, 16 GB."""
BYTEARRAY = b"\x80\x05\x96" + (2**36).to_bytes(8, "little") + b"."


def doubled(levels):
    """A list of two lists of two lists ...: a few bytes, 2**levels numbers as an array."""
    labels = [True]
    for _ in range(levels):
        labels = [labels, labels]
    return labels


def called(module, name, *arguments):
    """A pickle that calls a function for its images."""
    return b"\x80\x02(c" + f"{module}\n{name}\n".encode() + pickle.dumps(arguments, 2)[2:-1] + b"R]\x88at."


SIZE = (10**12,)
HOSTILE = {
    "keeps value 2147483647": KEPT,
    "bytes in a bytearray8": BYTEARRAY,
    "labels are not a list": pickle.dumps(([b""] * 2, doubled(40))),
    "it asks for numpy.zeros": called("numpy", "zeros", SIZE),
    "takes 1 positional argument": called("numpy", "ndarray", SIZE, "O"),
    "images are not a list": called("numpy.core.multiarray", "_reconstruct", SIZE, SIZE, b"O"),
    "missing 1 required positional": called("numpy.core.multiarray", "scalar", "V1000000000000"),
    "more bytes than it has": b"\x80\x02(]" + b"c_codecs\nencode\nq\x00X\xe8\x03\0\0" + b"a" * 1000
    + b"q\x01X\x06\0\0\0latin1q\x02\x86q\x03Ra" + b"h\x00h\x03Ra" * 1000 + b"]\x88at.",
}  # fmt: skip


@pytest.mark.parametrize("message", HOSTILE)
def test_a_pickle_that_would_fill_the_memory_is_refused_at_once(message, tmp_path):
    (tmp_path / "a.bin").write_bytes(HOSTILE[message])
    with pytest.raises(UserError, match=message):
        open_pairs(tmp_path / "a.bin")


def test_an_array_of_no_bytes_has_no_numbers(tmp_path):
    array = np.empty(0, np.uint8)
    data = pickle.dumps(([array] * 2, [True]), 4)
    path = tmp_path / "a.bin"
    # Its shape claims 255 numbers.
    path.write_bytes(data.replace(b"K\x01K\x00\x85", b"K\x01K\xff\x85"))
    with pytest.raises(UserError, match="another size than its bytes"):
        open_pairs(path)


def test_a_bad_line_of_a_list(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("first,second,same\na.png,b.png,yes\n")
    with pytest.raises(UserError, match=r"mine\.csv, line 2"):
        open_pairs(path)


def test_a_missing_set_names_those_that_are_there(tmp_path):
    save(tmp_path / "lfw.bin", [crop(0, 0)] * 2, [True])
    with pytest.raises(UserError, match=r"no cfp_fp\.bin.*there are: lfw"):
        find_pairs(tmp_path, ["cfp_fp"])
