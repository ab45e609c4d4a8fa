"""The judges' metrics on evaluations small enough to follow by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bench import registry
from bench.metrics import (
    aesthetic,
    copying_sscd,
    face_quality,
    head_pose_diversity,
    id_similarity,
    prompt_following,
    quality_similarity,
    verification,
    yaw_similarity,
)
from bench.metrics.protocol import NUMBER, Features
from bench.metrics.shared.prompts import of_prompt, with_prompts
from bench.testing.world import PROMPTS, evaluation
from tests.metrics.world import by_hand, scores

PEOPLE = [(f"i{k}", f"s{k}", "ok") for k in range(4)]
FRONT = np.eye(3).ravel()


def turned(degrees):
    """A head that is turned to its side: the rotation about the vertical axis, row by row."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return [c, 0, s, 0, 1, 0, -s, 0, c]


def judged(role, samples, references, similarity=None):
    """Four people with samples (item, status, number or vector or None); embeddings by which each sample is its item's.

    similarity: per sample its cosine with its reference.
    """
    rows = [(f"i{item}", number, status, value) for number, (item, status, value) in enumerate(samples)]
    given = by_hand(rows, [(*who, value) for who, value in zip(PEOPLE, references, strict=True)], role="judge")
    cosine = np.ones(len(samples)) if similarity is None else np.asarray(similarity)
    vectors = np.stack([cosine, np.sqrt(1 - cosine**2)], 1).astype(np.float32)
    vectors[[status != "ok" for _, status, _ in samples]] = np.nan
    embeddings = Features(vectors, np.tile(np.array([[1, 0]], np.float32), (4, 1)), np.empty((0, 2), np.float32))
    return replace(
        given,
        features={**given.features, "net": embeddings},
        roles={"judge": role, "net": "recognition"},
        recognisers={"net": "none"},
    )


def value(result, name, variant="judge"):
    return scores(result)[variant, name].value


def test_face_quality():
    """Six samples of qualities 1 to 4, one not readable, one without a face; references 2, 4, 6, 8."""
    samples = [(0, "ok", [1]), (0, "ok", [2]), (1, "ok", [3]), (2, "ok", [4]), (3, "ok", None), (3, "no_face", None)]
    result = face_quality.compute(judged("quality", samples, [[2], [4], [6], [8]]))
    assert value(result, "mean_detected") == 2.5
    assert value(result, "q50") == 2.5
    assert value(result, "q05") == pytest.approx(1.15)
    assert value(result, "real_level") == 5
    assert value(result, "real_q05") == 2
    assert value(result, "below_real_q05") == pytest.approx(3 / 6)
    mean = scores(result)["judge", "mean_detected"]
    assert (mean.n, mean.n_failed) == (4, 2)
    assert "1 samples with a face but without this feature" in mean.note


def test_similarity_above_the_references_quality():
    """Of five samples three reach the references' level 2: those with the similarities 0.8, 0.6 and 1."""
    samples = [(0, "ok", [1]), (0, "ok", [2]), (1, "ok", [3]), (2, "ok", [9]), (3, "no_face", None)]
    given = judged("quality", samples, [[2], [4], [6], [8]], [0.0, 0.8, 0.6, 1.0, 0.0])
    found = scores(quality_similarity.compute(given))
    assert found["net", "mean_above[quality by judge]"].value == pytest.approx(0.8)
    assert found["net", "mean_above[quality by judge]"].n == 3
    assert found["net", "share_above[quality by judge]"].value == pytest.approx(3 / 5)


def test_nothing_reaches_the_references_quality():
    given = judged("quality", [(0, "ok", [1])], [[2], [4], [6], [8]])
    found = scores(quality_similarity.compute(given))
    assert found["net", "mean_above[quality by judge]"].value is None
    assert found["net", "share_above[quality by judge]"].value == 0


def test_copies_of_the_reference():
    """Cosines 1, 0.8, 0.6 and, of a sample without a face, 0.75: three reach the published 0.75."""
    samples = [
        (0, "ok", [1, 0]), (1, "ok", [0.8, 0.6]), (2, "ok", [0.6, 0.8]), (3, "no_face", [3, np.sqrt(7)]),
        (3, "undecodable", None),
    ]  # fmt: skip
    result = copying_sscd.compute(judged("sscd", samples, [[1, 0]] * 4))
    assert value(result, "mean_images") == pytest.approx((1 + 0.8 + 0.6 + 0.75) / 4)
    assert value(result, "copies") == pytest.approx(3 / 4)
    copies = scores(result)["judge", "copies"]
    assert (copies.n, copies.n_failed) == (4, 1)


