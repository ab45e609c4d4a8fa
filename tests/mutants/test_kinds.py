"""Tests for kinds of one-line faults that all others let through (`make mutants`)."""

from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from baselines.protocol import Output, Reference, Request
from bench import statistics as st
from bench.data.photos import content_id
from bench.metrics.functional.thresholds import matches
from bench.metrics.protocol import NUMBER, Number
from bench.networks import CLIP_MEAN, CLIP_STD
from bench.report.model import Mark
from bench.report.ranking import ranking
from bench.stages import generate
from bench.stages.seeds import sample_seed

FID = Number("fid", "inception", "distance")


def compared(higher, p_value, p_holm):
    """Two generators of FID 1 and 2 with a paired difference."""
    name = dict(zip(NUMBER, FID, strict=True))
    runs = {
        label: SimpleNamespace(
            is_control=False,
            scores=pd.DataFrame([{**name, "value": value, "n": 100, "n_failed": 0, "higher_is_better": higher}]),
        )
        for label, value in (("low", 1.0), ("high", 2.0))
    }
    differences = pd.DataFrame([{**name, "a": "low", "b": "high", "p_value": p_value, "p_holm": p_holm}])
    return SimpleNamespace(runs=runs, differences=differences)


@pytest.mark.parametrize(("higher", "best"), [(False, "low"), (True, "high")])
def test_the_best_follows_the_direction(higher, best):
    assert ranking(compared(higher, 0.01, 0.01), FID).marks == {best: Mark.BEST}


def test_marks_need_the_adjusted_p_value():
    assert ranking(compared(False, 0.01, 0.2), FID).marks == {}


def planned(seed, key="key", index=3):
    protocol = SimpleNamespace(seed=seed, texts={"neutral": "photo of a person"})
    job = SimpleNamespace(spec=SimpleNamespace(protocol=protocol, dataset=SimpleNamespace(label="few")))
    row = {"row": 0, "item": "a", "subject": "A", "index": 0, "prompt_id": "neutral"}
    return generate._row(job, None, {**row, "seed_key": key, "seed_index": index})["seed"]


def test_a_samples_seed_is_of_the_protocols_seed_and_of_the_plans_key():
    assert planned(7) == sample_seed(7, "few", "key", 3, "photo of a person")
    assert len({planned(0), planned(7), planned(7, key="a"), planned(7, index=0)}) == 4


def test_the_bootstrap_follows_its_seed():
    rng = np.random.default_rng(0)
    values, clusters = rng.normal(size=30), np.repeat(np.arange(10), 3)
    zero, again, other = (st.cluster_bootstrap_mean(values, clusters, seed=seed) for seed in (0, 0, 1))
    assert zero == again
    assert (zero.low, zero.high) != (other.low, other.high)


def test_a_sign_flip_that_ties_counts(monkeypatch):
    monkeypatch.setattr(st, "EXACT_FLIPS", 0)
    tied = st.paired_difference(np.ones(2), np.zeros(2), np.arange(2), seed=0, resamples=4000)
    assert tied.p_value == pytest.approx(0.5, abs=0.05)


def test_a_similarity_at_a_given_threshold_verifies():
    """A threshold computed from impostors lies just above a rounded score; one that a user gives may equal it."""
    assert matches(np.array([0.5, 0.499999, np.nan]), 0.5).tolist() == [True, False, False]


def test_the_effective_number_is_at_most_the_number():
    assert st._effective(0.5, 1e-9, trials=40, units=10) == 40
    assert st._effective(0.5, 0.025, trials=40, units=10) == pytest.approx(10)
    assert st._effective(0.0, 0.0, trials=40, units=10) == 10


@pytest.mark.parametrize(("method", "is_marked"), [("arc2face", True), ("copy", False)])
def test_generated_images_are_marked_and_copies_are_not(method, is_marked):
    job = SimpleNamespace(spec=SimpleNamespace(method=SimpleNamespace(name=method)))
    _, data = generate._encoded(job, Output(image=np.zeros((8, 8, 3), np.uint8)))
    with Image.open(BytesIO(data)) as image:
        assert (image.text == generate.AI_GENERATED) is is_marked


def test_a_method_that_gives_too_few_or_too_many_images_gives_none(tmp_path):
    image = Output(image=np.zeros((8, 8, 3), np.uint8))
    requests = [Request(Reference("a", "A"), k, 1, "") for k in range(2)]
    for number in (1, 3):
        method = SimpleNamespace(generate=lambda _, number=number: [image] * number)
        found = generate.ask(method, requests, tmp_path)
        assert [output.error for output in found] == [f"the method gave {number} outputs for 2 requests"] * 2


def test_long_reasons_are_cut():
    found, _ = generate._encoded(None, Output(error="x" * 10_000_000))
    assert len(found["reason"]) == generate.LONGEST


def test_roles_are_part_of_what_photos_are():
    photos = pd.DataFrame({"item": ["a", ""], "subject": "A", "role": ["reference", "target"], "sha256": ["1", "2"]})
    assert content_id(photos) != content_id(photos.assign(role=["reference", "further"]))


def test_clips_mean_and_deviation_are_openais():
    assert tuple(CLIP_MEAN) == (0.48145466, 0.4578275, 0.40821073)
    assert tuple(CLIP_STD) == (0.26862954, 0.26130258, 0.27577711)
