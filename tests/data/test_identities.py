"""Sampled people as a dataset: items without a photo, whose samples are made from vectors alone."""

import numpy as np
import pandas as pd
import pytest

from bench.__main__ import main
from bench.data.identities import PeopleOptions, SampledPeople
from bench.errors import UserError
from bench.identities.people import Identities
from bench.stages.plan import check_without_photos, load, plan
from bench.testing import dataset_contract
from tests.e2e.commands import composed, measured, run_folder
from tests.facesets.test_generated import people_of

PROMISES = [*dataset_contract(SampledPeople, {})]
ASKED = ("+method.steps=1", "+method.batch=2", "protocol.samples_per_item=2", "evaluator.extractors.lpips=null")


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Two people with two images each."""
    return people_of(tmp_path_factory.mktemp("people")).folder


@pytest.fixture(scope="module")
def run(people, tmp_path_factory):
    """The folder of a run on them."""
    out = tmp_path_factory.mktemp("out")
    measured(*_of(people), *ASKED, f"out={out}")
    return run_folder(out, "arc2face")


def _of(people):
    return ("dataset=identities", f"dataset.root={people}", "conditions=identities")


@pytest.mark.parametrize("promise", PROMISES)
def test_it_keeps_what_a_dataset_promises(people, promise):
    dataset_contract(SampledPeople, {"root": people})[promise]()


def test_other_vectors_are_other_people(people, tmp_path):
    photos, first = (SampledPeople(PeopleOptions(root=people, limit=limit)).photos() for limit in (None, 1))
    assert list(photos["item"]) == ["00000000", "00000001"]
    pd.testing.assert_frame_equal(first, photos[:1])
    assert photos["sha256"].nunique() == 2
    assert set(photos["status"]) == {"absent"}


@pytest.mark.slow
def test_each_sample_is_made_from_its_own_vector(people, run):
    samples = pd.read_parquet(run / "scores" / "samples.parquet")
    assert list(samples["item"]) == ["00000000", "00000000", "00000001", "00000001"]
    assert set(samples["status"]) <= {"ok", "no_face"}
    assert samples["sha256"].nunique() == 4
    names = load(run).samples["embedding"].str.extract(r"(.*)\[(\d+)\]")
    vectors = np.stack([np.load(run / "conditions" / name)[int(row)] for name, row in names.itertuples(index=False)])
    wanted = np.concatenate([Identities(people).vectors(number, [0, 1]) for number in (0, 1)])
    np.testing.assert_allclose(vectors, wanted, atol=1e-6)


@pytest.mark.slow
def test_metrics_without_a_reference_count_them_and_others_say_that_there_is_none(run):
    scores = pd.read_parquet(run / "scores" / "scores.parquet").set_index(["metric", "variant", "statistic"])["value"]
    assert np.isfinite(scores["failure_to_acquire", "", "rate"]).all()
    assert (scores["id_similarity", "judge", "ineligible_items"] == 2).all()
    for number in (("id_similarity", "judge", "mean_detected"), ("fid", "inception", "distance")):
        assert np.isnan(scores[number]).all()


@pytest.mark.slow
def test_a_bundle_of_them_agrees_with_its_numbers(run, tmp_path, capsys):
    main(["export", str(run), "--to", str(tmp_path / "shelf" / "one.zip")])
    assert main(["leaderboard", str(tmp_path / "shelf"), "--to", str(tmp_path / "board")]) == 0
    assert "refused" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (("conditions=default",), "conditions=identities gives each sample a vector"),
        (("method=copy",), "asks for embedding, which method copy does not accept"),
        (("dataset=mini", "dataset.subjects=2"), "has no person 's000'"),
        (("conditions.recogniser=judge",), "has vectors of recogniser arcface, not of conditions.recogniser=judge"),
    ],
)
def test_what_does_not_fit_is_said_before_the_first_image(people, tmp_path, overrides, complaint):
    given = dict(one.split("=", 1) for one in (*_of(people), f"conditions.people={people}", *overrides))
    if given["dataset"] == "mini":
        del given["dataset.root"]
    if given["conditions"] == "default":
        del given["conditions.people"]
    spec = composed(*(f"{key}={value}" for key, value in given.items()), f"out={tmp_path}")
    with pytest.raises(UserError, match=complaint):
        plan(spec, lambda *_: pytest.fail("no photo is read"))


def test_a_method_that_looks_at_a_photo_is_refused(people):
    photos = SampledPeople(PeopleOptions(root=people)).photos()
    with pytest.raises(UserError, match="have no photo, and method copy needs one; method=arc2face draws"):
        check_without_photos(composed("method=copy"), photos, photos)
