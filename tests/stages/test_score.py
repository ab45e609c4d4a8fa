"""What the score stage hands to metrics of a feature table: its columns, their roles, and the prompts' embeddings."""

import weakref
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bench import registry
from bench.errors import UserError
from bench.extractors.protocol import FEATURE
from bench.metrics.protocol import Features
from bench.metrics.shared.eligibility import finite, nonzero, usable_samples
from bench.stages import features, score
from bench.stages.features import FeatureColumn, Stored, feature_columns
from bench.stages.plan import ImageList
from bench.stages.score import Column, _all_columns, _distances, _pair_statuses, _stored_features, _texts, wanted
from bench.stages.tables import embeds_texts
from bench.store import ShardTable
from bench.testing.world import evaluation


def part(name):
    return SimpleNamespace(name=name)


def table(**columns):
    return pd.DataFrame(
        {"row": range(3), "status": ["ok", "no_face", "ok"], FEATURE: [np.ones(2, np.float32), None, np.zeros(2)]}
    ).assign(**columns)


def images(folder, monkeypatch, rows=3, **tables):
    """Return a list of images in one shard, with the feature tables of some networks."""
    found = ImageList(folder, pd.DataFrame({"row": range(rows)}), (0, rows))
    monkeypatch.setattr(score, "feature_table", lambda images, spec, name: images.table(name))
    for name, frame in tables.items():
        found.table(name).write(0, frame)
    return found


def evaluator(**networks):
    return SimpleNamespace(evaluator=SimpleNamespace(all_extractors={k: part(v) for k, v in networks.items()}))


def test_a_norm_that_is_a_quality_has_a_name_of_its_own(tmp_path, monkeypatch):
    found = images(tmp_path, monkeypatch, mag=table(norm=[3.0, np.nan, 5.0]))
    assert _all_columns(found, evaluator(mag="magface")) == [
        Column("mag", "mag", FEATURE, "recognition", "cosine"), Column("mag:norm", "mag", "norm", "quality", "cosine"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("extractor", "role", "distance"),
    [
        ("crfiqa", "quality", "cosine"), ("dlib_face", "recognition", "euclidean"), ("mica", "shape", "euclidean"),
        ("inception", "inception", "cosine"), ("clip_text", "clip_text", "cosine"),
    ],
)  # fmt: skip
def test_roles_and_distances_are_those_that_the_class_declares(tmp_path, monkeypatch, extractor, role, distance):
    found = images(tmp_path, monkeypatch, x=table())
    assert _all_columns(found, evaluator(x=extractor)) == [Column("x", "x", FEATURE, role, distance)]


def test_numbers_become_features_of_length_one(tmp_path, monkeypatch):
    samples = images(tmp_path / "run", monkeypatch, mag=table(norm=[3.0, np.nan, 5.0]))
    photos = images(tmp_path / "photos", monkeypatch, rows=2, mag=table().iloc[:2])
    spec = evaluator(mag="magface")
    made, listed = _stored_features(samples, photos, spec, _all_columns(samples, spec))
    np.testing.assert_array_equal(made[0], [[1, 1], [np.nan, np.nan], [0, 0]])
    np.testing.assert_array_equal(made[1], [[3], [np.nan], [5]])
    np.testing.assert_array_equal(listed[0], [[1, 1], [np.nan, np.nan]])
    assert listed[1].shape == (2, 1)
    assert np.isnan(listed[1]).all()


def test_samples_without_any_feature_are_as_wide_as_photos(tmp_path, monkeypatch):
    samples = images(tmp_path / "run", monkeypatch, mag=table().assign(feature=None))
    photos = images(tmp_path / "photos", monkeypatch, mag=table())
    spec = evaluator(mag="magface")
    (made,), (listed,) = _stored_features(samples, photos, spec, _all_columns(samples, spec))
    assert (made.shape, listed.shape) == ((3, 2), (3, 2))
    assert np.isnan(made).all()


def stored(folder, sizes=(3, 0, 5, 4), width=3):
    """Return rows in shards, and the same as an array; every third has none."""
    rows = np.random.default_rng(0).standard_normal((sum(sizes), width)).astype(np.float32)
    rows[::3] = np.nan
    bounds = [0, *np.cumsum(sizes).tolist()]
    whole = ShardTable(folder)
    for shard, (start, end) in enumerate(pairwise(bounds)):
        cells = [None if np.isnan(row).any() else row for row in rows[start:end]]
        keys = {"row": range(start, end), "status": [f"of {row}" for row in range(start, end)]}
        whole.write(shard, pd.DataFrame({**keys, FEATURE: pd.Series(cells, dtype=object)}))
    return Stored(FeatureColumn(whole, FEATURE), bounds, width), rows


@pytest.fixture
def read(monkeypatch):
    """The shards that were read, in this order."""
    numbers, own = [], FeatureColumn.shard
    monkeypatch.setattr(
        FeatureColumn, "shard", lambda self, number, width=0: numbers.append(number) or own(self, number, width)
    )
    return numbers


def test_what_is_read_from_shards_is_the_array(tmp_path):
    found, rows = stored(tmp_path)
    assert (found.shape, len(found), found.dtype, found.ndim) == (rows.shape, len(rows), rows.dtype, 2)
    mask = np.arange(12) % 2 == 0
    for key in (
        slice(2, 9),
        slice(None, None, -2),
        np.array([11, 0, 4, 4, -1]),
        [3, 0, 4],
        [1, 2],
        mask,
        7,
        (slice(None), 0),
        (5, 1),
    ):
        np.testing.assert_array_equal(found[key], rows[key])
    np.testing.assert_array_equal(np.asarray(found), rows)
    np.testing.assert_array_equal(found @ np.ones(3, np.float32), rows @ np.ones(3, np.float32))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(rows))
    np.testing.assert_array_equal(found.astype(np.float64).sum(axis=1), rows.astype(np.float64).sum(axis=1))


