"""Face sets on the disk, and to and from the formats of others."""

import gzip
import io
import shutil
import struct
import tarfile

import numpy as np
import pytest

from bench.errors import UserError
from bench.facesets import formats, recordio
from bench.facesets.store import FaceSet, manifest, shard_file, write_shard
from tests.facesets.crops import crop, pixels, rows, write

EXPECTED = [(i, crop(i, k)) for i in range(3) for k in range(3)]


@pytest.fixture
def faces(tmp_path):
    return FaceSet(write(tmp_path / "set"))


def test_a_set_is_read_as_it_was_written(faces):
    assert (len(faces), faces.identities, faces.record["name"]) == (9, 3, "toy")
    assert faces.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert list(faces.items()) == EXPECTED
    np.testing.assert_array_equal(faces.image(4), pixels(crop(1, 1)))
    assert faces.tried()["status"].value_counts().to_dict() == {"ok": 9, "no_face": 2}


def test_the_same_rows_give_the_same_bytes(faces, tmp_path):
    write_shard(tmp_path / "other", 1, rows([2], 3))
    with tarfile.open(shard_file(tmp_path / "other", 1)) as tar:
        assert tar.getnames()[:2] == ["00000002_000000.png", "00000002_000000.cls"]
    assert shard_file(tmp_path / "other", 1).read_bytes() == shard_file(faces.folder, 1).read_bytes()


def test_the_content_names_the_crops(faces, tmp_path):
    again = FaceSet(write(tmp_path / "again", ((0, 1, 2),)))
    assert again.record["content"] == faces.record["content"]
    fewer = FaceSet(write(tmp_path / "fewer", ((0, 1),)))
    assert fewer.record["content"] != faces.record["content"]


@pytest.mark.parametrize("kind", ["folder", "webdataset", "recordio", "parquet"])
def test_there_and_back(faces, kind, tmp_path):
    formats.export(faces, kind, tmp_path / "out")
    assert sorted(formats.read(tmp_path / "out")) == sorted(EXPECTED)
    formats.take_in(formats.read(tmp_path / "out"), tmp_path / "back", {})
    assert sorted(FaceSet(tmp_path / "back").items()) == sorted(EXPECTED)


def test_torchvision_reads_our_folder(faces, tmp_path):
    from torchvision.datasets import ImageFolder

    formats.export(faces, "folder", tmp_path / "out")
    found = ImageFolder(str(tmp_path / "out"))
    assert [label for _, label in found.samples] == [identity for identity, _ in EXPECTED]
    for (image, _), (_, data) in zip(found, EXPECTED, strict=True):
        np.testing.assert_array_equal(np.asarray(image), pixels(data))


def test_parquet_names_its_columns_for_datasets(faces, tmp_path):
    import pyarrow.parquet as pq

    formats.export(faces, "parquet", tmp_path / "out")
    assert b'"_type": "Image"' in pq.read_schema(tmp_path / "out/train.parquet").metadata[b"huggingface"]


def test_labels_of_others_need_no_order(tmp_path):
    items = [(70, crop(1, 0)), (5, crop(0, 0)), (70, crop(1, 1))]
    formats.take_in(iter(items), tmp_path / "set", {})
    found = FaceSet(tmp_path / "set")
    assert found.labels.tolist() == [1, 0, 1]
    assert found.per_identity().tolist() == [1, 2]
    assert list(found.items()) == [(0, crop(0, 0)), (1, crop(1, 0)), (1, crop(1, 1))]


def test_taking_in_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "SHARD", 4)

    def stops():
        yield from EXPECTED[:6]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        formats.take_in(stops(), tmp_path / "set", {})
    assert [manifest(tmp_path / "set").has(shard) for shard in range(3)] == [True, False, False]
    before = shard_file(tmp_path / "set", 0).stat().st_mtime_ns
    formats.take_in(iter(EXPECTED), tmp_path / "set", {})
    assert list(FaceSet(tmp_path / "set").items()) == EXPECTED
    assert shard_file(tmp_path / "set", 0).stat().st_mtime_ns == before


