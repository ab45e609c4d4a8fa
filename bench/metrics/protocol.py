"""The Metric protocol: what a metric declares, what it is given and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.names import fit_for_a_path

Range = tuple[float | None, float | None]
"""The smallest and the largest possible value; None where there is no bound."""
REPLICATE = "replicate"
"""In `Result.per_item` the statistic of rows that are not items: the distance without one group of subjects."""


class Number(NamedTuple):
    """The name of one number of the report: everything that tells it from all others.

    Attributes:
        metric: the metric's name.
        variant: the network by which the metric was read ("arcface", "flame"); "" for none.
        statistic: the aggregate ("mean_detected", "q05").
        level: the false match rate of the threshold ("1e-3"); "" where there is no threshold.
        subset: the part of the samples that counts ("verified arcface"); "" for all.
        group: the list's column by which samples are grouped ("gender"), or "prompt_id"; "" for all samples.
        member: the value of that column ("f").
    """

    metric: str
    variant: str = ""
    statistic: str = ""
    level: str = ""
    subset: str = ""
    group: str = ""
    member: str = ""

    def __str__(self) -> str:
        """Return the name as golden files spell it.

        >>> str(Number("fid", "inception", "distance")), str(Number("failure_to_acquire", "", "rate"))
        ('fid[inception].distance', 'failure_to_acquire.rate')
        >>> str(Number("groups", "judge", "fnmr", "1e-3", group="gender", member="f"))
        'groups[judge].fnmr@1e-3[gender=f]'
        >>> str(Number("lpips_diversity", "lpips", "mean_items", "1e-2", "verified judge"))
        'lpips_diversity[lpips].mean_items[verified judge@1e-2]'
        """
        head = f"{self.metric}[{self.variant}]" if self.variant else self.metric
        level = f"@{self.level}" if self.level else ""
        subset = f"[{self.subset}{level}]" if self.subset else level
        group = f"[{self.group}={self.member}]" if self.group else ""
        return f"{head}.{self.statistic}{subset}{group}"


NUMBER = list(Number._fields)
"""The columns that name a number in every table of numbers."""


class Pairing(StrEnum):
    """How two methods are compared on a metric."""

    ITEMS = "items"
    """By the differences of each item's number (`Result.per_item`)."""
    JACKKNIFE = "jackknife"
    """By the distances without each group of subjects (rows `REPLICATE` of `Result.per_item`)."""
    NONE = "none"
    """Not at all: the metric has no test, so that its numbers are never ranked."""


@dataclass(frozen=True)
class Tolerance:
    """How far a number may lie from the same number of another platform: `absolute` + `relative` x |number|.

    The default is 3 times what AVX-512, AVX2 and SSE differ by on one processor.
    """

    absolute: float = 2e-4
    relative: float = 2e-4


@dataclass(frozen=True)
class Statistic:
    """One of the aggregates of a metric.

    Attributes:
        name: as `Number.statistic` has it.
        title: how a reader calls it; the name with spaces where it is left out.
        headline: whether the overview of a comparison shows it.
        tile: whether it is among the numbers on top of a run's page.
        range: where it differs from the metric's range.
        replicated: whether the rows `REPLICATE` of `Result.per_item` are values of this statistic.
        of_references: whether it says nothing of samples, so that no failure of a method changes it.
        higher_is_better: where it differs from the metric's.
    """

    name: str
    title: str = ""
    headline: bool = False
    tile: bool = False
    range: Range | None = None
    replicated: bool = False
    of_references: bool = False
    higher_is_better: bool | None = None

    @property
    def words(self) -> str:
        """The title.

        >>> Statistic("mean_items", "mean").words, Statistic("max_detected").words
        ('mean', 'max detected')
        """
        return self.title or self.name.replace("_", " ")


