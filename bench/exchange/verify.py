"""Does a bundle agree with itself? Each metric computes its numbers again from the rows.

What a number can be, in the end:

    recomputed   its value follows from the table per sample or per item
    consistent   its error, correction and interval follow from its jackknife's replicates; its value does not
    claimed      it needs features or images, which no bundle holds, or a metric or version that is not installed here

Names of metrics, versions, directions, units and ranges are those of the metrics that are installed here; the relation
of a method to a recogniser is that of its card. A table that was made up as a whole agrees with itself: only running
the method again would show it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd

from bench.exchange.bundle import Bundle, Refused
from bench.exchange.schema import PER_SAMPLE, STATUS, TARGETS, USABLE
from bench.metrics import declared
from bench.metrics.protocol import (
    NUMBER,
    REPLICATE,
    Contradiction,
    Evaluation,
    Metric,
    Number,
    Pairing,
    Range,
    Recomputed,
    Score,
    Tables,
)
from bench.spec import Card
from bench.status import SampleStatus, ViewStatus

State = Literal["recomputed", "consistent", "claimed"]
TOLERANCE = 1e-9
"""Relative and absolute: the last digits of a bootstrap's sums differ between processors."""
_LEFT_OUT = re.compile(r"without group \d{1,6}")


def verify(bundle: Bundle) -> dict[Number, State]:
    """Return how far each number of a bundle can be trusted.

    Raises:
        Refused: the tables are not those of one run, or a number is not what its rows give.
    """
    check_record(bundle)
    check_samples(bundle)
    check_references(bundle)
    check_items(bundle)
    check_scores(bundle)
    states: dict[Number, State] = dict.fromkeys(bundle.by_number, "claimed")
    for metric, again in recomputed(bundle):
        state: State = "consistent" if metric.pairing is Pairing.JACKKNIFE else "recomputed"
        for score in again.scores:
            _same_score(bundle, score, again.fields)
            states[score.number] = state
        if again.items is not None:
            _same_items(bundle, again.items)
    return states


# Structure


def check_record(bundle: Bundle) -> None:
    """Check that the record says the same thing in all its places.

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
    rows = bundle.scores[(bundle.scores["metric"] == "id_similarity") & (bundle.scores["variant"] != "")]
    return sorted(set(rows["variant"]))


def check_samples(bundle: Bundle) -> None:
    """Check that every item has all its samples, each with a status that fits its numbers.

    Raises:
        Refused: a row is missing or impossible.
    """
    frame, made = bundle.samples, bundle.record.comparable.conditions
    if made and len(frame) != made.samples:
        raise Refused(f"it has {len(frame)} samples, its conditions say {made.samples}: rows were dropped")
    for item, rows in frame.groupby("item", sort=False):
        k = len(rows) if made else bundle.record.comparable.protocol.per_item
        if sorted(rows["index"]) != list(range(k)):
            raise Refused(f"{item} has samples {sorted(rows['index'])[:20]}, not 0 to {k - 1}: rows were dropped")
        failed = SampleStatus.REFERENCE_FAILED in set(rows["status"])
        if rows["subject"].nunique() > 1 or (failed and rows["status"].nunique() > 1):
            raise Refused(f"the samples of {item} disagree about its person or its reference")
    unknown = sorted(set(frame["status"]) - set(SampleStatus))
    if unknown:
        raise Refused(f"status {unknown[0][:40]!r} does not exist")
    if SampleStatus.UNAVAILABLE in set(frame["status"]) and generates(bundle):
        raise Refused(
            f"only a control may have no image to show, and {bundle.record.method} is not one: that is a failure"
        )
    _check_numbers(bundle)


def generates(bundle: Bundle) -> bool:
    """Return whether a bundle's method makes images: it does, unless its class here says that it is a control."""
    from bench import registry

    return bool(getattr(registry.find("methods", bundle.record.method), "generates", True))


def _check_numbers(bundle: Bundle) -> None:
    """Numbers per sample belong to good samples and lie in their range; statuses by network exist."""
    frame = bundle.samples
    bad = frame["status"] != SampleStatus.OK
    for column in frame.columns:
        found = PER_SAMPLE.fullmatch(str(column))
        if found is None:
            continue
        if found["metric"] == STATUS:
            unknown = sorted(set(frame[column]) - {*SampleStatus, *ViewStatus})
            if unknown:
                raise Refused(f"{column}: status {unknown[0][:40]!r} does not exist")
            continue
        if frame.loc[bad, column].notna().any():
            raise Refused(f"{column}: a failed sample has a number")
        metric = _declared(bundle, found["metric"])
        bounds = metric.sample_range or metric.range if metric else (None, None)
        _check_range(str(column), frame[column].to_numpy(dtype=float), bounds)


