"""Golden files: the numbers of a run with which later runs are compared, and the verdict on each of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from bench import registry
from bench.errors import UserError, one_line
from bench.metrics import protocol
from bench.metrics.protocol import NUMBER
from bench.report.frames import Run, score_command
from bench.store import read_json, write_json

SEED = "protocol.seed"
COUNTS = ("n", "n_failed", "n_unavailable", "n_items", "n_pairs")
DIGITS = 9
"""Significant digits in the file: finer than every tolerance."""
LEVELS = 20
"""Nested levels that the settings in a file may have."""
MARGIN = 3
"""How many times the measured spread is allowed."""


class Record(BaseModel):
    """A frozen record in which unknown keys and numbers that are not finite are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Tolerance(Record):
    """How far a number may lie from the golden one: `absolute` + `relative` x |golden|."""

    absolute: Annotated[float, Field(ge=0)] = 0.0
    relative: Annotated[float, Field(ge=0)] = 0.0

    def around(self, value: float) -> float:
        """Return the distance that is allowed from `value`.

        >>> Tolerance(absolute=0.1, relative=0.01).around(-20)
        0.30000000000000004
        """
        return self.absolute + self.relative * abs(value)


class Tolerances(Record):
    """What a golden file allows where weights and seeds are the same.

    Attributes:
        measured: on what the tolerances rest.
        default: of every number that is not named.
        metrics: by metric, where platforms differ by more.
        given: the user's word, by a number's name ("fid[inception].distance") or its metric ("fid"); it also holds
            where the seeds differ.
    """

    measured: str
    default: Tolerance
    metrics: dict[str, Tolerance] = Field(default_factory=dict)
    given: dict[str, Tolerance] = Field(default_factory=dict)

    def named(self, name: str) -> Tolerance | None:
        """Return the tolerance that was given for a number or for its metric; None where none was."""
        return self.given.get(name) or self.given.get(metric_of(name))

    def of(self, name: str) -> Tolerance:
        """Return the tolerance of a number."""
        return self.named(name) or self.metrics.get(metric_of(name), self.default)


def metric_of(name: str) -> str:
    """Return the metric of a number as a golden file names it.

    >>> metric_of("id_similarity[arcface].q05"), metric_of("failure_to_acquire.rate")
    ('id_similarity', 'failure_to_acquire')
    """
    return name.partition("[")[0].partition(".")[0]


@lru_cache(maxsize=1)
def spread() -> Tolerances:
    """Return what a new golden file starts with: the tolerances that the registered metrics declare."""
    default = protocol.Tolerance()
    metrics = registry.parts("metrics").values()
    return Tolerances(
        measured="3 times the difference between AVX-512, AVX2 and SSE on one Xeon, 12 samples: docs/howto/check.md",
        default=Tolerance(**asdict(default)),
        metrics={one.name: Tolerance(**asdict(one.tolerance)) for one in metrics if one.tolerance != default},
    )


Count = Annotated[int, Field(ge=0)]


class Recorded(Record):
    """A number of the report as the file holds it, with its interval and its counts; `value` is None for n/a."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: Count = 0
    n_failed: Count = 0
    n_unavailable: Count = 0
    n_items: Count | None = None
    n_pairs: Count | None = None


def _shallow(value: Any, levels: int = LEVELS) -> Any:
    """Return settings that functions which call themselves can walk."""
    if not levels:
        raise ValueError(f"settings are nested in more than {LEVELS} levels")
    for part in value.values() if isinstance(value, Mapping) else value:
        if isinstance(part, (Mapping, list)):
            _shallow(part, levels - 1)
    return value


Settings = Annotated[dict[str, Any], AfterValidator(_shallow)]


class Golden(Record):
    """A golden file.

    Attributes:
        format: of the file.
        identity: what makes numbers comparable: method, dataset with the sha256 of its list's contents, protocol,
            evaluator with the sha256 of its weights, versions of the metrics.
        made: where the numbers were made; shown, never judged.
        tolerances: see `Tolerances`.
        scores: the text of a number's name (`bench.metrics.protocol.Number`) -> number.
    """

    format: Literal[1] = 1
    identity: Settings
    made: Settings
    tolerances: Tolerances
    scores: dict[str, Recorded]


@dataclass(frozen=True)
class Change:
    """A setting that is not what it was.

    Attributes:
        kind: what a reader calls such a setting ("weights", "protocol").
        path: its dotted name.
        golden: its value in the golden file; None where it did not exist.
        now: its value in the run; None where it does not exist.
    """

    kind: str
    path: str
    golden: Any
    now: Any


class Verdict(StrEnum):
    """What `check` says of a number."""

    OK = "ok"
    CHANGED = "changed"
    """The value is outside its tolerance."""
    INTERVAL = "interval"
    """The value holds, its interval does not."""
    COUNTS = "counts"
    """Value and interval hold, a count does not."""
    WAS_ABSENT = "was n/a"
    NOW_ABSENT = "now n/a"
    MISSING = "missing"
    """Only the golden file has the number."""
    NEW = "new"
    """Only the run has the number."""
    OUTSIDE = "outside the interval"
    """With another seed: the value is outside the golden interval."""
    NOT_JUDGED = "not judged"
    """With another seed: there is no interval to judge by."""

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong with the number."""
        return self in (Verdict.OK, Verdict.NOT_JUDGED)


