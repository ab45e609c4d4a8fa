"""Does a bundle agree with itself? Its aggregates are computed again from its rows, by the metrics' own functions.

What a row of scores can be, in the end:

    recomputed   from the table per sample or per item, interval and counts included
    consistent   a distance of distributions: its error, correction and interval follow from its jackknife's replicates
    claimed      needs features or pictures, which no bundle holds

This finds edited numbers, dropped failures and tables that do not belong together. A table that was made up as a whole
agrees with itself: only running the method again would show it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench import registry
from bench.exchange.bundle import Bundle, Name, Refused
from bench.exchange.schema import PER_SAMPLE
from bench.metrics import id_similarity, kid, target_similarity
from bench.metrics.copying import mean_over_samples
from bench.metrics.failure_to_acquire import compute as failures
from bench.metrics.functional.cosine import Floats
from bench.metrics.protocol import Evaluation, Score
from bench.metrics.shared.eligibility import Mask, Standing, item_rows, subjects
from bench.metrics.shared.frechet_scores import REPLICATE, replicated
from bench.metrics.shared.scores import item_values, mean_score, with_interval
from bench.metrics.verification import Threshold, fnmr, matches
from bench.statistics import clustered_rate, jackknife

State = Literal["recomputed", "consistent", "claimed"]

STATUSES = ("ok", "generation_error", "undecodable", "no_face", "unavailable", "reference_failed")
NOTHING_TO_SHOW = ("real", "shuffle")
"""The controls whose samples may be `unavailable`; for every other method that would be a failure out of sight."""
TOLERANCE = 1e-9
"""Relative and absolute: the last digits of a bootstrap's sums differ between processors."""
PER_SAMPLE_MEANS = ("copy_paste", "copying", "copying_lpips")
PER_ITEM_MEANS = ("lpips_diversity", "expression_diversity", "pose_diversity", "within_similarity")
DISTANCES = ("fid", "fd_dinov2")
_GROUP = re.compile(r"without group \d{1,6}")


@dataclass(frozen=True, eq=False)
class Again:
    """What was computed again for one metric and variant: aggregates with the fields to compare, and rows per item."""

    scores: list[Score]
    fields: tuple[str, ...]
    items: list[pd.DataFrame]


ALL = ("value", "low", "high", "n", "n_failed", "n_unavailable")
TRIALS = ("value", "low", "high", "n", "n_failed")
VALUES = ("value", "low", "high")


def verify(bundle: Bundle) -> dict[Name, State]:
    """How far each number of a bundle can be trusted.

    Raises:
        Refused: the tables are not those of one run, or a number is not what its rows give.
    """
    check_record(bundle)
    check_samples(bundle)
    check_items(bundle)
    check_scores(bundle)
    states: dict[Name, State] = dict.fromkeys(bundle.by_name, "claimed")
    for again in recomputed(bundle):
        for score in again.scores:
            _same_score(bundle, score, again.fields)
            states[(score.metric, score.variant, score.statistic)] = "recomputed"
        for table in again.items:
            _same_items(bundle, table)
    return states | dict.fromkeys(consistent(bundle), "consistent")


# Structure


def check_record(bundle: Bundle) -> None:
    """The record says the same thing in all its places.

    Raises:
        Refused: it does not.
    """
    record, spec = bundle.record, bundle.record.spec
    pairs = {
        "the run's id": (record.id, record.comparable.run),
        "the list": (record.content, record.comparable.dataset.content),
        "the dataset": (record.dataset, record.comparable.dataset.label),
        "the protocol": (spec.protocol, record.comparable.protocol),
        "the method": (spec.method.name, record.method),
        "the evaluator": (spec.evaluator.name, record.comparable.evaluator),
        "the number of items": (bundle.samples["item"].nunique(), record.items),
        "the recognisers": (_recognisers(bundle), sorted(spec.evaluator.recognisers)),
        "the metrics": (sorted(set(bundle.scores["metric"])), sorted(record.comparable.metrics)),
    }
    for what, (one, other) in pairs.items():
        if one != other:
            raise Refused(f"it contradicts itself about {what}: {str(one)[:80]} and {str(other)[:80]}")


def _recognisers(bundle: Bundle) -> list[str]:
    rows = bundle.scores[(bundle.scores["metric"] == id_similarity.NAME) & (bundle.scores["variant"] != "")]
    return sorted(set(rows["variant"]))