def test_copies_above_strangers():
    """Fifteen people on a circle have 105 pairs: at 10 % the threshold lies above the 11th largest cosine."""
    angles = np.linspace(0, np.pi, 15)
    directions = np.stack([np.cos(angles), np.sin(angles)], 1)
    people = [(f"i{k}", f"s{k}", "ok", row) for k, row in enumerate(directions)]
    own = [(f"i{k}", 0, "ok", row if k else -row) for k, row in enumerate(directions)]
    given = replace(by_hand(own, people, role="judge"), roles={"judge": "sscd"})
    result = copying_sscd.compute(given)
    assert value(result, "above_strangers@1e-1") == pytest.approx(14 / 15)
    assert value(result, "above_strangers@1e-2") is None


def test_what_all_portraits_share_is_taken_away():
    """The references' mean is (3, 0, 0) / sqrt(10): the two samples differ from their references as much as may be."""
    references = [[3, 1, 0], [3, -1, 0], [3, 0, 1], [3, 0, -1]]
    result = copying_sscd.compute(judged("sscd", [(0, "ok", [3, -1, 0]), (2, "ok", [3, 0, 1])], references))
    assert value(result, "mean_images") == pytest.approx((0.8 + 1) / 2)
    assert value(result, "mean_centred") == pytest.approx(0, abs=1e-6)


def test_angles_between_the_heads_of_an_item():
    """Heads at 0, 30 and -60 degrees: 30, 60 and 90 apart; the second item has one pair, 10 apart."""
    turns = [(0, 0), (0, 30), (0, -60), (1, 5), (1, -5), (2, 80)]
    given = judged("head_pose", [(item, "ok", turned(turn)) for item, turn in turns], [FRONT] * 4)
    result = head_pose_diversity.compute(given)
    assert value(result, "mean_items") == pytest.approx((60 + 10) / 2, abs=1e-4)
    assert value(result, "mean_pairs") == pytest.approx((30 + 60 + 90 + 10) / 4, abs=1e-4)


def test_similarity_by_yaw():
    """Yaws -10, 20, -44, 45 and 90 degrees; the one without a face has none."""
    turns = [-10, 20, -44, 45, 90]
    samples = [(k % 4, "ok", turned(turn)) for k, turn in enumerate(turns)] + [(0, "no_face", None)]
    given = judged("head_pose", samples, [FRONT] * 4, [1.0, 0.8, 0.6, 0.4, 0.2, 0])
    found = scores(yaw_similarity.compute(given))
    means = {name.partition("[")[2]: score.value for (_, name), score in found.items()}
    expected = {"yaw below 15, judge]": 1, "yaw 15 to 45, judge]": 0.7, "yaw from 45, judge]": 0.3}
    assert means == pytest.approx(expected)
    assert {score.n_failed for score in found.values()} == {1}


def test_features_that_are_no_rotation_have_no_pose():
    given = judged("head_pose", [(0, "ok", [1, 2])] * 2, [[1, 2]] * 4)
    for metric in (head_pose_diversity, yaw_similarity):
        assert [score.value for score in metric.compute(given).scores] == [None]


def prompted(samples, prompts, texts):
    given = judged("clip_text", samples, [[1, 0]] * 4)
    return replace(given, samples=given.samples.assign(prompt_id=prompts), texts={"judge": texts})


def test_prompt_following():
    """Own cosines 1, 0.6 and -0.6; with the other prompt 0, 0.8 and 0.8: the first image alone fits its own best."""
    samples = [(0, "ok", [2, 0]), (1, "ok", [3, 4]), (2, "no_face", [-3, 4]), (3, "generation_error", None)]
    texts = {"hat": np.array([5.0, 0.0]), "beard": np.array([0.0, 1.0])}
    result = prompt_following.compute(prompted(samples, ["hat"] * 4, texts))
    assert value(result, "mean_images") == pytest.approx(1 / 3)
    assert value(result, "clip_score") == pytest.approx(160 / 3)
    assert value(result, "other_prompts") == pytest.approx(1.6 / 3)
    assert value(result, "margin") == pytest.approx((1 - 0.2 - 1.4) / 3)
    assert value(result, "own_first") == pytest.approx(1 / 3)
    mean = scores(result)["judge", "mean_images"]
    assert (mean.n, mean.n_failed) == (3, 1)


