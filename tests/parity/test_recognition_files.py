"""RecordIO and .bin files against those that mxnet and insightface wrote."""

import hashlib
import json

import numpy as np
import pytest

from bench.errors import UserError
from bench.facesets import recordio
from bench.images import decode
from bench.recognition.pairs import open_pairs
from tests.parity.formula import simg
from tests.shared import GOLDEN, needs

FILE = GOLDEN / "studies" / "fr_files.npz"
pytestmark = needs(FILE)
VARIANTS = ("bin_py2", "bin_protocol4", "bin_numpy_scalars", "bin_numpy_array", "bin_uint8_arrays", "bin_int_labels")


@pytest.fixture(scope="module")
def golden():
    return np.load(FILE)


def saved(golden, name, folder):
    path = folder / f"{name}.bin"
    path.write_bytes(golden[name].tobytes())
    return path


def digest(image):
    return np.frombuffer(hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest(), np.uint8)


@pytest.mark.parametrize("kind", ["insightface", "im2rec"])
def test_records(golden, kind, tmp_path):
    found = list(recordio.images(saved(golden, f"{kind}_rec", tmp_path)))
    assert [identity for identity, _ in found] == golden[f"{kind}_labels"].tolist()
    assert [len(data) for _, data in found] == golden[f"{kind}_image_bytes"].tolist()
    for (_, data), expected, exact in zip(
        found, golden[f"{kind}_images_sha256"], golden[f"{kind}_equal_to_formula"], strict=True
    ):
        image = decode(data)
        if exact:
            np.testing.assert_array_equal(digest(image), expected)
        else:
            assert np.abs(image.astype(int) - golden["rec_jpeg_decoded"]).max() <= 1


def test_our_writer_writes_the_same_bytes(golden, tmp_path):
    items = list(recordio.images(saved(golden, "insightface_rec", tmp_path)))
    recordio.write(tmp_path / "out", items)
    assert (tmp_path / "out/train.rec").read_bytes() == golden["insightface_rec"].tobytes()
    assert (tmp_path / "out/train.idx").read_bytes() == golden["insightface_idx"].tobytes()


@pytest.mark.parametrize("cut", [3, 9, 40, 41, 30000])
def test_truncated_records(golden, cut, tmp_path):
    path = tmp_path / "train.rec"
    path.write_bytes(golden["insightface_rec"].tobytes()[:cut])
    with pytest.raises(UserError, match=r"train\.rec(: record \d+ is truncated| ends after 1 of 11 records)"):
        list(recordio.images(path))


@pytest.mark.parametrize("name", [*VARIANTS, "xz_file"])
def test_verification_sets(golden, name, tmp_path):
    pairs = open_pairs(saved(golden, name, tmp_path))
    assert pairs.same.tolist() == golden["bin_issame"].tolist()
    crops = list(pairs.crops())
    for view, hashes in enumerate(golden["bin_views_sha256"]):
        for crop, expected in zip(crops[:6], hashes, strict=False):
            shown = crop[:, ::-1] if view else crop
            np.testing.assert_array_equal(digest(shown.transpose(2, 0, 1)), expected)
    for crop, expected in zip(crops[6:], golden["bin_view0_last_two"], strict=True):
        assert np.abs(crop.transpose(2, 0, 1).astype(int) - expected).max() <= 1


def test_colours_are_red_green_blue(golden, tmp_path):
    q = json.loads((GOLDEN / "set.json").read_text())["q"]
    first = next(open_pairs(saved(golden, "bin_protocol4", tmp_path)).crops())
    np.testing.assert_array_equal(first, simg(112, 112, int(golden["bin_image_args"][0][2]), q) // 32 * 32)


@pytest.mark.parametrize(
    "name", ["hostile_global", "hostile_proto4", "hostile_numpy_load", "truncated_bin", "odd_pairs_bin"]
)
def test_refused(golden, name, tmp_path):
    with pytest.raises(UserError) as refused:
        open_pairs(saved(golden, name, tmp_path))
    message = str(refused.value)
    assert f"{name}.bin" in message
    assert "\n" not in message