def check_samples(bundle: Bundle) -> None:
    """Every item has all its samples, each with a status that fits its numbers.

    Raises:
        Refused: a row is missing or impossible.
    """
    frame, k = bundle.samples, bundle.record.comparable.protocol.samples_per_item
    for item, rows in frame.groupby("item", sort=False):
        if sorted(rows["index"]) != list(range(k)):
            raise Refused(f"{item} has samples {sorted(rows['index'])[:20]}, not 0 to {k - 1}: rows were dropped")
        failed = "reference_failed" in set(rows["status"])
        if rows["subject"].nunique() > 1 or (failed and rows["status"].nunique() > 1):
            raise Refused(f"the samples of {item} disagree about its person or its reference")
    unknown = sorted(set(frame["status"]) - {*STATUSES})
    if unknown:
        raise Refused(f"status {unknown[0][:40]!r} does not exist")
    if "unavailable" in set(frame["status"]) and bundle.record.method not in NOTHING_TO_SHOW:
        raise Refused(f"only a control may have nothing to show, and {bundle.record.method} is none: that is a failure")
    measured = [c for c in frame.columns if PER_SAMPLE.fullmatch(str(c))]
    if frame.loc[frame["status"] != "ok", measured].notna().any(axis=None):
        raise Refused("a failed sample has a number")


def check_items(bundle: Bundle) -> None:
    """Every row per item belongs to an item, its person and a metric of the run, or to a left-out group of a jackknife.

    Raises:
        Refused: one doesn't.
    """
    people = dict(zip(bundle.samples["item"], bundle.samples["subject"], strict=True))
    rows = (bundle.items[column] for column in ("item", "subject", "metric"))
    for item, subject, metric in dict.fromkeys(zip(*rows, strict=True)):
        if metric not in bundle.record.comparable.metrics or not (item in people or _GROUP.fullmatch(item)):
            raise Refused(
                f"items.csv has a row of {item[:40]!r} and metric {metric[:40]!r}, which the run doesn't have"
            )
        if people.get(item, subject) != subject:
            raise Refused(f"items.csv gives {item[:40]!r} to {subject[:40]!r}, samples.csv to another person")


def check_scores(bundle: Bundle) -> None:
    """Values lie in their metric's range and between their bounds; versions are those of the record.

    Raises:
        Refused: one doesn't.
    """
    for name, row in bundle.by_name.items():
        where, value = " ".join(name), float(row["value"])
        if row["version"] != bundle.record.comparable.metrics[row["metric"]]:
            raise Refused(f"{where} has version {row['version']}, the record another one")
        if row["low"] > value + TOLERANCE or row["high"] < value - TOLERANCE:
            raise Refused(f"{where}: {value:.6g} lies outside its own interval")
        least, most = _range(row["metric"], row["statistic"])
        if value < least - TOLERANCE or value > most + TOLERANCE:
            raise Refused(f"{where}: {value:.6g} is impossible; it lies between {least} and {most}")


def _range(metric: str, statistic: str) -> tuple[float, float]:
    """The smallest and the largest possible value; counts, margins and thresholds have a range of their own."""
    if metric not in registry.BUILT_IN["metrics"] or not statistic.startswith(("mean_", "rank", "rate", "fnmr")):
        return -math.inf, math.inf
    least, most = registry.get("metrics", metric).range
    return -math.inf if least is None else least, math.inf if most is None else most


# Aggregates from rows


def recomputed(bundle: Bundle) -> Iterator[Again]:
    """Everything that the rows give, for metrics of the version that is installed here."""
    evaluation = evaluation_of(bundle)
    makers: dict[str, Callable[[Bundle, Evaluation, str], Again | None]] = {
        "failure_to_acquire": _failures,
        id_similarity.NAME: _similarity,
        target_similarity.NAME: _targets,
        "retrieval": _retrieval,
        "verification": _verification,
        **dict.fromkeys(PER_SAMPLE_MEANS, _sample_mean),
        **dict.fromkeys(PER_ITEM_MEANS, _item_means),
    }
    pairs = dict.fromkeys(name[:2] for name in bundle.by_name)
    for metric, variant in pairs:
        make = makers.get(metric)
        if make is None or bundle.record.comparable.metrics[metric] != registry.get("metrics", metric).version:
            continue
        again = make(bundle, evaluation, f"{metric}[{variant}]")
        if again is not None:
            yield again


def evaluation_of(bundle: Bundle) -> Evaluation:
    """The tables of a bundle as metrics read them, without features."""
    first = bundle.samples.drop_duplicates("item")
    failed = (first["status"] == "reference_failed").to_numpy()
    references = first[["item", "subject"]].assign(status=np.where(failed, "no_face", "ok")).reset_index(drop=True)
    seed = bundle.record.comparable.protocol.seed
    return Evaluation(bundle.samples, references, references[:0], {}, {}, seed=seed)


