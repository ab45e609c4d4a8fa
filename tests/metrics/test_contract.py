"""What every registered metric promises (`bench.testing`), and what ours promise beyond that."""

import inspect
from dataclasses import replace

import numpy as np
import pytest

from bench import registry
from bench.metrics.shared.subset import subset
from bench.testing.metrics import by_number, checked, metric_contract, same
from bench.testing.odd_data import EMPTY, ODD_DATA
from bench.testing.world import evaluation
from tests.shared import ROOT

METRICS = {name: registry.get("metrics", name) for name in registry.BUILT_IN["metrics"]}
CONTRACTS = {name: metric_contract(metric) for name, metric in METRICS.items()}
PROMISES = [(name, promise) for name, contract in CONTRACTS.items() for promise in contract]
OF_TRIALS = {
    "rate", "rate_no_face", "rate_undecodable", "rate_generation_error", "detection_rate", "mean_failures_as_zero",
    "rank1", "chance", "fnmr", "below_real_q05", "share_above",
}  # fmt: skip
"""Statistics that have a value where every sample failed: a failure is a trial."""


@pytest.mark.parametrize(("name", "promise"), PROMISES, ids=lambda word: str(word))
def test_promise(name, promise):
    CONTRACTS[name][promise]()


@pytest.mark.parametrize("name", METRICS)
def test_it_is_declared_where_the_others_are(name):
    metric = METRICS[name]
    assert metric.name == name
    assert registry.entries("metrics")[name].target.endswith(f".{name}:METRIC")
    assert ">>> " in inspect.getsource(inspect.getmodule(metric.compute)), "its module shows no example"
    assert f"version {metric.version}" in (ROOT / "docs" / "metrics" / f"{name}.md").read_text()


@pytest.mark.parametrize("name", METRICS)
def test_a_mean_of_failures_is_not_zero(name):
    about_references = {one.name for one in METRICS[name].statistics if one.of_references}
    scores = checked(METRICS[name], ODD_DATA["all undecodable"](evaluation)).scores
    measured = {score.number.statistic for score in scores if score.value is not None} - about_references
    plain = {statistic.removesuffix("_gap").removesuffix("_worst") for statistic in measured}
    assert plain <= OF_TRIALS


@pytest.mark.parametrize("name", METRICS)
def test_without_references_only_a_count_has_a_value(name):
    scores = [score for case in EMPTY for score in METRICS[name].compute(ODD_DATA[case](evaluation)).scores]
    assert {score.number.statistic for score in scores if score.value is not None} <= {"ineligible_items"}


def test_the_interval_of_kid_does_not_follow_names():
    given = evaluation(items=40, per_subject=2)
    mirrored = {name: name[::-1] for name in given.references["subject"]}
    tables = {name: getattr(given, name) for name in ("samples", "references", "targets")}
    other = replace(given, **{n: t.assign(subject=t["subject"].map(mirrored)) for n, t in tables.items()})
    found = by_number(METRICS["kid"].compute(other))
    for number, score in by_number(METRICS["kid"].compute(given)).items():
        same(score, found[number])


def test_subset_keeps_whole_subjects():
    given = evaluation(items=60, per_subject=2)
    part, rows, note = subset(given, ["clip"], limit=100)
    assert len(rows) == len(part.samples) <= 100
    assert note
    assert set(part.samples["subject"]) == set(part.references["subject"])
    assert part.samples.groupby("subject").size().eq(10).all()
    np.testing.assert_array_equal(part.features["clip"].samples, given.features["clip"].samples[rows])
    assert subset(given, ["clip"])[2] == ""
    assert np.isfinite(part.features["clip"].references).all()
