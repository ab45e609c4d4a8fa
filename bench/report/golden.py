"""Golden files: the numbers of a run that later runs are held against, and the verdict on each of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.errors import UserError
from bench.report.frames import Run
from bench.store import read_json, write_json

SEED = "protocol.seed"
COUNTS = ("n", "n_failed", "n_unavailable", "n_items", "n_pairs")
DIGITS = 9  # significant ones in the file: finer than every tolerance
MARGIN = 3  # times the measured spread


class Record(BaseModel):
    """A frozen record in which unknown keys and numbers that are not finite are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Tolerance(Record):
    """How far a number may lie from the golden one: `absolute` + `relative` x |golden|."""

    absolute: Annotated[float, Field(ge=0)] = 0.0
    relative: Annotated[float, Field(ge=0)] = 0.0

    def around(self, value: float) -> float:
        """The distance that is allowed from `value`.

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
        """The tolerance that was given for a number or for its metric; None where none was."""
        return self.given.get(name) or self.given.get(metric_of(name))

    def of(self, name: str) -> Tolerance:
        """The tolerance of a number."""
        return self.named(name) or self.metrics.get(metric_of(name), self.default)


SPREAD = Tolerances(
    measured="3 times the difference between AVX-512, AVX2 and SSE on one Xeon, 12 samples: docs/howto/check.md",
    default=Tolerance(absolute=2e-4, relative=2e-4),
    metrics={
        "copying_lpips": Tolerance(absolute=2e-4, relative=3e-3),
        "expression_diversity": Tolerance(absolute=2e-4, relative=5e-2),
        "lpips_diversity": Tolerance(absolute=2e-4, relative=2e-3),
        "pose_diversity": Tolerance(absolute=2e-4, relative=4e-2),
    },
)
"""What a new golden file starts with."""


class Number(Record):
    """A number of the report with its interval and its counts; `value` is None for n/a."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    n_failed: int = 0
    n_unavailable: int = 0
    n_items: int | None = None
    n_pairs: int | None = None


class Golden(Record):
    """A golden file.

    Attributes:
        format: of the file.
        identity: what makes numbers comparable: method, dataset with the sha256 of its list's contents, protocol,
            evaluator with the sha256 of its weights, versions of the metrics.
        made: where the numbers were made; shown, never judged.
        tolerances: see there.
        scores: "<metric>[<variant>].<statistic>" -> number.
    """

    format: Literal[1] = 1
    identity: dict[str, Any]
    made: dict[str, Any]
    tolerances: Tolerances
    scores: dict[str, Number]


@dataclass(frozen=True)
class Change:
    """A setting that is not what it was; `golden` or `now` is None where it did not exist."""

    kind: str
    path: str
    golden: Any
    now: Any


@dataclass(frozen=True)
class Row:
    """The verdict on one number: "ok", "not judged: …", or what is wrong with it."""

    number: str
    golden: float | None
    now: float | None
    tolerance: str
    verdict: str

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return self.verdict == "ok" or self.verdict.startswith("not judged")


def metric_of(name: str) -> str:
    """The metric of a number's name.

    >>> metric_of("id_similarity[arcface].q05"), metric_of("failure_to_acquire.rate")
    ('id_similarity', 'failure_to_acquire')
    """
    return name.partition("[")[0].partition(".")[0]


def name_of(metric: str, variant: str, statistic: str) -> str:
    """A number's name.

    >>> name_of("fid", "inception", "distance"), name_of("failure_to_acquire", "", "rate")
    ('fid[inception].distance', 'failure_to_acquire.rate')
    """
    return f"{metric}[{variant}].{statistic}" if variant else f"{metric}.{statistic}"


def golden_of(run: Run, tolerances: Tolerances = SPREAD) -> Golden:
    """What a golden file says of a run.

    Raises:
        UserError: the run was scored before scores carried the identity of all settings.
    """
    if "identity" not in run.comparable:
        raise UserError(f"{run.folder} was scored by an older version; run its command again")
    settings = dict(run.comparable["identity"])
    dataset = {**settings.pop("dataset"), "content": run.comparable["dataset"]["content"]}
    identity = {**settings, "dataset": dataset, "metrics": run.comparable["metrics"]}
    return Golden(identity=_sorted(identity), made=_made(run.record), tolerances=tolerances, scores=_numbers(run))


def _numbers(run: Run) -> dict[str, Number]:
    found = {
        name_of(str(row["metric"]), str(row["variant"]), str(row["statistic"])): _number(row)
        for row in run.scores.to_dict("records")
    }
    return dict(sorted(found.items()))


def _number(row: Mapping[Any, Any]) -> Number:
    counts = {name: None if pd.isna(row[name]) else int(row[name]) for name in COUNTS}
    return Number.model_validate({name: _rounded(row[name]) for name in ("value", "low", "high")} | counts)


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
    """Reads a golden file.

    Raises:
        UserError: it is missing, no JSON, or not of this format; the field is named.
    """
    try:
        return Golden.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{path} is no golden file: {where}: {first['msg']}; mend it, or delete it and --update"
        ) from error


