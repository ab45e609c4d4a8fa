"""Photos that are not read again: what is noticed, what is not, and where the memory lies."""

import os

import numpy as np
import pytest

from bench.data import known, photos
from bench.data.folder import Folder, FolderOptions
from bench.data.known import FILE, remembered
from bench.images import encode_png
from bench.store import read_table


def image(seed):
    return np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    for number in range(3):
        (folder / f"p{number}.png").write_bytes(encode_png(image(8 + number), {}))
        settle(folder / f"p{number}.png")
    return folder


def settle(path, seconds=1_000_000_000):
    os.utime(path, (seconds, seconds))


@pytest.fixture
def read(monkeypatch):
    """Names of the photos whose bytes were read, in order."""
    names, own = [], photos.read_bytes
    monkeypatch.setattr(photos, "read_bytes", lambda path: names.append(path.name) or own(path))
    return names


def look(root, *, verify=False):
    with remembered(root.parent, verify=verify):
        return Folder(FolderOptions(root=root, references="all")).photos()


def test_photos_are_read_once(root, read):
    first = look(root)
    assert sorted(read) == ["p0.png", "p1.png", "p2.png"]
    assert look(root).equals(first)
    assert len(read) == 3
    assert look(root, verify=True).equals(first)
    assert len(read) == 6


def test_outside_of_the_block_nothing_is_remembered(root, read):
    look(root)
    Folder(FolderOptions(root=root, references="all")).photos()
    assert len(read) == 6


def other_time(path):
    path.write_bytes(encode_png(image(99), {}))


def other_size(path):
    path.write_bytes(encode_png(image(99), {"Comment": "longer"}))
    settle(path)


def other_inode(path):
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.with_suffix(".new").write_bytes(data)
    settle(path.with_suffix(".new"))
    path.with_suffix(".new").rename(path)


@pytest.mark.parametrize("change", [other_time, other_size, other_inode])
def test_a_change_of_time_size_or_inode_is_noticed(root, read, change):
    before = look(root)["sha256"].tolist()
    change(root / "p1.png")
    after = look(root)["sha256"].tolist()
    assert read[3:] == ["p1.png"]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]


def test_only_verify_notices_a_change_that_keeps_all_three(root):
    before = look(root)["sha256"].tolist()
    path = root / "p1.png"
    with path.open("r+b") as file:
        file.seek(-20, os.SEEK_END)
        file.write(b"x")
    settle(path)
    assert look(root)["sha256"].tolist() == before
    assert look(root, verify=True)["sha256"].tolist() != before
    assert look(root)["sha256"].tolist() != before


def test_a_file_that_has_just_changed_is_not_kept(root, read):
    os.utime(root / "p1.png")
    look(root)
    look(root)
    assert read[3:] == ["p1.png"]


def test_what_is_no_image_is_read_again(root, read):
    (root / "p1.png").write_bytes(b"text")
    settle(root / "p1.png")
    first = look(root)
    assert (first["status"].tolist(), first["sha256"][1] != "") == (["ok", "undecodable", "ok"], True)
    assert look(root).equals(first)
    assert read[3:] == ["p1.png"]


def test_another_list_still_refuses_bytes_that_it_does_not_name(root):
    look(root)
    with remembered(root.parent, verify=False):
        listed = Folder(FolderOptions(root=root, references="all")).photos()[["item", "subject", "role", "image"]]
        found = photos.look(root, listed.assign(sha256=["0" * 64, "", ""]))
    assert found["status"].tolist() == ["refused", "ok", "ok"]


def test_the_table_names_no_file_and_a_damaged_one_is_made_again(root, read, capsys):
    look(root)
    table = read_table(root.parent / FILE)
    assert len(table) == 3
    assert not table["place"].str.contains("p0").any()
    (root.parent / FILE).write_bytes(b"nonsense")
    look(root)
    assert len(read) == 6
    assert "all photos are read again" in capsys.readouterr().err
    assert len(known._kept(root.parent / FILE)) == 3
