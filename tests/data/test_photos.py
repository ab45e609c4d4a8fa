import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import registry
from bench.data.folder import Folder, FolderOptions, layout
from bench.data.photos import content_id, first_items, group_columns, keys, look, natural, printable
from bench.errors import UserError
from bench.hashing import sha256_path
from bench.identity import identity
from bench.testing import dataset_contract
from tests.data.images import put
from tests.shared import SHARED, needs


@pytest.fixture
def root(tmp_path):
    for name in ("anna/10.png", "anna/9.png", "bob.png", "anna.png", "carl/x.png", "Zoe/1.png"):
        put(tmp_path / "root" / name)
    return tmp_path / "root"


def photos(root, **options):
    return Folder(FolderOptions(root=root, **options)).photos()


def rows(table, *columns):
    return [tuple(row) for row in table[list(columns)].itertuples(index=False)]


def test_one_folder_or_one_image_per_subject(root):
    assert rows(photos(root), "item", "subject", "role", "image") == [
        ("Zoe", "Zoe", "reference", "Zoe/1.png"),
        ("anna", "anna", "reference", "anna.png"),
        ("", "anna", "target", "anna/9.png"),
        ("", "anna", "target", "anna/10.png"),
        ("bob", "bob", "reference", "bob.png"),
        ("carl", "carl", "reference", "carl/x.png"),
    ]


def test_what_is_found(root):
    put(root / "bob.png", 30, 20)
    row = photos(root).set_index("item").loc["bob"]
    assert row["path"] == str(root / "bob.png")
    assert row["sha256"] == sha256_path(root / "bob.png")
    assert (row["width"], row["height"], row["status"], row["reason"], row["key"]) == (30, 20, "ok", "", "bob")


def test_every_photo_an_item(root):
    table = photos(root, references="all")
    assert (table["item"] == table["image"]).all()
    assert (table["role"] == "reference").all()
    assert table["key"].is_unique


def test_limit(root):
    assert rows(photos(root, limit=2), "image") == [("Zoe/1.png",), ("anna.png",), ("anna/9.png",), ("anna/10.png",)]
    assert len(photos(root, limit=100)) == 6
    with pytest.raises(ValueError, match="limit"):
        FolderOptions(root=root, limit=0)


def test_limit_keeps_the_order_of_the_list(root):
    listed = layout(root).iloc[::-1].reset_index(drop=True)
    assert rows(first_items(listed, 3), "image") == [
        ("carl/x.png",),
        ("bob.png",),
        ("anna/10.png",),
        ("anna/9.png",),
        ("anna.png",),
    ]


def test_order_does_not_depend_on_the_file_system(root, monkeypatch):
    listed = photos(root)
    entries = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: sorted(entries(path), key=hash))
    assert photos(root).equals(listed)


def test_natural_order():
    names = ["a", "a1", "a01", "a2", "a10", "B", "b", "10", "9", "é", "", "a1b2", "a1b10"]
    assert sorted(names, key=natural) == [
        "", "9", "10", "B", "a", "a01", "a1", "a1b2", "a1b10", "a2", "a10", "b", "é",
    ]  # fmt: skip


def test_content_id_follows_content_only(root, tmp_path):
    first = content_id(photos(root))
    shutil.copytree(root, tmp_path / "elsewhere")
    os.utime(tmp_path / "elsewhere" / "bob.png", (1, 1))
    assert content_id(photos(tmp_path / "elsewhere")) == first
    (tmp_path / "link").symlink_to(root)
    assert content_id(photos(tmp_path / "link")) == first


def test_content_id_changes_with_one_pixel(root):
    first = content_id(photos(root))
    pixels = np.array(Image.open(root / "anna" / "10.png"))
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(root / "anna" / "10.png")
    assert content_id(photos(root)) != first


@pytest.mark.parametrize("change", ["rename", "remove", "swap", "limit"])
def test_content_id_changes_with_what_takes_part(root, change):
    first = content_id(photos(root))
    if change == "rename":
        (root / "bob.png").rename(root / "bert.png")
    if change == "remove":
        (root / "anna" / "9.png").unlink()
    if change == "swap":
        (root / "bob.png").rename(root / "x.png")
        (root / "carl" / "x.png").rename(root / "bob.png")
        (root / "x.png").rename(root / "carl" / "x.png")
    assert content_id(photos(root, limit=1 if change == "limit" else None)) != first


def test_content_id_does_not_confuse_neighbouring_fields(root):
    table = photos(root)
    a = table.assign(item="x", subject="yz")
    b = table.assign(item="xy", subject="z")
    assert content_id(a) != content_id(b)