@dataclass(frozen=True)
class Row:
    """The verdict on one number.

    Attributes:
        number: the text of its name.
        golden: its value in the golden file; None for n/a.
        now: its value in the run; None for n/a.
        tolerance: what was allowed, in words.
        verdict: see `Verdict`.
        detail: what the verdict is about, in words; "" where it says all.
    """

    number: str
    golden: float | None
    now: float | None
    tolerance: str
    verdict: Verdict
    detail: str = ""

    @property
    def said(self) -> str:
        """The verdict in words."""
        return self.detail or str(self.verdict)


def golden_of(run: Run) -> Golden:
    """Return what a golden file says of a run.

    Raises:
        UserError: the run was scored before scores carried the identity of all settings.
    """
    if "identity" not in run.comparable:
        raise UserError(f"{run.folder} was scored by an older version; score it again: {score_command(run.record)}")
    settings = dict(run.comparable["identity"])
    dataset = {**settings.pop("dataset"), "content": run.comparable["dataset"]["content"]}
    identity = {**settings, "dataset": dataset, "metrics": run.comparable["metrics"]}
    return Golden(identity=_sorted(identity), made=_made(run.record), tolerances=spread(), scores=_numbers(run))


def _numbers(run: Run) -> dict[str, Recorded]:
    found = {
        str(protocol.Number(*(str(row[part]) for part in NUMBER))): _recorded(row)
        for row in run.scores.to_dict("records")
    }
    return dict(sorted(found.items()))


def _recorded(row: Mapping[Any, Any]) -> Recorded:
    counts = {name: None if pd.isna(row[name]) else int(row[name]) for name in COUNTS}
    return Recorded.model_validate({name: _rounded(row[name]) for name in ("value", "low", "high")} | counts)


def _rounded(value: Any) -> float | None:
    return None if pd.isna(value) or not math.isfinite(value) else float(f"{value:.{DIGITS}g}")


def _made(record: Mapping[str, Any]) -> dict[str, Any]:
    environment, execution = record["environment"], record["spec"]["execution"]
    return {
        **{key: environment.get(key) for key in ("platform", "processor", "python", "commit")},
        **{key: execution[key] for key in ("device", "threads")},
        "packages": environment["packages"],
    }


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _sorted(value[key]) for key in sorted(value)}
    return [_sorted(v) for v in value] if isinstance(value, (list, tuple)) else value


def read_golden(path: Path) -> Golden:
    """Read a golden file.

    Raises:
        UserError: it is missing, not JSON, or not of this format; the field is named.
    """
    try:
        return Golden.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        what = one_line(ValueError(f"{where}: {first['msg']}"))
        raise UserError(f"{path} is not a golden file: {what}; correct it, or delete it and use --update") from error


def write_golden(path: Path, golden: Golden) -> None:
    """Write a golden file: sorted, a line a field."""
    write_json(path, _sorted(golden.model_dump(mode="json")))


