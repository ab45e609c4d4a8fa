"""What every registered metric promises, whatever it measures."""

import inspect
import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bench import registry
from bench.extractors.protocol import columns_of
from bench.metrics.protocol import NUMBER, Evaluation, Features, Metric, Pairing
from bench.metrics.shared.subset import subset
from tests.metrics.world import OF_WHOLE_IMAGES, TINY, evaluation, fail, reorder

NAMES = sorted(registry.BUILT_IN["metrics"])
ROLES = {
    role for name in registry.BUILT_IN["extractors"] for role in columns_of(registry.get("extractors", name)).values()
}
OF_REFERENCES = (
    "threshold", "real_level", "real_q05", "ineligible_items", "references_rate", "references_other_scale",
    "references_several_faces", "references_tilted",
)  # fmt: skip
"""Statistics that say nothing of samples."""


@pytest.fixture(params=NAMES)
def metric(request):
    return registry.get("metrics", request.param)


def by_name(result):
    return {score.number: score for score in result.scores}


def check(metric, given):
    """Runs a metric and asserts what holds for every result."""
    result = metric.compute(given)
    assert result.scores
    assert len(by_name(result)) == len(result.scores)
    json.dumps([score.row() for score in result.scores], allow_nan=False)
    for score in result.scores:
        assert score.number.metric == metric.name
        assert score.value is not None or score.note, f"{score} gives no reason"
        for number in (score.value, score.low, score.high):
            assert number is None or type(number) is float
        for count in (score.n, score.n_failed, score.n_unavailable):
            assert type(count) is int
            assert count >= 0
        assert (score.low is None) == (score.high is None)
        in_range(metric, score)
    tables(metric, given, result)
    return result


def in_range(metric, score):
    low, high = metric.range_of(score.number.statistic)
    if score.value is not None:
        assert low is None or score.value >= low
        assert high is None or score.value <= high


def tables(metric, given, result):
    if result.per_sample is not None:
        assert len(result.per_sample) == len(given.samples)
        assert all(column.startswith(f"{metric.name}[") for column in result.per_sample)
    if result.per_item is not None:
        assert list(result.per_item) == ["item", "subject", *NUMBER, "value"]
        assert not result.per_item.duplicated(["item", *NUMBER]).any()
        assert set(result.per_item["metric"]) <= {metric.name}


def test_declaration(metric):
    assert isinstance(metric, Metric)
    assert metric.name in NAMES
    assert registry.targets("metrics")[metric.name].endswith(f".{metric.name}:METRIC")
    assert metric.version >= 1
    assert metric.source
    assert metric.title
    names = [statistic.name for statistic in metric.statistics]
    assert len(set(names)) == len(names)
    replicated = [statistic.name for statistic in metric.statistics if statistic.replicated]
    assert len(replicated) == (metric.pairing is Pairing.JACKKNIFE)
    assert metric.compute.__doc__
    assert ">>> " in inspect.getsource(inspect.getmodule(metric.compute)), "its module shows no example"
    assert set(metric.needs) <= ROLES
    low, high = metric.range
    assert low is None or high is None or low < high


def test_whole_world(metric):
    result = check(metric, evaluation())
    assert all(score.value is not None for score in result.scores if not score.number.level)


def test_page(metric):
    from tests.shared import ROOT

    text = (ROOT / "docs" / "metrics" / f"{metric.name}.md").read_text()
    assert f"version {metric.version}" in text


# Odd data


def cut(given, rows):
    """The first samples of an evaluation only, and everything of its references."""
    features = {n: Features(f.samples[rows], f.references, f.targets) for n, f in given.features.items()}
    samples = given.samples.iloc[rows].reset_index(drop=True)
    names = set(zip(samples["item"], samples["index"], strict=True))
    pairs = {}
    for name, table in given.pairs.items():
        ends = [end for end in ("i", "j") if end in table]
        keep = [all((row["item"], row[end]) in names for end in ends) for _, row in table.iterrows()]
        pairs[name] = table[keep].reset_index(drop=True)
    to_reference = {
        name: table[[key in names for key in zip(table["item"], table["i"], strict=True)]].reset_index(drop=True)
        for name, table in given.to_reference.items()
    }
    return replace(given, samples=samples, features=features, pairs=pairs, to_reference=to_reference)


def empty():
    given = cut(evaluation(items=1, targets=0), [])
    features = {n: Features(*(np.empty((0, size), np.float32),) * 3) for n, size in TINY.items()}
    return replace(given, references=given.references.iloc[:0], features=features)