def check_references(bundle: Bundle) -> None:
    """Check that the references are those of the samples.

    Raises:
        Refused: an item is missing, belongs to another person, or has samples that its status forbids.
    """
    if bundle.references is None:
        return
    first = bundle.samples.drop_duplicates("item").reset_index(drop=True)
    columns = ["item", "subject"]
    if not first[columns].equals(bundle.references[columns].reset_index(drop=True)):
        raise Refused("references.csv has other items or people than samples.csv")
    failed = first["status"] == SampleStatus.REFERENCE_FAILED
    no_face = bundle.references["status"].reset_index(drop=True) != SampleStatus.OK
    if (failed & ~no_face).any():
        raise Refused("samples.csv says that a reference failed which references.csv calls good")


def check_items(bundle: Bundle) -> None:
    """Check that every row per item belongs to an item, its person and a metric, or to a group that was left out.

    Raises:
        Refused: one doesn't, or its value is impossible.
    """
    people = dict(zip(bundle.samples["item"], bundle.samples["subject"], strict=True))
    rows = (bundle.items[column] for column in ("item", "subject", "metric"))
    for item, subject, metric in dict.fromkeys(zip(*rows, strict=True)):
        if metric not in bundle.record.comparable.metrics or not (item in people or _LEFT_OUT.fullmatch(item)):
            raise Refused(
                f"items.csv has a row of {item[:40]!r} and metric {metric[:40]!r}, which the run doesn't have"
            )
        if people.get(item, subject) != subject:
            raise Refused(f"items.csv gives {item[:40]!r} to {subject[:40]!r}, samples.csv to another person")
    for number, rows_of in bundle.items_by_number.items():
        if number.statistic != REPLICATE:
            _check_range(str(number), rows_of["value"].to_numpy(dtype=float), _range(bundle, number))


def check_scores(bundle: Bundle) -> None:
    """Check versions, directions, units and relations against what is declared here, and values against their ranges.

    Raises:
        Refused: one contradicts it.
    """
    card = Card.model_validate(_card(bundle))
    for number, row in bundle.by_number.items():
        if row["version"] != bundle.record.comparable.metrics[number.metric]:
            raise Refused(f"{number} has version {row['version']}, the record another one")
        if (metric := _declared(bundle, number.metric)) is not None:
            _check_declaration(number, row, metric)
        if row["relation"] and row["relation"] != card.relation(number.variant):
            relation = card.relation(number.variant)
            raise Refused(f"{number} says {row['relation']!r} of {number.variant}, the method's card says {relation!r}")
        value = float(row["value"])
        if row["low"] > value + TOLERANCE or row["high"] < value - TOLERANCE:
            raise Refused(f"{number}: {value:.6g} lies outside its own interval")
        _check_range(str(number), np.array([value]), _range(bundle, number))


def _card(bundle: Bundle) -> Mapping[str, Any]:
    card = getattr(bundle.record.spec.method, "card", None)
    return card if isinstance(card, Mapping) else {}


def _check_declaration(number: Number, row: Mapping[str, Any], metric: Metric) -> None:
    ours = {"unit": metric.unit, "higher_is_better": metric.direction(number.statistic)}
    for field, value in ours.items():
        if row[field] != value:
            raise Refused(f"{number}: {field} is {row[field]!r}, but {metric.name} declares {value!r}")


def _declared(bundle: Bundle, name: str) -> Metric | None:
    """The metric as it is installed here, if it is the version of the bundle."""
    metric = declared.metric(name)
    return metric if metric and metric.version == bundle.record.comparable.metrics.get(name) else None


def _range(bundle: Bundle, number: Number) -> Range:
    metric = _declared(bundle, number.metric)
    if metric is None:
        return None, None
    if number.statistic not in {one.name for one in metric.statistics}:
        raise Refused(f"{number}: {metric.name} has no such statistic")
    return metric.range_of(number.statistic)


