"""What a metric is given and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Features:
    """One extractor's features of everything in an evaluation; a row that has none is NaN throughout.

    Attributes:
        samples: (n_samples, d) float32, in the order of `Evaluation.samples`.
        references: (n_items, d), in the order of `Evaluation.references`.
        targets: (n_targets, d), in the order of `Evaluation.targets`.
    """

    samples: NDArray[np.float32]
    references: NDArray[np.float32]
    targets: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything that a metric may read: tidy tables and feature matrices, in the order of the dataset's list.

    Attributes:
        samples: a row per sample: item, subject, index, status (`ok`, `generation_error`, `undecodable`,
            `no_face`, `unavailable`, `reference_failed`) and the list's group columns.
        references: a row per item: item, subject, status (`ok`, `undecodable`, `no_face`), group columns.
        targets: a row per target photo: subject, image, status; may be empty.
        features: by extractor name, e.g. "arcface", "flame", "inception", "dinov2".
        pairs: by pair extractor name, e.g. "lpips": item, i, j, value (a row per pair that has one); foreground_i and
            foreground_j, the shares of the two crops that the parser's mask kept, may stand beside them.
        recognisers: names of the recognisers among `features` -> relation of the method to each
            (`conditioned`, `trained_against`, `same_training_data`, `none`, `unknown`).
        groups: names of the group columns.
        seed: of every resampling.
        population: by extractor name, (n, d) features of a reference set that distances between distributions compare
            with; where it is empty they compare with the references.
    """

    samples: pd.DataFrame
    references: pd.DataFrame
    targets: pd.DataFrame
    features: Mapping[str, Features]
    pairs: Mapping[str, pd.DataFrame]
    recognisers: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    seed: int = 0
    population: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """One number of the report. `value` is None where there is none, and `note` then says why.

    `variant` tells apart the same metric read from several networks (a recogniser's name, "alex");
    `statistic` tells apart several aggregates ("mean_detected", "mean_failures_as_zero", "q05").
    """

    metric: str
    variant: str
    statistic: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    n_failed: int = 0
    n_unavailable: int = 0
    n_items: int | None = None
    n_pairs: int | None = None
    note: str = ""


@dataclass(frozen=True, eq=False)
class Result:
    """A metric's answer: aggregates, and the units behind them for paired comparison and for looking.

    Attributes:
        scores: the aggregates.
        per_sample: columns named "<metric>[<variant>]", aligned with `Evaluation.samples`; NaN where none.
        per_item: long table item, subject, metric, variant, statistic, value: what `compare` pairs.
    """

    scores: tuple[Score, ...]
    per_sample: pd.DataFrame | None = None
    per_item: pd.DataFrame | None = None


@dataclass(frozen=True)
class Metric:
    """A metric as registered: its declaration and its pure function.

    Attributes:
        name: "id_similarity". version: raised whenever numbers change. unit: "cosine", "".
        higher_is_better: None where neither direction is better.
        range: smallest and largest possible value (None: unbounded).
        reference: where the definition comes from.
        needs: extractor roles it reads: any of "recognition", "lpips", "flame", "inception", "dinov2", "clip".
        compute: Evaluation -> Result. Never raises for odd data: a `Score` without value says why.
    """

    name: str
    version: int
    unit: str
    higher_is_better: bool | None
    range: tuple[float | None, float | None]
    reference: str
    needs: tuple[str, ...]
    compute: Callable[[Evaluation], Result]