def bare():
    """An empty run as it may come from an empty folder: tables of no columns but the required ones, no features."""
    return Evaluation(
        samples=pd.DataFrame(columns=["item", "subject", "index", "status"]),
        references=pd.DataFrame(columns=["item", "subject", "status"]),
        targets=pd.DataFrame(),
        features={},
        pairs={},
    )


def identical():
    """All images are one image: every feature equal, every distance 0."""
    given = evaluation()
    features = {
        n: Features(*(np.ones_like(part) for part in (f.samples, f.references, f.targets)))
        for n, f in given.features.items()
    }
    pairs = {name: table.assign(value=0.0) for name, table in given.pairs.items()}
    to_reference = {name: table.assign(value=0.0) for name, table in given.to_reference.items()}
    return replace(given, features=features, pairs=pairs, to_reference=to_reference)


def with_nan():
    """NaN in one number of a good sample's, of a good reference's and of a good target's features."""
    given = evaluation()
    features = {}
    for name, f in given.features.items():
        parts = [part.copy() for part in (f.samples, f.references, f.targets)]
        for row, part in zip((3, 2, 1), parts, strict=True):
            part[row, 0] = np.nan
        parts[0][11] = np.inf
        parts[0][12] = 0.0
        features[name] = Features(*parts)
    pairs = {name: table.assign(value=table["value"].where(table.index != 4)) for name, table in given.pairs.items()}
    return replace(given, features=features, pairs=pairs)


def strange_names():
    given = evaluation()
    odd = {name: f"{name}</td>,\n\"'%s" for name in given.references["subject"].unique()}

    def swap(frame):
        return frame.assign(subject=frame["subject"].map(odd))

    return replace(
        given,
        samples=swap(given.samples),
        references=swap(given.references),
        targets=swap(given.targets),
        groups=("gender", "age"),
    )


def all_status(status):
    given = evaluation()
    return fail(given, np.arange(len(given.samples)), status)


def faceless_references():
    given = evaluation()
    references = given.references.assign(status="no_face")
    samples = given.samples.assign(status="reference_failed")
    features = {
        n: Features(np.full_like(f.samples, np.nan), np.full_like(f.references, np.nan), f.targets)
        for n, f in given.features.items()
    }
    return replace(given, samples=samples, references=references, features=features, pairs={}, to_reference={})


def nothing_found():
    """No picture has a feature, so that not even its length is known."""
    given = all_status("no_face")
    features = {
        n: Features(*(np.full((len(part), 1), np.nan, np.float32) for part in (f.samples, f.references, f.targets)))
        for n, f in given.features.items()
    }
    return replace(given, features=features)