def standing_of(bundle: Bundle, evaluation: Evaluation, name: Name, values: Floats) -> Standing:
    """Who counted, read from the tables: an item without a row per item was not eligible.

    Args:
        bundle: its tables.
        evaluation: the same as metrics read them.
        name: of the number per item.
        values: (n_samples,) the number per sample, NaN where there is none.
    """
    listed = evaluation.samples["item"].isin(set(bundle.items_of(name)["item"])).to_numpy()
    status = evaluation.samples["status"]
    unavailable = (status == "unavailable").to_numpy()
    tried = listed & ~unavailable & (status != "reference_failed").to_numpy()
    valid = tried & np.isfinite(values)
    item = item_rows(evaluation)
    none = _not_eligible(evaluation, listed, unavailable)
    return Standing(item, valid, tried & ~valid, unavailable, ~(tried | unavailable), none)


def _not_eligible(evaluation: Evaluation, listed: Mask, unavailable: Mask) -> int:
    """Items whose reference could not be used: those without a row, unless none of their samples was ever tried."""
    return int(evaluation.samples.loc[~listed & ~unavailable, "item"].nunique())


def _column(bundle: Bundle, column: str) -> Floats | None:
    """The number per sample; None where there is no such column."""
    return bundle.samples[column].to_numpy(dtype=np.float64) if column in bundle.samples else None


def _split(column: str) -> tuple[str, str]:
    metric, _, variant = column.partition("[")
    return metric, variant[:-1]


def _failures(_: Bundle, evaluation: Evaluation, column: str) -> Again:
    result = failures(evaluation)
    return Again(list(result.scores), ALL, [] if result.per_item is None else [result.per_item])


def _similarity(bundle: Bundle, evaluation: Evaluation, column: str) -> Again | None:
    metric, variant = _split(column)
    values = _column(bundle, column)
    if values is None:
        return None
    who = standing_of(bundle, evaluation, (metric, variant, "mean_failures_as_zero"), values)
    scores = id_similarity.scores_of(evaluation, values, who, variant)
    return Again(scores, ALL, id_similarity.item_tables(evaluation, values, who, metric, variant))


def _targets(bundle: Bundle, evaluation: Evaluation, column: str) -> Again | None:
    metric, variant = _split(column)
    values = _column(bundle, column)
    if values is None:
        return None
    who = standing_of(bundle, evaluation, (metric, variant, "mean_failures_as_zero"), values)
    scores = id_similarity.aggregates(evaluation, values, who, metric, variant)
    return Again(list(scores), TRIALS, id_similarity.item_tables(evaluation, values, who, metric, variant))


def _sample_mean(bundle: Bundle, evaluation: Evaluation, column: str) -> Again | None:
    metric, variant = _split(column)
    values = _column(bundle, column)
    if values is None:
        return None
    who = standing_of(bundle, evaluation, (metric, variant, "mean_detected"), values)
    score, table = mean_over_samples(evaluation, who, values, (metric, variant), "")
    return Again([score], ("value", "low", "high", "n"), [table])


def _retrieval(bundle: Bundle, evaluation: Evaluation, column: str) -> Again | None:
    """Rank 1 and margin, unless a large run was cut down or nobody else was in the gallery."""
    metric, variant = _split(column)
    values, stored = _column(bundle, column), bundle.by_name.get((metric, variant, "rank1"))
    if values is None or stored is None or math.isnan(stored["value"]) or "drawn by seed" in stored["note"]:
        return None
    who, people = standing_of(bundle, evaluation, (metric, variant, "rank1"), values), subjects(evaluation.samples)
    trial, hit = who.eligible, values > 0
    counts: dict[str, Any] = {"n": int(trial.sum()), **who.counts()}
    rank1 = with_interval(
        (metric, variant, "rank1"), hit[trial].mean(), clustered_rate(hit[trial], people[trial]), **counts
    )
    name = (metric, variant, "margin")
    counts |= {"n": int(who.valid.sum())}
    margin = mean_score(name, values[who.valid], people[who.valid], evaluation.seed, empty="", **counts)
    table = item_values(evaluation, who.item[trial], hit[trial].astype(np.float64), (metric, variant, "rank1"))
    return Again([rank1, margin], ALL, [table])


def _verification(bundle: Bundle, evaluation: Evaluation, column: str) -> Again | None:
    """FNMR at the threshold that the bundle names; the threshold itself is compared between bundles of one list."""
    metric, variant = _split(column)
    values = _column(bundle, f"{id_similarity.NAME}[{variant}]")
    if values is None:
        return None
    who = standing_of(bundle, evaluation, (id_similarity.NAME, variant, "mean_failures_as_zero"), values)
    scores, tables = [], []
    for level, cut in _thresholds(bundle, variant).items():
        name = (metric, variant, f"fnmr@{level}")
        threshold = Threshold(cut, 0, 0)
        scores.append(fnmr(evaluation, values, who.eligible, name, threshold, **who.counts()))
        if cut is not None:
            errors = 1.0 - matches(values, cut)
            tables.append(item_values(evaluation, who.item[who.eligible], errors[who.eligible], name))
    return Again(scores, ALL, tables)


