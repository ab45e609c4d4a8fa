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


def test_a_bad_line_of_a_list(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("first,second,same\na.png,b.png,yes\n")
    with pytest.raises(UserError, match=r"mine\.csv, line 2"):
        open_pairs(path)


def test_a_missing_set_names_those_that_are_there(tmp_path):
    save(tmp_path / "lfw.bin", [crop(0, 0)] * 2, [True])
    with pytest.raises(UserError, match=r"no cfp_fp\.bin.*there are: lfw"):
        find_pairs(tmp_path, ["cfp_fp"])