ODD = {
    "bare": bare,
    "empty": empty,
    "one sample": lambda: cut(evaluation(items=1), [0]),
    "one sample, other references": lambda: cut(evaluation(), [0]),
    "one sample per item": lambda: evaluation(per_item=1),
    "one identity": lambda: evaluation(items=1),
    "one identity, several items": lambda: evaluation(items=6, per_subject=6),
    "two identities": lambda: evaluation(items=2),
    "all samples of an identity failed": lambda: fail(evaluation(), np.arange(5), "no_face"),
    "all failed": lambda: all_status("no_face"),
    "no feature at all": nothing_found,
    "all undecodable": lambda: all_status("undecodable"),
    "all unavailable": lambda: all_status("unavailable"),
    "no reference has a face": faceless_references,
    "NaN": with_nan,
    "identical images": identical,
    "no targets": lambda: evaluation(targets=0),
    "strange names": strange_names,
    "unknown status": lambda: all_status("lost"),
    "samples of unknown items": lambda: replace(evaluation(), references=evaluation().references.assign(item="x")),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_data(metric, case):
    check(metric, ODD[case]())


@pytest.mark.parametrize("case", ["empty", "bare", "all undecodable", "no reference has a face"])
def test_nothing_is_not_zero(metric, case):
    """Where there is nothing to measure there is no number, least of all a 0."""
    rates = {"rate", "rate_no_face", "rate_undecodable", "rate_generation_error"}
    for score in check(metric, ODD[case]()).scores:
        told = score.number.statistic.removesuffix("_gap").removesuffix("_worst")
        if case == "all undecodable" and told in rates | {"detection_rate", "mean_failures_as_zero", "rank1", "chance"}:
            continue  # failures are trials
        if case == "all undecodable" and told in (*OF_REFERENCES, "fnmr", "below_real_q05", "share_above"):
            continue
        assert score.value is None or told == "ineligible_items"


def test_shuffled_rows_give_the_same_numbers(metric):
    given = fail(evaluation(items=40, per_subject=2), [3, 17, 55], "no_face")
    rng = np.random.default_rng(0)
    mixed = reorder(given, *(rng.permutation(len(t)) for t in (given.samples, given.references, given.targets)))
    one, two = by_name(metric.compute(given)), by_name(metric.compute(mixed))
    assert set(one) == set(two)
    for name, score in one.items():
        same(score, two[name], 1e-9)


def same(one, two, rel, interval=True):
    assert (one.n, one.n_failed, one.n_unavailable, one.n_items, one.n_pairs) == (
        two.n,
        two.n_failed,
        two.n_unavailable,
        two.n_items,
        two.n_pairs,
    )
    for key in ("value", "low", "high") if interval else ("value",):
        first, second = getattr(one, key), getattr(two, key)
        assert (first is None) == (second is None)
        assert first is None or first == pytest.approx(second, rel=rel, abs=1e-9)


def test_names_of_subjects_do_not_matter(metric):
    """Only who is in which jackknife group follows the names: the error of a Frechet distance may move, no value."""
    given = evaluation(items=40, per_subject=2)
    people = list(given.references["subject"].unique())
    renamed = dict(zip(people, np.random.default_rng(1).permutation(people), strict=True))

    def swap(frame):
        return frame.assign(subject=frame["subject"].map(renamed))

    other = replace(given, samples=swap(given.samples), references=swap(given.references), targets=swap(given.targets))
    one, two = by_name(metric.compute(given)), by_name(metric.compute(other))
    frechet = metric.name in ("fid", "fd_dinov2")
    for name, score in one.items():
        if not (frechet and name.statistic in ("standard_error", "bias_corrected")):
            same(score, two[name], 1e-9, interval=not frechet)


def test_inputs_are_left_alone(metric):
    given = fail(evaluation(), [1], "no_face")
    before = [given.samples.copy(), given.references.copy(), *(p.copy() for p in given.pairs.values())]
    arrays = [f.samples.copy() for f in given.features.values()]
    metric.compute(given)
    for old, new in zip(before, [given.samples, given.references, *given.pairs.values()], strict=True):
        pd.testing.assert_frame_equal(old, new)
    for old, part in zip(arrays, given.features.values(), strict=True):
        np.testing.assert_array_equal(old, part.samples)


def test_seed_is_the_only_chance(metric):
    given = evaluation()
    assert metric.compute(given).scores == metric.compute(given).scores


# Failures (the design's rule 2)


def test_failures_are_counted(metric):
    whole = evaluation(items=40)
    given = fail(fail(whole, [0, 1, 7], "no_face"), [12, 13], "generation_error")
    given = fail(given, [20], "unavailable")
    for score in metric.compute(given).scores:
        if score.number.statistic in OF_REFERENCES or score.number.group:
            continue
        failed = 2 if score.number.variant in OF_WHOLE_IMAGES else 5
        assert (score.n_failed, score.n_unavailable) == (failed, 1), score.number


def test_ineligible_samples_touch_nothing(metric):
    """A reference without a face: its samples, whatever they are, don't enter; the numbers are those without them."""
    given = evaluation(items=40)
    status = given.samples["status"].where(given.samples["item"] != "item 00003", "reference_failed")
    references = given.references.assign(
        status=given.references["status"].where(given.references["item"] != "item 00003", "no_face")
    )
    marked = by_name(metric.compute(replace(given, samples=given.samples.assign(status=status), references=references)))
    rows = np.flatnonzero(given.samples["item"] != "item 00003")
    gone = cut(given, rows)
    gone = replace(gone, references=references)
    for name, score in by_name(metric.compute(gone)).items():
        same(score, marked[name], 1e-9)


def test_missing_feature_is_a_failure_with_a_note(metric):
    """A sample has a face, but the extractor has no number for it."""
    given = evaluation(items=40)
    features = {}
    for name, part in given.features.items():
        values = part.samples.copy()
        values[[2, 3]] = np.nan
        features[name] = Features(values, part.references, part.targets)
    scores = metric.compute(replace(given, features=features, pairs={}, to_reference={})).scores
    counted = [s for s in scores if s.number.statistic.startswith(("mean_", "distance", "rank1", "precision", "plain"))]
    for score in counted:
        if not score.number.group and score.value is not None:
            assert score.n_failed == 2
            assert "2 samples with a" in score.note or score.number.subset


def test_subset_keeps_whole_subjects():
    given = evaluation(items=60, per_subject=2)
    part, rows, note = subset(given, ["clip"], limit=100)
    assert len(rows) == len(part.samples) <= 100
    assert note
    assert set(part.samples["subject"]) == set(part.references["subject"])
    assert part.samples.groupby("subject").size().eq(10).all()
    np.testing.assert_array_equal(part.features["clip"].samples, given.features["clip"].samples[rows])
    assert subset(given, ["clip"])[2] == ""
    assert not math.isnan(part.features["clip"].references.sum())