@dataclass(frozen=True, eq=False)
class Features:
    """One extractor's features of everything in an evaluation; a row that has none is NaN throughout.

    Attributes:
        samples: (n_samples, d) float32, in the order of `Evaluation.samples`.
        references: (n_items, d), in the order of `Evaluation.references`.
        targets: (n_targets, d), in the order of `Evaluation.targets`.
        distance: how two of them are compared (`bench.metrics.functional.similarity`).
    """

    samples: NDArray[np.float32]
    references: NDArray[np.float32]
    targets: NDArray[np.float32]
    distance: Literal["cosine", "euclidean"] = "cosine"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything that a metric may read: tidy tables and feature matrices, in the order of the dataset's list.

    Attributes:
        samples: a row per sample: item, subject, index, status (`bench.status.SampleStatus`), the group columns, and
            where samples were asked for a face's parameters `asked` (`bench.conditions.asked`). Each item and index
            is there once.
        references: a row per item: item, subject, status, group columns.
        targets: a row per target: subject, image, status; may be empty.
        features: by extractor name, e.g. "arcface", "flame", "inception", "dinov2".
        pairs: by pair extractor name, e.g. "lpips": item, i, j, value (a row per pair that has one), and where masks
            were used foreground_i and foreground_j, the shares of the two crops that the parser's mask kept.
        to_reference: by pair extractor name: item, i, value, the distance of a sample to its own reference.
        roles: by extractor name, the role that its class declares ("recognition", "flame", "lpips").
        recognisers: names of the recognisers among `features` -> relation of the method to each
            (`conditioned`, `trained_against`, `same_training_data`, `none`, `unknown`).
        groups: names of the group columns.
        seed: of every resampling.
        population: by extractor name, (n, d) features of a reference set that distances between distributions compare
            with; where it is empty they compare with the references.
        statuses: by extractor name, (n_samples,) why a sample has no feature (`bench.status`); "ok" where it has one.
        texts: by the name of an extractor of images and texts, prompt_id -> (d,) embedding of the prompt.
        fmr_levels: the false match rates at which thresholds are set.

    A number that a network gives next to its feature has a name of its own among `features`, "<extractor>:<column>".
    """

    samples: pd.DataFrame
    references: pd.DataFrame
    targets: pd.DataFrame
    features: Mapping[str, Features]
    pairs: Mapping[str, pd.DataFrame]
    to_reference: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    recognisers: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    seed: int = 0
    population: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    statuses: Mapping[str, NDArray[np.object_]] = field(default_factory=dict)
    texts: Mapping[str, Mapping[str, NDArray[np.float32]]] = field(default_factory=dict)
    fmr_levels: tuple[float, ...] = (0.1, 0.01, 0.001)

    def of_role(self, role: str, among: Mapping[str, Any]) -> list[str]:
        """Return the names of a role's extractors that are among the keys of a mapping, in the evaluator's order."""
        return [name for name, own in self.roles.items() if own == role and name in among]


@dataclass(frozen=True)
class Score:
    """One number of the report.

    Attributes:
        number: its name.
        value: None where there is none; `note` then says why.
        low: lower end of the 95 % interval; None where there is none.
        high: upper end.
        n: samples behind it.
        n_failed: samples that failed.
        n_unavailable: samples of a control that has no image to show.
        n_items: items behind it; None where it is not about items.
        n_pairs: pairs behind it; None where it is not about pairs.
        drawn: it was computed on a seeded part of the subjects, because there were too many samples for all.
        note: what a reader must know; no code reads it.
    """

    number: Number
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    n_failed: int = 0
    n_unavailable: int = 0
    n_items: int | None = None
    n_pairs: int | None = None
    drawn: bool = False
    note: str = ""

    def row(self) -> dict[str, Any]:
        """Return the score as one row of a table: the parts of its name, then its fields."""
        fields = asdict(self)
        del fields["number"]
        return {**self.number._asdict(), **fields}


@dataclass(frozen=True, eq=False)
class Result:
    """A metric's answer: aggregates, and the units behind them for paired comparison and for looking.

    Attributes:
        scores: the aggregates.
        per_sample: columns named "<metric>[<variant>]", aligned with `Evaluation.samples`; NaN where none.
        per_item: long table with the columns item, subject, those of `NUMBER` and value: what `compare` pairs.
    """

    scores: tuple[Score, ...]
    per_sample: pd.DataFrame | None = None
    per_item: pd.DataFrame | None = None


class Contradiction(ValueError):
    """Rows of a bundle that cannot be those of one run; the text says which."""


@dataclass(frozen=True, eq=False)
class Tables:
    """What a bundle holds of one metric and variant: its numbers can be computed again from these rows.

    Attributes:
        evaluation: its samples, references and statuses; no features.
        metric: the metric's name.
        variant: the network by which it was read; "" for none.
        samples: the columns of numbers per sample of the whole run, "<metric>[<variant>]" -> (n_samples,) float64.
        items: the rows per item of this metric and variant.
        scores: the stated numbers of this metric and variant, each as the fields of `Score`.
        usable: by extractor name, (n_items,) whether the reference has a feature.
        targets: by extractor name, (n_items,) number of the subject's targets that have a feature.
    """

    evaluation: Evaluation
    metric: str
    variant: str
    samples: Mapping[str, NDArray[np.float64]]
    items: pd.DataFrame
    scores: Mapping[Number, Mapping[str, Any]]
    usable: Mapping[str, NDArray[np.bool_]]
    targets: Mapping[str, NDArray[np.int64]]

    @property
    def column(self) -> str:
        """Name of the column that holds the number per sample."""
        return f"{self.metric}[{self.variant}]"


@dataclass(frozen=True, eq=False)
class Recomputed:
    """What the rows of a bundle give.

    Attributes:
        scores: the numbers, computed again.
        fields: the fields of each score that the rows decide; the others are not compared.
        items: the rows per item, computed again; None where they are the source.
    """

    scores: Sequence[Score]
    fields: tuple[str, ...]
    items: pd.DataFrame | None = None


@dataclass(frozen=True)
class Metric:
    """A metric as registered: everything that is known about it, and its pure function.

    Attributes:
        name: its name in code, files and tables (`bench.names`).
        version: raised whenever numbers change.
        title: how a reader calls it.
        unit: of its values ("cosine"); "" for none.
        higher_is_better: None where neither direction is better.
        range: smallest and largest possible value.
        source: where the definition comes from.
        needs: roles of the extractors that it reads ("recognition", "flame", or a role that an extractor declares).
        statistics: its aggregates.
        compute: Evaluation -> Result. It never raises for odd data: a `Score` without value says why.
        pairing: how methods are compared on it.
        distribution: it compares all detected samples together with the references or the reference set; a method that
            has a face in too few of its samples is then not ranked.
        tolerance: across platforms.
        sample_range: smallest and largest possible number per sample, where it differs from `range`.
        recompute: its numbers from the rows of a bundle, or None where these do not decide them; it raises
            `Contradiction`. None where its numbers need features.
        columns: of `Evaluation.samples`, which not every run has: without them the run has no such number.
    """

    name: str
    version: int
    title: str
    unit: str
    higher_is_better: bool | None
    range: Range
    source: str
    needs: tuple[str, ...]
    statistics: tuple[Statistic, ...]
    compute: Callable[[Evaluation], Result]
    pairing: Pairing = Pairing.ITEMS
    distribution: bool = False
    tolerance: Tolerance = Tolerance()
    sample_range: Range | None = None
    recompute: Callable[[Tables], Recomputed | None] | None = None
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the name, which becomes that of files.

        Raises:
            ValueError: it cannot be one.
        """
        fit_for_a_path(self.name)

    def direction(self, name: str) -> bool | None:
        """Return whether more of a statistic is better; None where neither direction is."""
        own = next((one.higher_is_better for one in self.statistics if one.name == name), None)
        return self.higher_is_better if own is None else own

    def statistic(self, name: str) -> Statistic:
        """Return the declaration of a statistic.

        Raises:
            KeyError: the metric does not declare it.
        """
        return {one.name: one for one in self.statistics}[name]

    def range_of(self, name: str) -> Range:
        """Return the smallest and the largest possible value of a statistic."""
        own = self.statistic(name).range
        return self.range if own is None else own