def test_an_index_reads_its_shards_alone(tmp_path, read):
    found, _ = stored(tmp_path)
    found[np.array([4, 3, 11])]
    assert sorted(read) == [2, 3]


def test_statuses_are_read_with_features(tmp_path, read):
    found, _ = stored(tmp_path)
    found[np.array([4, 3, 11])]
    assert found.status().tolist() == [f"of {row}" for row in range(12)]
    assert sorted(read) == [0, 1, 2, 3]


def test_a_shard_of_other_rows_or_without_statuses_is_an_error(tmp_path):
    column = FeatureColumn(ShardTable(tmp_path), FEATURE)
    column.table.write(0, pd.DataFrame({"status": ["ok"], FEATURE: [np.ones(2, np.float32)]}))
    with pytest.raises(UserError, match=r"00000\.parquet has 1 rows for 3 images; execution\.on_existing=always"):
        np.asarray(Stored(column, (0, 3), 2))
    column.table.write(0, pd.DataFrame({FEATURE: [np.ones(2, np.float32)]}))
    with pytest.raises(UserError, match=r"00000\.parquet has no column status; execution\.on_existing=always"):
        column.shard(0)


def test_what_nobody_uses_is_forgotten_at_once(tmp_path):
    found, _ = stored(tmp_path)
    found[2:9]
    known = weakref.ref(found)
    del found
    assert known() is None


def test_whether_features_are_usable_is_read_once(tmp_path, read):
    found, rows = stored(tmp_path)
    given = Features(found, rows, rows)
    for _ in range(2):
        np.testing.assert_array_equal(usable_samples(given, finite), finite(rows))
        np.testing.assert_array_equal(usable_samples(given, nonzero), nonzero(rows))
    assert sorted(read) == [0, 2, 3]


def test_the_narrowest_columns_are_held(tmp_path, monkeypatch):
    monkeypatch.setattr(features, "HELD", 4 * 12 * 5)
    bounds = (0, 12)
    columns = [FeatureColumn(ShardTable(tmp_path / name), FEATURE) for name in ("wide", "narrow", "number")]
    for column, width in zip(columns, (8, 4, 1), strict=True):
        column.table.write(0, pd.DataFrame({"status": ["ok"] * 12, FEATURE: list(np.ones((12, width), np.float32))}))
    found = list(feature_columns([Stored(column, bounds, column.width(1)) for column in columns]))
    assert [type(one) for one in found] == [Stored, np.ndarray, np.ndarray]
    assert [one.shape for one in found] == [(12, 8), (12, 4), (12, 1)]