def _thresholds(bundle: Bundle, variant: str) -> dict[str, float | None]:
    return {
        name[2].removeprefix("threshold@"): None if math.isnan(row["value"]) else row["value"]
        for name, row in bundle.by_name.items()
        if name[:2] == ("verification", variant) and name[2].startswith("threshold@")
    }


def _item_means(bundle: Bundle, evaluation: Evaluation, column: str) -> Again | None:
    """Means over items of what each item has; the distances behind an item's number are not in the bundle."""
    metric, variant = _split(column)
    scores = []
    for name, rows in bundle.items_by_name.items():
        if name[:2] != (metric, variant):
            continue
        known = rows[rows["value"].notna()]
        scores.append(
            mean_score(name, known["value"].to_numpy(), known["subject"].to_numpy(), evaluation.seed, empty="none")
        )
    return Again(scores, VALUES, [])


# Distances of distributions


def consistent(bundle: Bundle) -> list[Name]:
    """The distances whose error, correction and interval follow from their replicates.

    Raises:
        Refused: one's don't, or it lies where leaving out a part of the people cannot bring it.
    """
    found: list[Name] = []
    for metric, variant, statistic in bundle.by_name:
        if metric in DISTANCES and statistic == "distance":
            found += _distance(bundle, metric, variant)
        elif metric == kid.NAME and statistic == replicated(metric):
            _check_place(bundle, (metric, variant, statistic))
    return found


def _distance(bundle: Bundle, metric: str, variant: str) -> list[Name]:
    replicates = _replicates(bundle, metric, variant)
    row = bundle.by_name[(metric, variant, "distance")]
    result = jackknife(float(row["value"]), replicates)
    if result is None or math.isnan(row["value"]):
        return []
    _check_place(bundle, (metric, variant, "distance"))
    expected = {
        "distance": {"low": result.low, "high": result.high},
        "standard_error": {"value": result.standard_error},
        "bias_corrected": {"value": result.bias_corrected},
    }
    for statistic, numbers in expected.items():
        stored = bundle.by_name.get((metric, variant, statistic), {})
        for field, number in numbers.items():
            _same(f"{metric} {variant} {statistic} {field}", stored.get(field), number)
    return [(metric, variant, statistic) for statistic in expected]


def _replicates(bundle: Bundle, metric: str, variant: str) -> NDArray[np.float64]:
    return bundle.items_of((metric, variant, REPLICATE))["value"].to_numpy(dtype=np.float64)


def _check_place(bundle: Bundle, name: Name) -> None:
    """Leaving out one group of g changes a distance, bias included, by about its g-th part, plus their spread."""
    replicates, value = _replicates(bundle, *name[:2]), float(bundle.by_name[name]["value"])
    if len(replicates) < 2 or not np.isfinite([value, *replicates]).all():
        return
    middle, spread, where = float(replicates.mean()), float(np.ptp(replicates)), " ".join(name[:2])
    if abs(value - middle) > 2 * abs(middle) / (len(replicates) - 1) + spread:
        raise Refused(f"{where}: {value:.4f} does not belong to its replicates, whose mean is {middle:.4f}")


# Comparison


def _same_score(bundle: Bundle, score: Score, compared: tuple[str, ...]) -> None:
    name = (score.metric, score.variant, score.statistic)
    stored = bundle.by_name.get(name)
    if stored is None:
        raise Refused(f"{' '.join(name)} is missing from scores.csv")
    for field in compared:
        _same(f"{' '.join(name)}, {field}", stored[field], getattr(score, field))


def _same_items(bundle: Bundle, table: pd.DataFrame) -> None:
    for name, mine in _split_by_name(table):
        theirs = bundle.items_of(name)
        again, stored = _people(mine), _people(theirs)
        if again != stored:
            raise Refused(f"{' '.join(name)}: items.csv has other items than samples.csv gives")
        values = dict(zip(theirs["item"], theirs["value"], strict=True))
        for item, value in zip(mine["item"], mine["value"], strict=True):
            _same(f"{' '.join(name)} of {item}", values[item], value)


def _people(rows: pd.DataFrame) -> dict[str, str]:
    return dict(zip(rows["item"], rows["subject"], strict=True))


def _split_by_name(table: pd.DataFrame) -> list[tuple[Name, pd.DataFrame]]:
    groups = table.groupby(["metric", "variant", "statistic"], sort=False)
    return [((str(m), str(v), str(s)), rows) for (m, v, s), rows in groups]


def _same(where: str, stored: Any, again: Any) -> None:
    a, b = (math.nan if value is None else float(value) for value in (stored, again))
    if (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
        return
    raise Refused(f"{where}: it says {_text(a)}, its own rows give {_text(b)}")


def _text(value: float) -> str:
    return "nothing" if math.isnan(value) else f"{value:.6g}"
