"""Feature tables of a shard: whose picture goes into the network, and whose row its answer comes to."""

import pickle
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bench.faces.views import View
from bench.stages.extract import _features, _pairs
from bench.stages.tables import NOT_READ

PART = SimpleNamespace(options=SimpleNamespace(batch=4))


class Brightness:
    """Answers each crop's first pixel; notes the sizes of its batches."""

    def __init__(self):
        self.batches = []

    def extract(self, crops):
        self.batches.append(crops[:, 0, 0, 0].tolist())
        return {"feature": np.repeat(crops[:, 0, 0, :1], 2, axis=1).astype(np.float32), "norm": crops[:, 0, 0, 0] * 2}


class Broken(Brightness):
    def extract(self, crops):
        found = super().extract(crops)
        found["feature"][1] = np.nan
        return found


def pictures(count):
    rows = pd.DataFrame({"row": range(count), "item": "a", "subject": "a", "index": -1})
    return rows, [View(np.full((2, 2, 3), k + 1, np.uint8)) for k in range(count)]


def test_only_pictures_to_be_read_are_shown_and_each_answer_lands_in_its_row():
    rows, views = pictures(9)
    views[2] = View(np.zeros((2, 2, 3), np.uint8), "no_face")
    network, read = Brightness(), np.array([True, False, True, False, True, True, True, True, False])
    table = _features(network, PART, rows, views, read)
    assert network.batches == [[1, 0, 5, 6], [7, 8, 0, 0]]
    assert table["status"].tolist() == ["ok", NOT_READ, "no_face", NOT_READ, "ok", "ok", "ok", "ok", NOT_READ]
    assert [None if f is None else f.tolist() for f in table["feature"]] == [
        [1, 1], None, None, None, [5, 5], [6, 6], [7, 7], [8, 8], None,
    ]  # fmt: skip
    assert [None if pd.isna(n) else int(n) for n in table["norm"]] == [2, None, None, None, 10, 12, 14, 16, None]


def test_a_shard_of_which_nothing_is_read_has_its_rows_all_the_same():
    rows, views = pictures(3)
    network = Brightness()
    table = _features(network, PART, rows, views, np.zeros(3, bool))
    assert network.batches == []
    assert table["status"].tolist() == [NOT_READ] * 3
    assert table["feature"].tolist() == [None] * 3


def test_a_number_that_is_not_finite_is_a_status():
    table = _features(Broken(), PART, *pictures(3), np.ones(3, bool))
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


@pytest.mark.parametrize("name", ["norm", "feature"])
def test_every_column_has_a_value_exactly_where_the_status_is_ok(name):
    rows, views = pictures(5)
    table = _features(Brightness(), PART, rows, views, np.array([True, True, False, True, False]))
    assert table[name].notna().tolist() == (table["status"] == "ok").tolist()


class Difference:
    """The distance of two crops is that of their first pixels."""

    def distances(self, crops):
        first = crops[:, 0, 0, 0].astype(float)
        return np.abs(first[:, None] - first)


def test_pairs_of_an_item_and_with_its_reference_carry_what_the_masks_kept():
    crop = np.zeros((2, 2, 3), np.uint8)
    rows = pd.DataFrame({"row": range(3), "item": "a", "subject": "A", "index": range(3)})
    views = [View(crop, foreground=0.5), View(crop + 3, foreground=0.7), View(crop, "empty_mask", foreground=0.01)]
    table = _pairs(Difference(), rows, views, {"a": View(crop + 9, foreground=0.6)})
    of = table.set_index(["i", "j"])
    assert of["value"].dropna().to_dict() == {(0, 1): 3, (0, -1): 9, (1, -1): 6}
    assert of["status"].to_dict() == {
        (0, 1): "ok", (0, 2): "empty_mask", (0, -1): "ok", (1, 2): "empty_mask", (1, -1): "ok", (2, -1): "empty_mask",
    }  # fmt: skip
    assert of.loc[(0, 1), ["foreground_i", "foreground_j"]].tolist() == [0.5, 0.7]
    assert of.loc[(2, -1), ["foreground_i", "foreground_j"]].tolist() == [0.01, 0.6]
