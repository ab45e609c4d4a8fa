"""Feature tables of a shard: whose image goes into the network, and whose row its answer comes to."""

import pickle
from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from bench.faces.views import Crop
from bench.stages import extract
from bench.stages.extract import _Features, _Pairs, _pieces
from bench.status import SampleStatus, ViewStatus

PART = SimpleNamespace(options=SimpleNamespace(batch=4))


class Brightness:
    """Answers each crop's first pixel; notes the sizes of its batches."""

    role = "brightness"

    def __init__(self):
        self.batches = []

    def extract(self, crops):
        self.batches.append(crops[:, 0, 0, 0].tolist())
        return {"feature": np.repeat(crops[:, 0, 0, :1], 2, axis=1).astype(np.float32), "norm": crops[:, 0, 0, 0] * 2}


class Scalar(Brightness):
    """Answers one number, under a name of its own."""

    columns: ClassVar = {"quality": "quality"}

    def extract(self, crops):
        return {"quality": crops[:, 0, 0, 0].astype(np.float32), "seen": crops[:, 0, 0, 0]}


class ByKeypoints(Brightness):
    def embed(self, crops, keypoints):
        return {"feature": keypoints[:, 0].astype(np.float32)}


class Broken(Brightness):
    def extract(self, crops):
        found = super().extract(crops)
        found["feature"][1] = np.nan
        return found


def images(count):
    rows = pd.DataFrame({"row": range(count), "item": "a", "subject": "a", "index": -1})
    return rows, [Crop(np.full((2, 2, 3), k + 1, np.uint8)) for k in range(count)]


def _features(network, extractor, rows, crops, read, size=None):
    """Return the feature table of crops that come in pieces of a size; None: at once."""
    found = _Features(network, extractor, rows, read)
    for start in range(0, len(rows), size or len(rows)):
        piece = slice(start, start + (size or len(rows)))
        found.read(piece, crops[piece])
    return found.table()


def _pairs(network, rows, crops, references, size=None):
    found = _Pairs(network, rows, references)
    for start in range(0, len(rows), size or len(rows)):
        found.read(slice(0), crops[start : start + (size or len(rows))])
    return found.table()


def test_pieces_are_whole_batches_of_every_network(monkeypatch):
    def spec(parser, **batches):
        parts = {
            name: SimpleNamespace(options=SimpleNamespace(**{"batch": n} if n else {})) for name, n in batches.items()
        }
        return SimpleNamespace(evaluator=SimpleNamespace(all_extractors=parts, parser=parser))

    monkeypatch.setattr(extract, "IMAGES", 20)
    parser = SimpleNamespace(options=SimpleNamespace(batch=3))
    assert _pieces(spec(None, a=4, b=None), 45) == [slice(0, 20), slice(20, 40), slice(40, 60)]
    assert _pieces(spec(parser, a=4, b=6), 25) == [slice(0, 12), slice(12, 24), slice(24, 36)]
    assert _pieces(spec(parser, a=7, b=2), 50) == [slice(0, 42), slice(42, 84)]
    assert _pieces(spec(None, a=4), 0) == [slice(0, 20)]


def test_a_shard_in_pieces_is_the_shard_at_once():
    rows, crops = images(23)
    one, other, read = Brightness(), Brightness(), np.ones(23, bool)
    whole, pieces = _features(one, PART, rows, crops, read), _features(other, PART, rows, crops, read, 8)
    assert one.batches == other.batches
    pd.testing.assert_frame_equal(whole, pieces)


def test_only_images_to_be_read_are_shown_and_each_answer_lands_in_its_row():
    rows, crops = images(9)
    crops[2] = Crop(np.zeros((2, 2, 3), np.uint8), SampleStatus.NO_FACE)
    network, read = Brightness(), np.array([True, False, True, False, True, True, True, True, False])
    table = _features(network, PART, rows, crops, read)
    assert network.batches == [[1, 0, 5, 6], [7, 8, 0, 0]]
    assert table["status"].tolist() == [
        "ok", "not_read", "no_face", "not_read", "ok", "ok", "ok", "ok", "not_read",
    ]  # fmt: skip
    assert [None if f is None else f.tolist() for f in table["feature"]] == [
        [1, 1], None, None, None, [5, 5], [6, 6], [7, 7], [8, 8], None,
    ]  # fmt: skip
    assert [None if pd.isna(n) else int(n) for n in table["norm"]] == [2, None, None, None, 10, 12, 14, 16, None]


def test_a_shard_of_which_nothing_is_read_has_its_rows_all_the_same():
    rows, crops = images(3)
    network = Brightness()
    table = _features(network, PART, rows, crops, np.zeros(3, bool))
    assert network.batches == []
    assert table["status"].tolist() == ["not_read"] * 3
    assert table["feature"].tolist() == [None] * 3


