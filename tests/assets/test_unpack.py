"""Zips: the wanted file from wherever it is nested, and nothing harmful."""

from __future__ import annotations

import random
import stat
import zipfile

import pytest

from bench.fetching import unpack
from bench.fetching.transport import DownloadError
from bench.fetching.unpack import extract_file, extract_folder


def pack(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("name", ["net.onnx", "antelopev2/net.onnx", "antelopev2/antelopev2/net.onnx"])
def test_a_file_is_found_however_deep_it_is_nested(tmp_path, name):
    archive = pack(tmp_path / "a.zip", {name: b"right", "antelopev2/other.onnx": b"x", "__MACOSX/net.onnx": b"fork"})
    extract_file(archive, "net.onnx", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"right"


def test_a_name_with_folders_tells_two_apart(tmp_path):
    archive = pack(tmp_path / "a.zip", {"m/a/net.ckpt": b"a", "m/b/net.ckpt": b"b"})
    extract_file(archive, "b/net.ckpt", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"b"
    with pytest.raises(DownloadError, match=r"holds 2 files net\.ckpt"):
        extract_file(archive, "net.ckpt", tmp_path / "out")


def test_a_file_that_only_ends_alike_is_not_it(tmp_path):
    with pytest.raises(DownloadError, match=r"holds no files net\.onnx"):
        extract_file(pack(tmp_path / "a.zip", {"xnet.onnx": b"x"}), "net.onnx", tmp_path / "out")


def test_a_folder_is_unpacked_without_the_rest(tmp_path):
    entries = {"front/1.jpg": b"1", "front/sub/2.jpg": b"2", "__MACOSX/front/1.jpg": b"x", "readme": b"r"}
    extract_folder(pack(tmp_path / "a.zip", entries), "front/", tmp_path / "out")
    found = {str(p.relative_to(tmp_path / "out")): p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert found == {"1.jpg": b"1", "sub/2.jpg": b"2"}


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "front/../../evil",
        "/etc/evil",
        "..\\evil",
        "C:\\evil",
        "front/..\\..\\evil",
        # Absolute, or another file, once "front/" is removed.
        "front//tmp/evil",
        "front///tmp/evil",
        "front/./evil",
        "./evil",
        "front/../evil/",
    ],
)
def test_a_zip_with_a_path_that_leaves_is_refused_altogether(tmp_path, name):
    archive = pack(tmp_path / "a.zip", {"front/1.jpg": b"1", "net.onnx": b"net", name: b"evil"})
    for extract, wanted in ((extract_file, "net.onnx"), (extract_folder, "front/")):
        with pytest.raises(DownloadError, match="would leave its folder"):
            extract(archive, wanted, tmp_path / "in" / "out")
    assert [p.name for p in tmp_path.rglob("*")] == ["a.zip"]


def test_a_link_in_a_zip_is_refused(tmp_path):
    link = zipfile.ZipInfo("front/1.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DownloadError, match="is a link"):
        extract_folder(tmp_path / "a.zip", "front/", tmp_path / "out")


@pytest.mark.parametrize(
    ("kind", "said"), [(stat.S_IFCHR, "a device"), (stat.S_IFBLK, "a device"), (stat.S_IFIFO, "a pipe")]
)
def test_a_special_file_in_a_zip_is_refused(tmp_path, kind, said):
    entry = zipfile.ZipInfo("front/1.jpg")
    entry.external_attr = (kind | 0o666) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(entry, "")
    with pytest.raises(DownloadError, match=f"is {said}"):
        extract_folder(tmp_path / "a.zip", "front/", tmp_path / "out")


@pytest.mark.parametrize(
    "second", ["front/a.jpg", "front/A.jpg", "Front/a.JPG", "front/a.jpg/b.jpg", "front/A.JPG/b.jpg"]
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_are_one_file_on_some_disk_are_refused(tmp_path, second):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("front/a.jpg", "first")
        archive.writestr(second, "second")
    with pytest.raises(DownloadError, match=r"in it twice|is a file too"):
        extract_folder(tmp_path / "a.zip", "front/", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_too_many_entries_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpack, "ENTRIES", 2)
    archive = pack(tmp_path / "a.zip", {f"front/{k}.jpg": b"x" for k in range(3)})
    with pytest.raises(DownloadError, match="holds 3 files and folders, more than 2"):
        extract_folder(archive, "front/", tmp_path / "out")


def test_a_small_archive_of_much_is_refused(tmp_path):
    archive = pack(tmp_path / "a.zip", {"net.onnx": bytes(1 << 20)})
    with pytest.raises(DownloadError, match="more than 200 times its size"):
        extract_file(archive, "net.onnx", tmp_path / "out")


def test_an_entry_without_a_name_is_one_line(tmp_path):
    archive = pack(tmp_path / "a.zip", {"x": b"1"})
    data = bytearray(archive.read_bytes())
    directory = data.index(b"PK\x01\x02")
    data[directory + 28 : directory + 30] = b"\0\0"
    data[directory + 30 : directory + 32] = b"\x01\0"
    archive.write_bytes(data)
    with pytest.raises(DownloadError):
        extract_folder(archive, "x", tmp_path / "out")


def test_a_damaged_archive_ends_in_one_line_or_gives_the_right_files(tmp_path):
    entries = {f"front/{k}.jpg": bytes([k]) * 40 + bytes(range(64)) for k in range(4)}
    good = pack(tmp_path / "good.zip", entries).read_bytes()
    rng = random.Random(19)
    said = []
    for number in range(100):
        data = bytearray(good)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        archive = tmp_path / f"{number}.zip"
        archive.write_bytes(data)
        try:
            extract_folder(archive, "front/", tmp_path / f"{number}")
        except DownloadError as error:
            said.append(str(error))
        else:
            written = [path.read_bytes() for path in (tmp_path / f"{number}").rglob("*") if path.is_file()]
            assert set(written) <= set(entries.values())
    assert len(said) > 40
    assert not any("\n" in line for line in said)


def test_a_bomb_is_refused_before_it_unfolds(tmp_path, monkeypatch):
    monkeypatch.setattr(unpack, "LIMIT", 1000)
    archive = pack(tmp_path / "a.zip", {"net.onnx": b"0" * 1001})
    with pytest.raises(DownloadError, match="would come out"):
        extract_file(archive, "net.onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_method_that_unfolds_whatever_a_size_claims_is_refused(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("net.onnx", bytes(2**20))
    data = (tmp_path / "a.zip").read_bytes()
    # It says that 1 kB comes out: neither the limit nor the ratio is reached.
    (tmp_path / "a.zip").write_bytes(data.replace((2**20).to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    with pytest.raises(DownloadError, match="packed by another method than deflate"):
        extract_file(tmp_path / "a.zip", "net.onnx", tmp_path / "out")


def test_a_zip_that_lies_about_a_size_is_refused(tmp_path):
    archive = pack(tmp_path / "a.zip", {"net.onnx": b"0" * 5000})
    told, lie = (5000).to_bytes(4, "little"), (10).to_bytes(4, "little")
    archive.write_bytes(archive.read_bytes().replace(told, lie))
    with pytest.raises(DownloadError, match="cannot be unpacked"):
        extract_file(archive, "net.onnx", tmp_path / "out")


def test_what_is_no_zip_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"<html>please log in</html>")
    with pytest.raises(DownloadError, match="cannot be unpacked"):
        extract_file(tmp_path / "a.zip", "net.onnx", tmp_path / "out")