def write_golden(path: Path, golden: Golden) -> None:
    """Writes a golden file: sorted, a line a field."""
    write_json(path, _sorted(golden.model_dump(mode="json")))


def changes(golden: Golden, now: Golden) -> list[Change]:
    """Every setting that differs, in the order of its name.

    A metric that only one side has is no setting: its numbers are "new" or "missing".
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
    """What a reader calls a setting."""
    if path == "dataset.content":
        return "photos or list"
    if isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef"):
        return "weights"
    return {"metrics": "metric version"}.get(path.split(".")[0], path.split(".")[0])


def judge(golden: Golden, now: Golden, tolerances: Tolerances) -> list[Row]:
    """The verdict on every number of either side; by intervals where the seed is another one."""
    seeds = [dict(_flat(side.identity)).get(SEED) for side in (golden, now)]
    by = _by_tolerance if seeds[0] == seeds[1] else _by_interval
    return [
        _one_sided(name, golden.scores.get(name), now.scores.get(name))
        or by(name, golden.scores[name], now.scores[name], tolerances)
        for name in sorted({*golden.scores, *now.scores})
    ]


def _one_sided(name: str, old: Number | None, new: Number | None) -> Row | None:
    """The row of a number of which one side has no value."""
    was, now = old.value if old else None, new.value if new else None
    if old is None or new is None:
        return Row(name, was, now, "", "new" if old is None else "missing")
    if (was is None) != (now is None):
        return Row(name, was, now, "", "was n/a" if was is None else "now n/a")
    return None


def _by_tolerance(name: str, old: Number, new: Number, tolerances: Tolerances) -> Row:
    allowed = 0.0 if old.value is None else tolerances.of(name).around(old.value)
    verdict = "ok"
    if not _near(old.value, new.value, allowed):
        verdict = "changed"
    elif not (_near(old.low, new.low, allowed) and _near(old.high, new.high, allowed)):
        verdict = f"interval was {_interval(old)}, is {_interval(new)}"
    elif other := [c for c in COUNTS if getattr(old, c) != getattr(new, c)]:
        verdict = ", ".join(f"{c} was {getattr(old, c)}, is {getattr(new, c)}" for c in other)
    return Row(name, old.value, new.value, "" if old.value is None else f"±{allowed:.1e}", verdict)


def _by_interval(name: str, old: Number, new: Number, tolerances: Tolerances) -> Row:
    """With another seed: within the golden interval (and what platforms differ by), or within what was given."""
    if old.value is None or new.value is None:
        return Row(name, None, None, "", "ok")
    around = tolerances.of(name).around(old.value)
    low, high = (old.low, old.high) if tolerances.named(name) is None else (old.value, old.value)
    if low is None or high is None:
        return Row(name, old.value, new.value, "", "not judged: no interval")
    inside = low - around <= new.value <= high + around
    allowed = f"[{low - around:.4g}, {high + around:.4g}]"
    return Row(name, old.value, new.value, allowed, "ok" if inside else "outside the interval")


def _near(one: float | None, other: float | None, allowed: float) -> bool:
    return one == other if one is None or other is None else abs(one - other) <= allowed


def _interval(number: Number) -> str:
    ends = ("n/a" if end is None else f"{end:.6g}" for end in (number.low, number.high))
    return f"[{', '.join(ends)}]"


def measured(base: Golden, others: Sequence[Golden]) -> Tolerances:
    """Tolerances from the same run made on several platforms.

    By metric `MARGIN` times the largest difference of any of its values and interval ends from `base`, where that is
    more than the default.

    Raises:
        UserError: one of them is not the same run.
    """
    for other in others:
        if other_settings := changes(base, other):
            raise UserError(f"--spread takes the same run made elsewhere: {other_settings[0].path} differs")
    widest: dict[str, float] = {}
    for other in others:
        for name in base.scores.keys() & other.scores.keys():
            widest[metric_of(name)] = max(
                widest.get(metric_of(name), 0.0), _distance(base.scores[name], other.scores[name])
            )
    floor = SPREAD.default.absolute
    found = {m: Tolerance(absolute=_up(MARGIN * w)) for m, w in sorted(widest.items()) if MARGIN * w > floor}
    where = "; ".join(dict.fromkeys(_place(side.made) for side in (base, *others)))
    text = f"{MARGIN} times the largest difference between {where}"
    return Tolerances(measured=text, default=SPREAD.default, metrics=found)


def _distance(one: Number, other: Number) -> float:
    ends = ((getattr(one, end), getattr(other, end)) for end in ("value", "low", "high"))
    return max((abs(a - b) for a, b in ends if a is not None and b is not None), default=0.0)


def _up(value: float) -> float:
    """Rounded up to one significant digit.

    >>> _up(0.00121)
    0.002
    """
    unit = 10.0 ** math.floor(math.log10(value))
    return float(f"{math.ceil(value / unit) * unit:.6g}")


def _place(made: Mapping[str, Any]) -> str:
    return f"{made['processor']} {made['device']}, {made['threads']} threads, {made['platform']}"
