"""What every format starts from: the numbers of a run that have a value and a better side."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from bench.metrics import declared
from bench.metrics.protocol import NUMBER, Number, Range
from bench.report.frames import Run


@dataclass(frozen=True)
class Row:
    """A number of a run.

    Attributes:
        number: its name.
        value: it.
        interval: ends of its 95 % interval; None where it has none.
        n: samples behind it.
        n_failed: samples that failed.
        lower_is_better: its direction.
        unit: of the metric; "" for none.
        relation: of the method to its recogniser; "" for other networks.
        range: its smallest and largest possible value.
        note: what a reader must know.
    """

    number: Number
    value: float
    interval: tuple[float, float] | None
    n: int
    n_failed: int
    lower_is_better: bool
    unit: str
    relation: str
    range: Range
    note: str


def rows(run: Run) -> list[Row]:
    """Return the numbers of a run that have a value and a better side, in the order of its scores."""
    kept = run.scores[run.scores["value"].notna() & run.scores["higher_is_better"].notna()]
    return [
        Row(
            number=(number := Number(*(str(one[part]) for part in NUMBER))),
            value=float(one["value"]),
            interval=_interval(float(one["low"]), float(one["high"])),
            n=int(one["n"]),
            n_failed=int(one["n_failed"]),
            lower_is_better=not one["higher_is_better"],
            unit=str(one["unit"]),
            relation=str(one["relation"]),
            range=_range(number),
            note=str(one["note"]),
        )
        for one in kept.to_dict("records")
    ]


def _interval(low: float, high: float) -> tuple[float, float] | None:
    return None if math.isnan(low) or math.isnan(high) else (low, high)


def _range(number: Number) -> Range:
    metric = declared.metric(number.metric)
    return metric.range_of(number.statistic) if metric else (None, None)


def slug(text: str) -> str:
    """Return a text as part of an address: lower case, digits, "-", "_" and ".".

    >>> slug("FID [inception] 1e-3")
    'fid-inception-1e-3'
    """
    return re.sub(r"[^a-z0-9_.]+", "-", text.casefold()).strip("-.") or "x"


def begun(run: Run) -> datetime:
    """Return when the run was begun; the first second of 1970 where that is not recorded."""
    return datetime.fromtimestamp(float(run.record.get("begun") or 0.0), UTC)
