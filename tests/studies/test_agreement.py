"""Agreement with people: values by hand, and planted truths that the whole table must show."""

import numpy as np
import pandas as pd
import pytest

from bench.errors import UserError
from bench.studies import agreement, validation
from bench.studies.agreement import accuracy, others_majority, outcomes, pairs_of, vote_accuracy
from bench.studies.validation import directions, oriented, validate

SOURCES, METHODS = 30, 6


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(agreement, "RESAMPLES", 200)


@pytest.fixture(scope="module")
def world():
    """Ratings of 30 sources by 6 methods, and metrics of known worth: the score itself, a blur of it, and noise."""
    rng = np.random.default_rng(0)
    source, method = np.indices((SOURCES, METHODS)).reshape(2, -1)
    score = rng.standard_normal(len(source)) + 0.3 * method
    images = [f"{s}-{m}.png" for s, m in zip(source, method, strict=True)]
    ratings = pd.DataFrame(
        {"image": images, "source": source.astype(str), "method": method.astype(str), "reference": ""}
    )
    ratings = ratings.assign(dimension="identity", score=score)
    columns = {"same": score, "blur": score + rng.standard_normal(len(score)), "noise": rng.standard_normal(len(score))}
    return ratings, pd.DataFrame(columns, index=images)


def row(found, metric, statistic, failures="lowest", dimension="identity"):
    frame = found.agreement
    keep = (frame["metric"] == metric) & (frame["statistic"] == statistic) & (frame["failures"] == failures)
    (one,) = frame[keep & (frame["dimension"] == dimension)].to_dict("records")
    return one


def test_planted_truths(world):
    ratings, values = world
    found = validate(values, ratings, None)
    for statistic in ("srcc", "krcc", "pairwise_accuracy", "srcc_within_source"):
        same, blur, noise = (row(found, name, statistic) for name in values)
        chance = 0.5 if statistic == "pairwise_accuracy" else 0.0
        assert same["value"] == pytest.approx(1)
        assert noise["low"] < chance < noise["high"]
        assert chance < blur["low"] < blur["high"] < 1
        assert same["n_sources"] == SOURCES
    assert row(found, "same", "plcc", "left_out")["value"] == pytest.approx(1)
    assert row(found, "same", "plcc_logistic5", "left_out")["value"] > 0.999
    system = row(found, "same", "system_srcc", "left_out")
    assert (system["value"], system["n"]) == (pytest.approx(1), METHODS)
    assert np.isnan(system["low"])


def test_differences_are_paired_and_adjusted(world):
    ratings, values = world
    found = validate(values, ratings, None).differences
    assert len(found) == 2 * 3
    by = {(r.statistic, r.a, r.b): r for r in found.itertuples()}
    for statistic in ("srcc", "pairwise_accuracy"):
        clear = by[statistic, "same", "noise"]
        assert clear.low > 0
        assert clear.p_holm < 0.05
        assert clear.p_holm >= clear.p_value
    nothing = validate(values.assign(blur=values["noise"]), ratings, None).differences
    same = nothing[(nothing["a"] == "blur") & (nothing["b"] == "noise")]
    assert (same["difference"] == 0).all()
    assert (same["p_value"] == 1).all()


def test_a_sample_without_a_face_ranks_lowest_and_the_figure_without_it_is_beside(world):
    ratings, values = world
    values = values.copy()
    best = ratings["score"].to_numpy().argsort()[-10:]
    values.iloc[best, 0] = np.nan
    found = validate(values, ratings, None)
    with_failures, without = row(found, "same", "srcc"), row(found, "same", "srcc", "left_out")
    assert with_failures["value"] < 0.9
    assert without["value"] == pytest.approx(1)
    assert (with_failures["n"], without["n"], with_failures["n_failed"], without["n_failed"]) == (180, 170, 10, 10)
    pairs, left = row(found, "same", "pairwise_accuracy"), row(found, "same", "pairwise_accuracy", "left_out")
    assert pairs["value"] < 1
    assert left["value"] == 1