def changes(golden: Golden, now: Golden) -> list[Change]:
    """Return every setting that differs, in the order of its name.

    A metric that only one side has does not count as a setting: its numbers are "new" or "missing".
    """
    old, new = dict(_flat(golden.identity)), dict(_flat(now.identity))
    alone = {path for path in {*old} ^ {*new} if path.startswith("metrics.")}
    return [
        Change(_kind(path, old.get(path, new.get(path))), path, old.get(path), new.get(path))
        for path in sorted({*old, *new} - alone)
        if (path in old) != (path in new) or old.get(path) != new.get(path)
    ]


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, part in value.items():
        if isinstance(part, Mapping) and part:
            yield from _flat(part, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", part


def _kind(path: str, value: Any) -> str:
    """Return what a reader calls a setting."""
    if path == "dataset.content":
        return "photos or list"
    if isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef"):
        return "weights"
    return {"metrics": "metric version"}.get(path.split(".")[0], path.split(".")[0])


def judge(golden: Golden, now: Golden, tolerances: Tolerances) -> list[Row]:
    """Return the verdict on every number of either side; by intervals where the seed is another one."""
    seeds = [dict(_flat(side.identity)).get(SEED) for side in (golden, now)]
    by = _by_tolerance if seeds[0] == seeds[1] else _by_interval
    return [
        _one_sided(name, golden.scores.get(name), now.scores.get(name))
        or by(name, golden.scores[name], now.scores[name], tolerances)
        for name in sorted({*golden.scores, *now.scores})
    ]


def _one_sided(name: str, old: Recorded | None, new: Recorded | None) -> Row | None:
    """Return the row of a number of which one side has no value; None where both have one or neither has."""
    was = old.value if old else None
    now = new.value if new else None
    if old is None or new is None:
        return Row(name, was, now, "", Verdict.NEW if old is None else Verdict.MISSING)
    if (was is None) != (now is None):
        return Row(name, was, now, "", Verdict.WAS_ABSENT if was is None else Verdict.NOW_ABSENT)
    return None


def _by_tolerance(name: str, old: Recorded, new: Recorded, tolerances: Tolerances) -> Row:
    allowed = 0.0 if old.value is None else tolerances.of(name).around(old.value)
    said = "" if old.value is None else f"±{allowed:.1e}"
    return Row(name, old.value, new.value, said, *_within(old, new, allowed))


def _within(old: Recorded, new: Recorded, allowed: float) -> tuple[Verdict, str]:
    """Return the verdict on a number, its interval and its counts, and what it is about."""
    if not _near(old.value, new.value, allowed):
        return Verdict.CHANGED, ""
    if not (_near(old.low, new.low, allowed) and _near(old.high, new.high, allowed)):
        return Verdict.INTERVAL, f"interval was {_interval(old)}, is {_interval(new)}"
    if other := [c for c in COUNTS if getattr(old, c) != getattr(new, c)]:
        return Verdict.COUNTS, ", ".join(f"{c} was {getattr(old, c)}, is {getattr(new, c)}" for c in other)
    return Verdict.OK, ""


def _by_interval(name: str, old: Recorded, new: Recorded, tolerances: Tolerances) -> Row:
    """Judge with another seed: by the golden interval (and what platforms differ by), or by what was given."""
    if old.value is None or new.value is None:
        return Row(name, None, None, "", Verdict.OK)
    around = tolerances.of(name).around(old.value)
    low, high = (old.low, old.high) if tolerances.named(name) is None else (old.value, old.value)
    if low is None or high is None:
        return Row(name, old.value, new.value, "", Verdict.NOT_JUDGED, "not judged: no interval")
    inside = low - around <= new.value <= high + around
    allowed = f"[{low - around:.4g}, {high + around:.4g}]"
    return Row(name, old.value, new.value, allowed, Verdict.OK if inside else Verdict.OUTSIDE)


def _near(one: float | None, other: float | None, allowed: float) -> bool:
    return one == other if one is None or other is None else abs(one - other) <= allowed


def _interval(number: Recorded) -> str:
    ends = ("n/a" if end is None else f"{end:.6g}" for end in (number.low, number.high))
    return f"[{', '.join(ends)}]"


def measured(base: Golden, others: Sequence[Golden]) -> Tolerances:
    """Return tolerances from the same run made on several platforms.

    By metric `MARGIN` times the largest difference of any of its values and interval ends from `base`, where that is
    more than the default.

    Raises:
        UserError: one of them is not the same run.
    """
    for other in others:
        if other_settings := changes(base, other):
            raise UserError(f"--spread takes the same run made elsewhere: {other_settings[0].path} differs")
    default = spread().default
    widest: dict[str, float] = {}
    for other in others:
        for name in sorted(base.scores.keys() & other.scores.keys()):
            distance = _distance(base.scores[name], other.scores[name])
            widest[metric_of(name)] = max(widest.get(metric_of(name), 0.0), distance)
    found = {m: Tolerance(absolute=_up(MARGIN * w)) for m, w in widest.items() if MARGIN * w > default.absolute}
    where = "; ".join(dict.fromkeys(_place(side.made) for side in (base, *others)))
    text = f"{MARGIN} times the largest difference between {where}"
    return Tolerances(measured=text, default=default, metrics=found)


def _distance(one: Recorded, other: Recorded) -> float:
    ends = ((getattr(one, end), getattr(other, end)) for end in ("value", "low", "high"))
    return max((abs(a - b) for a, b in ends if a is not None and b is not None), default=0.0)


def _up(value: float) -> float:
    """Return a number rounded up to one significant digit.

    >>> _up(0.00121)
    0.002
    """
    unit = 10.0 ** math.floor(math.log10(value))
    return float(f"{math.ceil(value / unit) * unit:.6g}")


def _place(made: Mapping[str, Any]) -> str:
    return f"{made['processor']} {made['device']}, {made['threads']} threads, {made['platform']}"