def test_a_number_that_is_not_finite_is_a_status():
    table = _features(Broken(), PART, *images(3), np.ones(3, bool))
    assert table["status"].tolist() == ["ok", "not_finite", "ok"]
    assert table["feature"][1] is None


def test_networks_are_loaded_once_and_go_to_other_processes_unloaded(monkeypatch):
    from bench import registry
    from bench.identity import Spec
    from bench.stages import networks as module

    loaded = []
    monkeypatch.setattr(registry, "get", lambda group, name: lambda options, runtime: loaded.append(name) or object())
    monkeypatch.setattr(module, "Runtime", lambda device, threads: None)
    execution = SimpleNamespace(device="cpu", threads=1)
    networks = module.Networks(SimpleNamespace(execution=execution))
    part = SimpleNamespace(name="inception", options=Spec())
    assert networks.part("extractors", part) is networks.part("extractors", part)
    assert loaded == ["inception"]
    pickle.loads(pickle.dumps(networks)).part("extractors", part)
    assert loaded == ["inception"] * 2


def test_a_number_is_a_feature_of_length_one():
    table = _features(Scalar(), PART, *images(3), np.array([True, False, True]))
    assert [None if f is None else f.tolist() for f in table["feature"]] == [[1], None, [3]]
    assert "quality" not in table
    assert table["seen"].dropna().tolist() == [1, 3]


def test_a_network_that_reads_key_points_gets_each_crops_own():
    rows, crops = images(5)
    crops = [replace(crop, keypoints=np.full((5, 2), 10 * k)) for k, crop in enumerate(crops)]
    crops[1] = Crop(crops[1].pixels, SampleStatus.NO_FACE)
    table = _features(ByKeypoints(), PART, rows, crops, np.ones(5, bool))
    assert [None if f is None else f.tolist() for f in table["feature"]] == [[0, 0], None, [20] * 2, [30] * 2, [40] * 2]


class Letters:
    """The embedding of a text is its length."""

    def texts(self, prompts):
        return np.array([[len(prompt)] for prompt in prompts], np.float32)


def test_the_prompts_of_a_shard_are_embedded_once_each():
    spec = SimpleNamespace(protocol=SimpleNamespace(texts={"neutral": "a", "hat": "a hat", "far": "from far away"}))
    table = extract._texts(Letters(), spec, pd.DataFrame({"prompt_id": ["hat", "neutral", "hat"]}))
    assert dict(zip(table["prompt_id"], table["feature"].map(list), strict=True)) == {"hat": [5], "neutral": [1]}


@pytest.mark.parametrize("name", ["norm", "feature"])
def test_every_column_has_a_value_exactly_where_the_status_is_ok(name):
    rows, crops = images(5)
    table = _features(Brightness(), PART, rows, crops, np.array([True, True, False, True, False]))
    assert table[name].notna().tolist() == (table["status"] == "ok").tolist()


class Difference:
    """The distance of two crops is that of their first pixels."""

    def distances(self, crops):
        first = crops[:, 0, 0, 0].astype(float)
        return np.abs(first[:, None] - first)


def test_pairs_of_an_item_and_with_its_reference_carry_what_the_masks_kept():
    crop = np.zeros((2, 2, 3), np.uint8)
    rows = pd.DataFrame({"row": range(3), "item": "a", "subject": "A", "index": range(3)})
    crops = [
        Crop(crop, foreground=0.5),
        Crop(crop + 3, foreground=0.7),
        Crop(crop, ViewStatus.EMPTY_MASK, foreground=0.01),
    ]
    table = _pairs(Difference(), rows, crops, {"a": Crop(crop + 9, foreground=0.6)})
    of = table.set_index(["i", "j"])
    assert of["value"].dropna().to_dict() == {(0, 1): 3, (0, -1): 9, (1, -1): 6}
    assert of["status"].to_dict() == {
        (0, 1): "ok", (0, 2): "empty_mask", (0, -1): "ok", (1, 2): "empty_mask", (1, -1): "ok", (2, -1): "empty_mask",
    }  # fmt: skip
    assert of.loc[(0, 1), ["foreground_i", "foreground_j"]].tolist() == [0.5, 0.7]
    assert of.loc[(2, -1), ["foreground_i", "foreground_j"]].tolist() == [0.01, 0.6]


def test_items_that_are_cut_by_a_piece_are_compared_whole():
    _, crops = images(7)
    rows = pd.DataFrame({"row": range(7), "item": list("aaabbbc"), "subject": "A", "index": [0, 1, 2, 0, 1, 2, 0]})
    references = {item: Crop(np.full((2, 2, 3), 50, np.uint8)) for item in "abc"}
    whole = _pairs(Difference(), rows, crops, references)
    assert len(whole) == 6 + 6 + 1
    for size in (1, 2, 4):
        pd.testing.assert_frame_equal(whole, _pairs(Difference(), rows, crops, references, size))