def test_one_prompt_has_nothing_to_compare_with():
    result = prompt_following.compute(prompted([(0, "ok", [2, 0])], ["hat"], {"hat": np.array([1.0, 0.0])}))
    assert value(result, "mean_images") == 1
    assert value(result, "own_first") is None
    assert "one prompt" in scores(result)["judge", "margin"].note


def test_aesthetic_score_needs_no_face():
    samples = [(0, "ok", [5]), (1, "no_face", [7]), (2, "undecodable", None)]
    result = aesthetic.compute(judged("aesthetic", samples, [[4], [4], [6], [6]]))
    assert value(result, "mean_images") == 6
    assert value(result, "real_level") == 5
    assert scores(result)["judge", "mean_images"].n_failed == 1


def test_a_euclidean_recogniser_verifies_by_its_distance():
    """Distances 0.2 and 1.9 on one ray, where every cosine is 1; the given threshold is that of the distance 0.6."""
    given = by_hand(
        [("i0", 0, "ok", [1.2, 0]), ("i1", 0, "ok", [4, 0])],
        [("i0", "s0", "ok", [1, 0]), ("i1", "s1", "ok", [2.1, 0])],
    )
    features = {"net": replace(given.features["net"], distance="euclidean")}
    threshold = (1 - 0.6) / (1 + 0.6)
    cosine = verification.compute(given, {"net": {"1e-2": threshold}})
    euclidean = verification.compute(replace(given, features=features), {"net": {"1e-2": threshold}})
    assert value(cosine, "fnmr@1e-2", "net") == 0
    assert value(euclidean, "fnmr@1e-2", "net") == 0.5
    assert value(euclidean, "achieved_fmr@1e-2", "net") == 0
    assert value(cosine, "achieved_fmr@1e-2", "net") == 1


def test_rows_are_pandas_tables_of_items():
    samples = [(0, "ok", [1]), (0, "ok", [3]), (1, "ok", [4])]
    table = face_quality.compute(judged("quality", samples, [[2], [4], [6], [8]])).per_item
    assert isinstance(table, pd.DataFrame)
    assert dict(zip(table["item"], table["value"], strict=True)) == {"i0": 2, "i1": 4}


@pytest.mark.parametrize("name", ["id_similarity", "lpips_diversity", "kid", "verification", "prompt_following"])
def test_numbers_by_prompt_are_those_of_its_samples_alone(name):
    """Every second sample has the other prompt; what is computed on the rest must be found again."""
    metric, given = registry.get("metrics", name), evaluation()
    found = {score.number: score for score in with_prompts(metric, given).scores}
    for place, prompt in enumerate(PROMPTS):
        alone = metric.compute(of_prompt(given, prompt))
        assert len(of_prompt(given, prompt).samples) == len(given.samples) / 2
        assert alone.scores
        for score in alone.scores:
            assert found[score.number._replace(group="prompt_id", member=prompt)].value == score.value
        assert of_prompt(given, prompt).samples["prompt_id"].unique().tolist() == [PROMPTS[place]]
    assert {number for number in found if not number.group} == {score.number for score in metric.compute(given).scores}


def test_pairs_by_prompt_stay_within_it():
    given = evaluation(items=1, per_item=4)
    pairs = of_prompt(given, "hat").pairs["lpips"]
    assert pairs[["i", "j"]].to_numpy().tolist() == [[1, 3]]
    assert of_prompt(given, "hat").to_reference["lpips"]["i"].tolist() == [1, 3]


def test_one_prompt_gives_no_numbers_by_prompt():
    given = evaluation()
    one = replace(given, samples=given.samples.assign(prompt_id="neutral"))
    assert {score.number.group for score in with_prompts(id_similarity.METRIC, one).scores} == {""}


def test_items_by_prompt_are_named():
    table = with_prompts(id_similarity.METRIC, evaluation()).per_item
    assert set(zip(table["group"], table["member"], strict=True)) == {
        ("", ""), ("prompt_id", "neutral"), ("prompt_id", "hat"),
    }  # fmt: skip
    assert not table.duplicated(["item", *NUMBER]).any()