def tar_with(folder, names):
    with tarfile.open(folder / "00000.tar", "w") as tar:
        for name, data in names.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def broken(folder, kind):
    if kind == "label":
        tar_with(folder, {"a.jpg": crop(0, 0), "a.cls": b"x"})
    elif kind == "orphan":
        tar_with(folder, {"a.jpg": crop(0, 0)})
    elif kind == "cut":
        tar_with(folder, {"a.jpg": crop(0, 0), "a.cls": b"0"})
        path = folder / "00000.tar"
        path.write_bytes(path.read_bytes()[:700])
    elif kind == "parquet":
        (folder / "a.parquet").write_bytes(b"PAR1 and nothing else")
    elif kind == "number":
        tar_with(folder, {"a.jpg": crop(0, 0), "a.cls": b"1" * 5000})
    elif kind == "sparse":
        (folder / "00000.tar").write_bytes(sparse_tar(2**40))
    elif kind == "packed":
        (folder / "00000.tar").write_bytes(gzip.compress(sparse_tar(2**40)))
    elif kind == "record":
        part = recordio.MAGIC + struct.pack("<I", 1 << 29 | 2**29 - 1)
        (folder / "train.rec").write_bytes(part + bytes(64))


def sparse_tar(size):
    """A tar with a file of `size` zeros, of which it holds none."""
    info = tarfile.TarInfo("a.jpg")
    info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.size": str(size)}
    info.pax_headers["GNU.sparse.map"] = f"{size},0"
    return info.tobuf(tarfile.PAX_FORMAT) + bytes(1024)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("label", r"a\.cls holds b'x'"),
        ("orphan", r"a has no \.cls"),
        ("cut", "damaged tar"),
        ("parquet", "not a Parquet file"),
        ("number", r"a\.cls holds"),
        ("sparse", r"'a\.jpg' is sparse or has more than 16 MiB"),
        ("packed", "damaged tar"),
        ("record", "record 0 has more than 16 MiB"),
        ("empty", "no face set in"),
    ],
)
def test_damaged_sets(tmp_path, kind, message):
    broken(tmp_path, kind)
    with pytest.raises(UserError, match=message) as refused:
        list(formats.read(tmp_path))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([(0, crop(0, 0, side=128))], "image 0 .* has 128 x 128 pixels"),
        ([(0, crop(0, 0)), (3, b"GIF89a")], "image 1 .*identity 3"),
        ([], "holds no image"),
    ],
)
def test_crops_of_another_size_are_refused(items, message, tmp_path):
    with pytest.raises(UserError, match=message):
        formats.take_in(iter(items), tmp_path / "set", {})


def test_a_truncated_shard_is_named(faces):
    path = shard_file(faces.folder, 1)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"00001\.tar is truncated"):
        faces.encoded(8)


def test_an_unfinished_set_is_no_set(faces):
    (faces.folder / "faceset.json").unlink()
    with pytest.raises(UserError, match="not a whole face set"):
        FaceSet(faces.folder)


def test_an_export_overwrites_nothing(faces, tmp_path):
    formats.export(faces, "folder", tmp_path / "out")
    with pytest.raises(UserError, match="not empty"):
        formats.export(faces, "parquet", tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(UserError, match="'lmdb'; allowed are folder"):
        formats.export(faces, "lmdb", tmp_path / "out")


def test_records_need_sorted_identities(tmp_path):
    with pytest.raises(UserError, match="image 2 belongs to identity 5, after 0"):
        recordio.write(tmp_path, [(0, b"a"), (5, b"b")])


@pytest.mark.parametrize("image", [None, {"bytes": None, "path": "a.png"}])
def test_a_row_of_parquet_without_an_image_is_named(tmp_path, image):
    import pyarrow as pa
    import pyarrow.parquet as pq

    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"image": pa.array([image], kind), "label": [0]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet: a row has no image"):
        list(formats.read(tmp_path))
