"""What a metric promises, whatever it measures; each promise is a function that asserts it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from math import isclose

import numpy as np
import pandas as pd

from bench import registry
from bench.conditions.asked import ASKED
from bench.extractors.protocol import columns_of
from bench.metrics.protocol import NUMBER, Evaluation, Metric, Number, Pairing, Result, Score
from bench.testing.odd_data import EMPTY, ODD_DATA, World
from bench.testing.world import OF_WHOLE_IMAGES, ROLES, cut, evaluation, fail, reorder, with_asked, with_roles

OF_GROUPS_OF_SUBJECTS = ("standard_error", "bias_corrected")
"""Names of statistics that follow the division of subjects into groups, as an interval by the jackknife does."""
TOLERANCE = 1e-9


def metric_contract(metric: Metric) -> dict[str, Callable[[], None]]:
    """Return what a metric promises: words of the promise -> function that raises AssertionError where it is broken."""
    world = world_of(metric)
    promises = (
        declares_itself,
        measures_a_whole_world,
        has_no_number_for_nothing,
        shuffled_rows_give_the_same_numbers,
        names_of_subjects_do_not_matter,
        inputs_are_left_alone,
        seed_is_the_only_chance,
        failures_are_counted,
        ineligible_samples_touch_nothing,
        missing_feature_is_a_failure_with_a_note,
    )
    checks: dict[str, Callable[[], None]] = {one.__name__: partial(one, metric, world) for one in promises}
    odd = {f"answers odd data: {case}": partial(answers_odd_data, metric, world, case) for case in ODD_DATA}
    return checks | odd


def roles() -> dict[str, bool]:
    """Return the role of every column that a registered extractor answers with -> whether it is pairwise."""
    extractors = registry.parts("extractors").values()
    return {role: bool(one.pairwise) for one in extractors for role in columns_of(one).values()}


def world_of(metric: Metric) -> World:
    """Return the function that makes evaluations, with networks of the roles that the metric reads."""
    pairwise = roles()
    own = [role for role in metric.needs if role not in ROLES.values()]
    pairs = [role for role in own if pairwise.get(role)]
    features = [role for role in own if role not in pairs]

    def world(items: int = 24, per_item: int = 5, per_subject: int = 1, targets: int = 2) -> Evaluation:
        made = with_roles(evaluation(items, per_item, per_subject, targets), features, pairs)
        return with_asked(made) if ASKED in metric.columns else made

    return world


def declares_itself(metric: Metric, world: World) -> None:
    """Assert that the declaration is whole and fits itself."""
    assert isinstance(metric, Metric)
    assert metric.version >= 1
    assert metric.name, "name it"
    assert metric.title, "give it a title, by which readers call it"
    assert metric.source, "say where the definition comes from"
    assert metric.statistics, "declare its statistics: a number of no declared statistic has no title and no range"
    names = [statistic.name for statistic in metric.statistics]
    assert len(set(names)) == len(names)
    replicated = [statistic.name for statistic in metric.statistics if statistic.replicated]
    assert len(replicated) == (metric.pairing is Pairing.JACKKNIFE)
    assert metric.compute.__doc__
    known = roles()
    assert set(metric.needs) <= set(known), f"no extractor has one of the roles {metric.needs}; known: {sorted(known)}"
    low, high = metric.range
    assert low is None or high is None or low < high


def measures_a_whole_world(metric: Metric, world: World) -> None:
    """Assert that there is a number where nothing is missing."""
    scores = checked(metric, world()).scores
    assert [score for score in scores if score.value is None and not score.number.level] == []


def answers_odd_data(metric: Metric, world: World, case: str) -> None:
    """Assert that odd data give scores, some of them without a value but with a reason, and never an error."""
    checked(metric, ODD_DATA[case](world))


def has_no_number_for_nothing(metric: Metric, world: World) -> None:
    """Assert that no score has a value, least of all 0, where nothing was asked of the method."""
    for case in EMPTY:
        scores = of_samples(metric, checked(metric, ODD_DATA[case](world)))
        assert [score.number for score in scores if score.value is not None] == [], case


def shuffled_rows_give_the_same_numbers(metric: Metric, world: World) -> None:
    """Assert that the order of rows changes nothing."""
    given = fail(world(items=40, per_subject=2), [3, 17, 55], "no_face")
    rng = np.random.default_rng(0)
    mixed = reorder(given, *(rng.permutation(len(t)) for t in (given.samples, given.references, given.targets)))
    expected = by_number(metric.compute(given))
    found = by_number(metric.compute(mixed))
    assert set(expected) == set(found)
    for number, score in expected.items():
        same(score, found[number])


def names_of_subjects_do_not_matter(metric: Metric, world: World) -> None:
    """Assert that other names give the same numbers; a jackknife's error may follow who is in which group."""
    given = world(items=40, per_subject=2)
    people = list(given.references["subject"].unique())
    renamed = dict(zip(people, np.random.default_rng(1).permutation(people), strict=True))

    def swapped(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(subject=frame["subject"].map(renamed))

    other = replace(
        given,
        samples=swapped(given.samples),
        references=swapped(given.references),
        targets=swapped(given.targets),
    )
    found = by_number(metric.compute(other))
    in_groups = metric.pairing is Pairing.JACKKNIFE
    for number, score in by_number(metric.compute(given)).items():
        if not (in_groups and number.statistic in OF_GROUPS_OF_SUBJECTS):
            same(score, found[number], interval=not in_groups)


def inputs_are_left_alone(metric: Metric, world: World) -> None:
    """Assert that the metric writes into nothing that it is given: the next one reads it, too."""
    given = fail(world(), [1], "no_face")
    frames = [given.samples, given.references, *given.pairs.values()]
    before = [frame.copy() for frame in frames]
    arrays = [part.samples.copy() for part in given.features.values()]
    metric.compute(given)
    for old, frame in zip(before, frames, strict=True):
        pd.testing.assert_frame_equal(old, frame)
    for values, part in zip(arrays, given.features.values(), strict=True):
        np.testing.assert_array_equal(values, part.samples)


def seed_is_the_only_chance(metric: Metric, world: World) -> None:
    """Assert that the same evaluation gives the same scores."""
    given = world()
    assert metric.compute(given).scores == metric.compute(given).scores


def failures_are_counted(metric: Metric, world: World) -> None:
    """Assert that each score says how many samples failed, and how many are unavailable."""
    given = fail(fail(world(items=40), [0, 1, 7], "no_face"), [12, 13], "generation_error")
    given = fail(given, [20], "unavailable")
    for score in of_samples(metric, metric.compute(given)):
        failed = 2 if score.number.variant in OF_WHOLE_IMAGES else 5
        assert (score.n_failed, score.n_unavailable) == (failed, 1), score.number


def ineligible_samples_touch_nothing(metric: Metric, world: World) -> None:
    """Assert that samples whose reference has no face don't enter: the numbers are those without them."""
    given = world(items=40)
    name = "item 00003"
    references = given.references.assign(
        status=given.references["status"].where(given.references["item"] != name, "no_face")
    )
    status = given.samples["status"].where(given.samples["item"] != name, "reference_failed")
    marked = replace(given, samples=given.samples.assign(status=status), references=references)
    gone = replace(cut(given, np.flatnonzero(given.samples["item"] != name)), references=references)
    found = by_number(metric.compute(marked))
    for number, score in by_number(metric.compute(gone)).items():
        same(score, found[number])


def missing_feature_is_a_failure_with_a_note(metric: Metric, world: World) -> None:
    """Assert that a sample with a face but without a feature has failed, and that a number without it says so."""
    given = world(items=40)
    features = {}
    for name, part in given.features.items():
        values = part.samples.copy()
        values[[2, 3]] = np.nan
        features[name] = replace(part, samples=values)
    result = metric.compute(replace(given, features=features, pairs={}, to_reference={}))
    scores = [score for score in of_samples(metric, result) if metric.needs and score.value is not None]
    assert [score.number for score in scores if score.n_failed != 2] == []
    for variant in {score.number.variant for score in scores}:
        own = [score for score in scores if score.number.variant == variant]
        # A rate counts failures among its n, so that its note need not name them.
        assert any(score.note or score.n == len(given.samples) for score in own), variant


def checked(metric: Metric, given: Evaluation) -> Result:
    """Return the metric's result after asserting what holds for every result."""
    result = metric.compute(given)
    assert result.scores, "where there is nothing to say, a score without a value says why"
    assert len(by_number(result)) == len(result.scores)
    json.dumps([score.row() for score in result.scores], allow_nan=False)
    for score in result.scores:
        _check_score(metric, score)
    _check_tables(metric, given, result)
    return result


def _check_score(metric: Metric, score: Score) -> None:
    assert score.number.metric == metric.name
    assert score.value is not None or score.note, f"{score} gives no reason"
    for number in (score.value, score.low, score.high):
        assert number is None or type(number) is float, f"{score.number}: {number!r} must be a float"
    for count in (score.n, score.n_failed, score.n_unavailable):
        assert type(count) is int, f"{score.number}: {count!r} must be an int"
        assert count >= 0
    assert (score.low is None) == (score.high is None)
    low, high = metric.range_of(score.number.statistic)
    if score.value is not None:
        assert low is None or score.value >= low
        assert high is None or score.value <= high


def _check_tables(metric: Metric, given: Evaluation, result: Result) -> None:
    if result.per_sample is not None:
        assert len(result.per_sample) == len(given.samples)
        assert all(str(column).startswith(f"{metric.name}[") for column in result.per_sample)
    if result.per_item is not None:
        assert list(result.per_item) == ["item", "subject", *NUMBER, "value"]
        assert not result.per_item.duplicated(["item", *NUMBER]).any()
        assert set(result.per_item["metric"]) <= {metric.name}


def by_number(result: Result) -> Mapping[Number, Score]:
    """Return the scores by their names."""
    return {score.number: score for score in result.scores}


def of_samples(metric: Metric, result: Result) -> list[Score]:
    """Return the scores that say something of all samples."""
    about_references = {one.name for one in metric.statistics if one.of_references}
    return [one for one in result.scores if one.number.statistic not in about_references and not one.number.group]


def same(one: Score, other: Score, interval: bool = True) -> None:
    """Assert that two scores are the same number, but for rounding."""
    for name in ("n", "n_failed", "n_unavailable", "n_items", "n_pairs"):
        assert getattr(one, name) == getattr(other, name), (one.number, name)
    for name in ("value", "low", "high") if interval else ("value",):
        first, second = getattr(one, name), getattr(other, name)
        assert (first is None) == (second is None), (one.number, name)
        equal = first is None or isclose(first, second, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        assert equal, (one.number, name, first, second)