@pytest.mark.parametrize("metric", ["fid", "kid", "id_similarity", "within_similarity", "copying"])
def test_metrics_of_stored_features_are_those_of_arrays(tmp_path, metric):
    given = evaluation(items=12, dims={"arcface": 6, "inception": 5, "dinov2": 4})
    bounds = [0, 7, 30, 60]
    lazy = {}
    for name, part in given.features.items():
        whole = ShardTable(tmp_path / name)
        for shard, (start, end) in enumerate(pairwise(bounds)):
            whole.write(shard, pd.DataFrame({"status": "ok", FEATURE: list(part.samples[start:end])}))
        lazy[name] = replace(part, samples=Stored(FeatureColumn(whole, FEATURE), bounds, part.samples.shape[1]))
    found, expected = (
        registry.get("metrics", metric).compute(replace(given, features=f)) for f in (lazy, given.features)
    )
    assert found.scores == expected.scores


def test_metrics_of_a_further_column_are_wanted():
    evaluator = SimpleNamespace(all_extractors={"clip": part("clip_text")})
    spec = SimpleNamespace(evaluator=evaluator, protocol=SimpleNamespace(metrics=None))
    names = {metric.name for metric in wanted(spec)}
    assert names == {"aesthetic", "detection_agreement", "prompt_following", "failure_to_acquire"}


def test_prompts_are_read_from_all_shards(tmp_path, monkeypatch):
    images = ImageList(tmp_path, pd.DataFrame({"row": range(4)}), (0, 2, 4))
    shards = images.table("texts/clip")
    shards.write(0, pd.DataFrame({"prompt_id": ["hat", "neutral"], FEATURE: [np.ones(3), np.zeros(3)]}))
    shards.write(1, pd.DataFrame({"prompt_id": ["hat"], FEATURE: [np.ones(3)]}))
    monkeypatch.setattr(score, "texts_table", lambda *_: shards)
    found = _texts(images, SimpleNamespace(), "clip")
    assert {name: vector.tolist() for name, vector in found.items()} == {"hat": [1, 1, 1], "neutral": [0, 0, 0]}


def test_only_networks_of_texts_embed_prompts():
    assert embeds_texts(part("clip_text"))
    assert not embeds_texts(part("clip"))


def test_statuses_are_of_planned_samples_alone_and_each_has_one():
    samples = pd.DataFrame({"item": ["a", "a", "b"], "index": [0, 1, 0]})
    pairs = [("a", 0, 1, "ok"), ("a", 0, -1, "ok"), ("a", 1, -1, "ok"), ("b", 0, -1, "no_face"), ("b", 7, -1, "ok")]
    table = pd.DataFrame(pairs, columns=["item", "i", "j", "status"])
    assert _pair_statuses(samples, table).tolist() == ["ok", "ok", "no_face"]
    with pytest.raises(UserError, match="no row of sample 0 of item 'b'"):
        _pair_statuses(samples, table[table["item"] == "a"])


def test_distances_are_those_of_all_shards(tmp_path, monkeypatch):
    rows = pd.DataFrame({"row": range(4), "item": ["a", "a", "b", "b"], "index": [0, 1, 0, 1]})
    found = ImageList(tmp_path, rows, (0, 2, 4))
    monkeypatch.setattr(score, "feature_table", lambda images, spec, name: images.table(name))
    for shard, item, status in ((0, "a", "ok"), (1, "b", "no_face")):
        pairs = [(2 * shard, 0, 1, status), (2 * shard, 0, -1, "ok"), (2 * shard + 1, 1, -1, status)]
        frame = pd.DataFrame(pairs, columns=["row", "i", "j", "status"])
        values = [0.5 if one == "ok" else None for one in frame["status"]]
        found.table("lpips").write(shard, frame.assign(item=item, subject=item, value=values, foreground_i=1.0))
    own = _distances(found, SimpleNamespace(), "lpips")
    assert own.pairs.to_dict("records") == [{"i": 0, "j": 1, "item": "a", "value": 0.5, "foreground_i": 1.0}]
    assert own.to_reference[["item", "i", "value"]].to_numpy().tolist() == [["a", 0, 0.5], ["a", 1, 0.5], ["b", 0, 0.5]]
    assert own.statuses.tolist() == ["ok", "ok", "ok", "no_face"]