def _check_range(where: str, values: np.ndarray[Any, Any], bounds: Range) -> None:
    least, most = (math.inf * sign if bound is None else bound for bound, sign in zip(bounds, (-1, 1), strict=True))
    wrong = values[(values < least - TOLERANCE) | (values > most + TOLERANCE)]
    if len(wrong):
        raise Refused(f"{where}: {wrong[0]:.6g} is impossible; it lies between {least} and {most}")


# Numbers from rows


def recomputed(bundle: Bundle) -> Iterator[tuple[Metric, Recomputed]]:
    """Yield what the rows give, by metric and variant, for metrics of the version that is installed here.

    Raises:
        Refused: the rows contradict each other.
    """
    if bundle.references is None:
        return
    evaluation = evaluation_of(bundle)
    for name, variant in dict.fromkeys(number[:2] for number in bundle.by_number):
        metric = _declared(bundle, name)
        tables = tables_of(bundle, evaluation, name, variant)
        if metric is None or metric.recompute is None or not _has_value(tables):
            continue
        try:
            again = metric.recompute(tables)
        except Contradiction as error:
            raise Refused(str(error)) from error
        if again is not None:
            yield metric, again


def _has_value(tables: Tables) -> bool:
    return any(not math.isnan(row["value"]) for row in tables.scores.values())


def tables_of(bundle: Bundle, evaluation: Evaluation, metric: str, variant: str) -> Tables:
    """Return what a bundle holds of one metric and variant over all samples; numbers of groups are not among it."""
    assert bundle.references is not None
    items = bundle.items[bundle.items["group"] == ""]
    whole = {number for number in bundle.by_number if number[:2] == (metric, variant) and not number.group}
    return Tables(
        evaluation,
        metric,
        variant,
        samples={str(c): bundle.samples[c].to_numpy() for c in bundle.samples if _is_number(str(c))},
        items=items[(items["metric"] == metric) & (items["variant"] == variant)],
        scores={number: row for number, row in bundle.by_number.items() if number in whole},
        usable=_by_network(bundle.references, USABLE),
        targets=_by_network(bundle.references, TARGETS),
    )


def _is_number(column: str) -> bool:
    found = PER_SAMPLE.fullmatch(column)
    return found is not None and found["metric"] != STATUS


def _by_network(frame: pd.DataFrame, word: str) -> dict[str, Any]:
    """The columns `word[<network>]` by network."""
    names = [
        (found["variant"], c) for c in frame if (found := PER_SAMPLE.fullmatch(str(c))) and found["metric"] == word
    ]
    return {network: frame[column].to_numpy() for network, column in names}


def evaluation_of(bundle: Bundle) -> Evaluation:
    """Return the tables of a bundle as metrics read them, without features."""
    assert bundle.references is not None
    references = bundle.references[["item", "subject", "status"]].reset_index(drop=True)
    seed = bundle.record.comparable.protocol.seed
    statuses = _by_network(bundle.samples, STATUS)
    return Evaluation(bundle.samples, references, references[:0], {}, {}, seed=seed, statuses=statuses)


# Comparison


def _same_score(bundle: Bundle, score: Score, compared: tuple[str, ...]) -> None:
    stated = bundle.by_number.get(score.number)
    if stated is None:
        raise Refused(f"{score.number} is missing from scores.csv")
    for field in compared:
        _same(f"{score.number}, {field}", stated[field], getattr(score, field))


def _same_items(bundle: Bundle, table: pd.DataFrame) -> None:
    for key, mine in table.groupby(NUMBER, sort=False):
        number = Number(*map(str, key))
        theirs = bundle.items_by_number.get(number, bundle.items[:0])
        if _people(mine) != _people(theirs):
            raise Refused(f"{number}: items.csv has other items than samples.csv gives")
        values = dict(zip(theirs["item"], theirs["value"], strict=True))
        for item, value in zip(mine["item"], mine["value"], strict=True):
            _same(f"{number} of {item}", values[item], value)


def _people(rows: pd.DataFrame) -> dict[str, str]:
    return dict(zip(rows["item"], rows["subject"], strict=True))


def _same(where: str, stated: Any, again: Any) -> None:
    a, b = (math.nan if value is None else float(value) for value in (stated, again))
    if (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
        return
    raise Refused(f"{where}: it says {_text(a)}, its own rows give {_text(b)}")


def _text(value: float) -> str:
    return "nothing" if math.isnan(value) else f"{value:.6g}"
