import shutil

import numpy as np
import pytest
from PIL import Image

from bench.data.lists import write_list
from bench.data.synth500 import Synth500, Synth500Options, synth500
from bench.errors import UserError
from tests.data.images import put


@pytest.fixture
def root(tmp_path):
    for number in (10, 9, 1):
        put(tmp_path / "synth" / f"{number}.png")
    return tmp_path / "synth"


def test_every_image_is_a_subject(root):
    table = Synth500(Synth500Options(root=root)).photos()
    assert table["item"].tolist() == ["1", "9", "10"]
    assert (table["item"] == table["subject"]).all()
    assert (table["role"] == "reference").all()
    assert table["status"].eq("ok").all()


def test_duplicates_share_a_subject_and_are_reported(root, tmp_path):
    shutil.copy(root / "9.png", root / "11.png")
    made = synth500(root, count=4)
    assert made.photos["subject"].tolist() == ["1", "9", "10", "9"]
    assert made.photos["item"].tolist() == ["1", "9", "10", "11"]
    assert made.remarks.to_dict("records") == [{"image": "11.png", "remark": "the same bytes as 9"}]
    write_list(made.photos, tmp_path / "list.csv")
    again = Synth500(Synth500Options(root=root, list=tmp_path / "list.csv")).photos()
    assert again.drop(columns="listed_subject").equals(made.photos.drop(columns="listed_subject"))
    assert Synth500(Synth500Options(root=root)).photos().equals(made.photos)


def test_what_cannot_be_read_shares_no_subject(root):
    for name in ("x.png", "y.png"):
        (root / name).mkdir()
    table = Synth500(Synth500Options(root=root)).photos()
    assert table["subject"].is_unique


def test_faceless_and_unreadable_images_are_reported_and_kept(root):
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(root / "dark.png")
    whole = (root / "10.png").read_bytes()
    (root / "10.png").write_bytes(whole[:-30])
    (root / "text.png").write_text("x")
    made = synth500(root, lambda image: int(image.max() > 0))
    assert made.remarks.to_dict("records") == [
        {"image": "", "remark": "5 images, not 500"},
        {"image": "10.png", "remark": "truncated"},
        {"image": "dark.png", "remark": "no face"},
        {"image": "text.png", "remark": "not an image"},
    ]
    assert len(made.photos) == 5


def test_the_first_so_many(root):
    made = synth500(root, count=2)
    assert made.photos["image"].tolist() == ["1.png", "9.png"]
    assert made.remarks["remark"].tolist() == ["3 images, not 2"]


def test_equal_stems(root):
    shutil.copy(root / "1.png", root / "1.PNG")
    put(root / "2.png")
    table = Synth500(Synth500Options(root=root)).photos()
    assert table["item"].tolist() == ["1.PNG", "1.png", "2", "9", "10"]


def test_no_image(tmp_path):
    with pytest.raises(UserError, match="no photo in"):
        synth500(tmp_path)