def test_pairs_by_hand():
    human, sources = np.array([3.0, 2.0, 2.0, 0.0, 5.0]), np.array(["a", "a", "a", "b", "b"])
    pairs = pairs_of(human, sources)
    assert sorted(zip(pairs.better.tolist(), pairs.worse.tolist(), strict=True)) == [(0, 1), (0, 2), (4, 3)]
    metric = np.array([1.0, 1.0, 0.0, -np.inf, -np.inf])
    assert outcomes(metric, pairs).tolist() == [0.5, 1.0, 0.5]
    assert accuracy(metric, pairs, seed=0)[0] == pytest.approx(2 / 3)
    assert len(pairs_of(human, sources, width=1.0).source) == 1
    assert len(pairs_of([], np.array([])).source) == 0


def votes_of(world, raters, lapse, seed=1):
    """Each rater prefers the higher score and picks at random in a share `lapse` of the votes."""
    ratings, _ = world
    rng, lines = np.random.default_rng(seed), []
    for source, part in ratings.groupby("source"):
        a, b = part.iloc[0], part.iloc[1]
        truth = float(a["score"] > b["score"])
        for rater in range(raters):
            value = float(rng.integers(2)) if rng.random() < lapse else truth
            lines.append((source, a["image"], b["image"], str(rater), "identity", value))
    return pd.DataFrame(lines, columns=["source", "image_a", "image_b", "rater", "dimension", "value"])


def test_the_ceiling_is_one_rater_against_the_others(world):
    _, values = world
    votes = votes_of(world, raters=15, lapse=0.4)
    found = validate(values, None, votes)
    ceiling = row(found, "one rater", "vote_accuracy")
    assert ceiling["value"] == pytest.approx(0.8, abs=0.05)
    assert row(found, "same", "vote_accuracy")["value"] > 0.97
    noise = row(found, "noise", "vote_accuracy")
    assert noise["low"] < 0.5 < noise["high"]


def test_majority_of_the_others_by_hand():
    votes = pd.DataFrame({"pair": [0, 0, 0, 1, 2, 2], "value": [1.0, 1.0, 0.0, 1.0, 0.5, 1.0]})
    np.testing.assert_array_equal(others_majority(votes), [np.nan, np.nan, 1, np.nan, 1, np.nan])
    found = vote_accuracy(np.array([1.0, 0.5, 0.0]), np.array([1.0, 1.0, np.nan]), np.array(["a", "b", "c"]), seed=0)
    assert (found.value, found.n) == (0.75, 2)


def test_what_does_not_vary_has_no_coefficient(world):
    ratings, values = world
    found = validate(values.assign(noise=1.0), ratings, None)
    assert np.isnan(row(found, "noise", "srcc")["value"])
    assert row(found, "noise", "pairwise_accuracy")["value"] == 0.5
    two = validate(values, ratings.iloc[:2], None)
    assert np.isnan(row(two, "same", "srcc")["value"])


def test_directions():
    values = pd.DataFrame({"lpips[alex]": [1.0, 2.0], "id[x]": [1.0, 2.0]})
    lower, none = directions(list(values), {"lpips": False, "id": True})
    assert (lower, none) == (["lpips[alex]"], [])
    assert oriented(values, lower)["lpips[alex]"].tolist() == [-1, -2]
    with pytest.raises(UserError, match="no metric 'x' to turn"):
        oriented(values, ["x"])


def test_an_image_without_values_is_named(world):
    ratings, values = world
    with pytest.raises(UserError, match=r"1 judged images have no row of values, the first is '0-0\.png'"):
        validate(values.iloc[1:], ratings, None)


def test_images_are_laid_out_for_the_folder_method(tmp_path):
    for name in ("a.png", "b/1.png", "b/2.JPG"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).write_bytes(name.encode())
    frame = pd.DataFrame({"image": ["b/1.png", "b/2.JPG", "a.png"], "source": ["s", "s", "t"]})
    placed = validation._lay_out(frame, tmp_path / "images", tmp_path / "out")
    assert placed["index"].tolist() == [0, 1, 0]
    assert (tmp_path / "out/s/1.jpg").read_bytes() == b"b/2.JPG"
    assert sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")) == [
        "s/0.png",
        "s/1.jpg",
        "t/0.png",
    ]
    with pytest.raises(UserError, match=r"no image 'c\.png'"):
        validation._lay_out(pd.DataFrame({"image": ["c.png"], "source": ["s"]}), tmp_path / "images", tmp_path / "out")
    with pytest.raises(UserError, match="cannot be the name of a folder"):
        validation._lay_out(frame.assign(source="../x"), tmp_path / "images", tmp_path / "out")