def test_a_target_with_the_bytes_of_the_reference_is_refused(root):
    shutil.copy(root / "anna.png", root / "anna" / "9.png")
    shutil.copy(root / "anna.png", root / "carl" / "y.png")  # so Carl is Anna under another name
    table = photos(root).set_index("image")
    assert tuple(table.loc["anna/9.png", ["status", "sha256"]]) == ("refused", "")
    assert table.loc["carl/y.png", "status"] == "refused"


def test_subjects_that_share_a_photo_are_one(root):
    """A copy under another name would be an impostor of itself."""
    shutil.copy(root / "bob.png", root / "zoe.png")
    (root / "yan").mkdir()
    shutil.copy(root / "zoe.png", root / "yan" / "1.png")
    put(root / "yan" / "2.png")
    table = photos(root).set_index("image")
    renamed = table[table["subject"] != table["listed_subject"]]
    assert renamed["listed_subject"].to_dict() == {"yan/1.png": "yan", "yan/2.png": "yan", "zoe.png": "zoe"}
    assert set(renamed["subject"]) == {"bob"}
    assert table.loc["zoe.png", ["item", "status"]].tolist() == ["zoe", "ok"]
    assert "listed_subject" not in group_columns(photos(root))


def test_no_photo(tmp_path):
    with pytest.raises(UserError, match=f"no folder of images at {tmp_path / 'gone'}"):
        photos(tmp_path / "gone")
    with pytest.raises(UserError, match=f"no photo in {tmp_path}"):
        photos(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "deeper" / "still").mkdir(parents=True)
    put(tmp_path / "deeper" / "still" / "x.png")
    with pytest.raises(UserError, match="no photo in"):
        photos(tmp_path)
    with pytest.raises(UserError, match="no folder of images at"):
        photos(tmp_path / "notes.txt")


def test_a_subject_folder_that_links_out_of_the_root(root, tmp_path):
    put(tmp_path / "private" / "1.png")
    (root / "dora").symlink_to(tmp_path / "private")
    row = photos(root).set_index("image").loc["dora/1.png"]
    assert (row["status"], row["path"], row["sha256"]) == ("refused", "", "")


def test_keys():
    items = ["anna", "Anna", "x" * 80, "x" * 81, "..", ".a", "a/b", "名前", "b.", "a b", "a_b", ""]
    names = keys(items)
    assert names[2] == "x" * 80
    assert names[8] == "b."
    assert names[10] == "a_b"
    assert names[0].startswith("anna-")
    assert names[1].startswith("Anna-")
    assert len({name.casefold() for name in names}) == len(items)
    assert all("/" not in name and not name.startswith(".") for name in names)


def test_a_key_does_not_take_another_items_name():
    taken = keys(["a b"])[0]
    names = keys(["a b", taken])
    assert names[1] == taken
    assert names[0] != taken


def test_keys_do_not_depend_on_the_order():
    items = ["anna", "Anna", "bob", "a b"]
    assert dict(zip(items, keys(items), strict=True)) == dict(zip(items[::-1], keys(items[::-1]), strict=True))


def test_names_that_are_not_utf8():
    assert printable(os.fsdecode(b"caf\xe9")) == r"caf\xe9"
    assert printable("café") == "café"


PROMISES = [*dataset_contract(Folder, {})]


@pytest.mark.parametrize("promise", PROMISES)
def test_a_folder_keeps_what_a_dataset_promises(root, promise):
    dataset_contract(Folder, {"root": root})[promise]()


@pytest.mark.parametrize("promise", PROMISES)
def test_the_embedded_world_keeps_what_a_dataset_promises(tmp_path_factory, promise):
    values = {"root": tmp_path_factory.getbasetemp() / "people", "subjects": 2, "targets": 1, "size": 64}
    dataset_contract(registry.get("datasets", "mini"), values)[promise]()


@pytest.mark.parametrize("name", ["agedb", "folder", "london", "synth500"])
def test_options_say_what_is_part_of_an_identity(root, tmp_path, name):
    options = registry.get("datasets", name).Options
    contract = dataset_contract(registry.get("datasets", name), {"root": root})
    contract["declares_its_options"]()
    contract["declares_what_may_be_shown"]()
    assert identity(options(root=root)) == identity(options(root=tmp_path))
    assert options(root=root).redistributable is (name == "london")


def test_groups_pass_through(root):
    listed = layout(root).assign(gender="f", age="", ancestry="x")
    table = look(root, listed)
    assert list(table.columns[-3:]) == ["gender", "age", "ancestry"]
    assert content_id(table) == content_id(photos(root))


@needs(SHARED / "photos")
def test_real_photos():
    table = photos(SHARED / "photos")
    assert (table["status"] == "ok").all()
    assert (len(table), table["subject"].nunique(), (table["role"] == "reference").sum()) == (21, 10, 10)
    assert rows(table[table["role"] == "reference"], "image")[-1] == ("yangmi/yangmi_1.jpg",)
    assert Path(table["path"][0]).is_file()
