"""Every kind of awkward photo, through the one reader and through a dataset."""

import os
import threading

import numpy as np
import pytest

from bench.data.folder import Folder, FolderOptions
from bench.images import ImageError, image_size, read_image
from tests.data.bad_inputs import make_bad_folder, make_bad_list, portrait


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    root = tmp_path_factory.mktemp("bad") / "photos"
    return root, make_bad_folder(root)


@pytest.fixture(scope="module")
def photos(bad):
    return Folder(FolderOptions(root=bad[0])).photos().set_index("image", drop=False)


def test_there_are_at_least_twenty_kinds(bad):
    assert len(bad[1]) >= 45


def test_every_photo_is_a_row_and_nothing_else_is(bad, photos):
    assert set(photos["image"]) == set(bad[1])
    assert photos.index.is_unique


def test_status_and_reason(bad, photos):
    for image, expected in bad[1].items():
        row = photos.loc[image]
        assert row["status"] == expected.status, (image, row["reason"])
        assert row["reason"].startswith(expected.reason), image
        assert bool(row["reason"]) == (row["status"] != "ok"), image


def test_reading(bad):
    root, expected = bad
    for image, outcome in expected.items():
        path = os.fsdecode(os.path.join(os.fsencode(root), image.encode()))
        if outcome.decode:
            with pytest.raises(ImageError) as caught:
                read_image(path)
            assert caught.value.reason.startswith(outcome.decode), image
        else:
            pixels = read_image(path)
            assert (pixels.dtype, pixels.ndim, pixels.shape[2]) == (np.uint8, 3, 3), image
            assert image_size(path) == pixels.shape[1::-1], image


def test_sizes_are_those_of_the_upright_image(photos):
    for row in photos[photos["status"] == "ok"].to_dict("records"):
        try:
            pixels = read_image(row["path"])
        except ImageError:
            continue
        assert (row["width"], row["height"]) == pixels.shape[1::-1]


def test_all_good_portraits_look_alike(bad, photos):
    """Whatever the format: within what JPEG, 255 colours and grey may change."""
    face = np.asarray(portrait(), dtype=float).mean(axis=2)
    for image in photos["image"]:
        if bad[1][image].face is not None and photos.loc[image, "width"] == 256 and image != "twins/a.jpg":
            if image.startswith(("rgba", "grey-alpha", "copied", "palette")):
                continue  # over white, or another person
            assert abs(read_image(bad[0] / image).mean(axis=2) - face).mean() < 6, image


def test_items_have_file_names_of_their_own(photos):
    references = photos[photos["role"] == "reference"]
    assert references["key"].str.casefold().is_unique
    assert references["key"].str.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}").all()
    assert (photos.loc[photos["role"] == "target", "key"] == "").all()


def test_the_table_can_be_stored(photos, tmp_path):
    photos.reset_index(drop=True).to_parquet(tmp_path / "photos.parquet")


def reads(path):
    with pytest.raises(ImageError):
        read_image(path)


def test_a_pipe_never_blocks(bad):
    thread = threading.Thread(target=reads, args=(bad[0] / "pipe.jpg",), daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()


def test_a_device_is_refused():
    with pytest.raises(ImageError, match="not a file: device"):
        read_image("/dev/zero")


def test_a_bad_list(bad, tmp_path):
    expected = make_bad_list(bad[0], tmp_path / "bad.csv")
    photos = Folder(FolderOptions(root=bad[0], list=tmp_path / "bad.csv")).photos()
    assert list(photos["image"]) == list(expected)
    for row in photos.to_dict("records"):
        outcome = expected[row["image"]]
        assert (row["status"], row["reason"][: len(outcome.reason)]) == (outcome.status, outcome.reason), row
        assert row["status"] != "refused" or row["sha256"] == ""
