"""What the score stage hands to metrics of a feature table: its columns, their roles, and the prompts' embeddings."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bench.extractors.protocol import FEATURE
from bench.stages.plan import ImageList
from bench.stages.score import Column, _column, _columns, _features, _read, _texts, wanted
from bench.stages.tables import embeds_texts


def part(name):
    return SimpleNamespace(name=name)


def table(**columns):
    return pd.DataFrame({"status": ["ok", "no_face", "ok"], FEATURE: [np.ones(2), None, np.zeros(2)]}).assign(**columns)


def test_a_norm_that_is_a_quality_has_a_name_of_its_own():
    columns = _columns("mag", part("magface"), table(norm=[3.0, np.nan, 5.0]))
    assert columns == [
        Column("mag", "mag", FEATURE, "recognition", "cosine"), Column("mag:norm", "mag", "norm", "quality", "cosine"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("extractor", "role", "distance"),
    [
        ("crfiqa", "quality", "cosine"), ("dlib_face", "recognition", "euclidean"), ("mica", "shape", "euclidean"),
        ("inception", "inception", "cosine"), ("clip_text", "clip_text", "cosine"),
    ],
)  # fmt: skip
def test_roles_and_distances_are_those_that_the_class_declares(extractor, role, distance):
    assert _columns("x", part(extractor), table()) == [Column("x", "x", FEATURE, role, distance)]


def test_numbers_become_features_of_length_one():
    tables = {"mag": table(norm=[3.0, np.nan, 5.0])}
    [_, norm] = _columns("mag", part("magface"), tables["mag"])
    photos = {"mag": table().iloc[:2]}
    found = _features(norm, tables, photos, np.array([True, False]), np.array([False, True]))
    np.testing.assert_array_equal(found.samples, [[3], [np.nan], [5]])
    assert (found.references.shape, found.targets.shape) == ((1, 1), (1, 1))
    assert np.isnan(found.references).all()


def test_a_feature_is_read_as_it_is():
    column = _column(table(), FEATURE)
    assert column[FEATURE][0].tolist() == [1, 1]
    assert column[FEATURE][1] is None


def test_metrics_of_a_further_column_are_wanted():
    evaluator = SimpleNamespace(all_extractors={"clip": part("clip_text")})
    spec = SimpleNamespace(evaluator=evaluator, protocol=SimpleNamespace(metrics=None))
    names = {metric.name for metric in wanted(spec)}
    assert names == {"aesthetic", "detection_agreement", "prompt_following", "failure_to_acquire"}


def test_prompts_are_read_from_all_shards(tmp_path, monkeypatch):
    from bench.stages import score

    images = ImageList(tmp_path, pd.DataFrame({"row": range(4)}), (0, 2, 4))
    shards = images.table("texts/clip")
    shards.write(0, pd.DataFrame({"prompt_id": ["hat", "neutral"], FEATURE: [np.ones(3), np.zeros(3)]}))
    shards.write(1, pd.DataFrame({"prompt_id": ["hat"], FEATURE: [np.ones(3)]}))
    monkeypatch.setattr(score, "texts_table", lambda *_: shards)
    found = _texts(images, SimpleNamespace(), "clip")
    assert {name: vector.tolist() for name, vector in found.items()} == {"hat": [1, 1, 1], "neutral": [0, 0, 0]}


def test_only_networks_of_texts_embed_prompts(tmp_path, monkeypatch):
    from bench.stages import score

    assert embeds_texts(part("clip_text"))
    assert not embeds_texts(part("clip"))
    images = ImageList(tmp_path, pd.DataFrame({"row": range(2)}), (0, 2))
    monkeypatch.setattr(score, "feature_table", lambda images, spec, name: images.table(name))
    images.table("facenet").write(0, table())
    networks = {"facenet": part("facenet"), "lpips": part("lpips")}
    read = _read(images, SimpleNamespace(evaluator=SimpleNamespace(all_extractors=networks)))
    assert set(read) == {"facenet"}
