"""A run as data frames: what every report, figure and comparison starts from."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench import registry
from bench.errors import UserError
from bench.metrics.protocol import NUMBER, Number
from bench.store import read_json, read_record, read_table

MUST_AGREE = ("dataset", "protocol", "detector", "extractors", "metrics")
"""Fields of `Run.comparable` without which runs are not compared."""
SIMILARITY = "id_similarity"
"""The metric by which single samples and items are ordered, drawn and searched."""


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """A scored run.

    Attributes:
        folder: its folder.
        record: its `run.json`.
        comparable: its `scores/scores.json`.
        scores: a row per number: the columns of `bench.metrics.protocol.NUMBER`, value, low, high, n, n_failed,
            n_unavailable, n_items, n_pairs, drawn, note, version, unit, higher_is_better, relation.
        samples: a row per sample: item, subject, index, seed, path, sha256, status, reason, box, keypoints, … and a
            column `<metric>[<variant>]` for every per-sample number.
        items: long table item, subject, the columns of `NUMBER`, value.
        photos: the dataset's photos: item, subject, role, image, path, sha256, ….
    """

    folder: Path
    record: dict[str, Any]
    comparable: dict[str, Any]
    scores: pd.DataFrame
    samples: pd.DataFrame
    items: pd.DataFrame
    photos: pd.DataFrame

    def __repr__(self) -> str:
        """Return what was run, and how much of it there is."""
        shape = f"{self.samples['item'].nunique()} items, {len(self.samples)} samples, {len(self.scores)} numbers"
        return f"<Run {self.label} on {self.record.get('dataset')}: {shape}, {self.folder}>"

    @property
    def method(self) -> str:
        """The method's name."""
        return str(self.record["method"])

    @property
    def label(self) -> str:
        """What tells the run apart from others of its method."""
        return str(self.record.get("label") or self.method)

    @property
    def is_control(self) -> bool:
        """Whether its method shows photos and generates nothing: it calibrates a table and is never ranked in it."""
        recorded = self.record.get("generates")
        return not (_generates(self.method) if recorded is None else recorded)

    @property
    def warnings(self) -> list[str]:
        """What the run itself warned of when it was begun."""
        return [str(warning) for warning in self.record.get("warnings", [])]

    @property
    def recognisers(self) -> list[str]:
        """Recognisers by which the similarity of its samples was scored, in the evaluator's order."""
        names = dict.fromkeys(self.scores.loc[self.scores["metric"] == SIMILARITY, "variant"])
        return [name for name in names if sample_column(SIMILARITY, name) in self.samples]


@lru_cache(maxsize=256)
def _generates(method: str) -> bool:
    """Return what a method's class declares; a method that is not installed here counts as a generator.

    >>> _generates("copy"), _generates("arc2face"), _generates("of_a_package_that_is_gone")
    (False, True, True)
    """
    return bool(getattr(registry.find("methods", method), "generates", True))


def of_number(frame: pd.DataFrame, number: Number) -> pd.DataFrame:
    """Return the rows of one number in a table of scores, items or differences."""
    chosen = np.ones(len(frame), dtype=bool)
    for column, text in zip(NUMBER, number, strict=True):
        # An array is compared in half of a series' time; a report asks for hundreds of numbers.
        chosen &= np.asarray(frame[column].array == text, dtype=bool)
    rows = np.flatnonzero(chosen)
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1:
        # A slice copies nothing, and the rows of a number usually follow each other.
        return frame.iloc[rows[0] : rows[-1] + 1]
    return frame.iloc[rows]


def sample_column(metric: str, variant: str) -> str:
    """Return the name of the column of `Run.samples` that holds a metric's number of each sample.

    >>> sample_column("id_similarity", "arcface")
    'id_similarity[arcface]'
    """
    return f"{metric}[{variant}]"


def similarity_of(run: Run, recogniser: str) -> pd.Series:
    """Return the similarity of each sample of a run to its reference; NaN where it has none."""
    column: pd.Series = run.samples[sample_column(SIMILARITY, recogniser)]
    return column


def item_means(run: Run, recogniser: str) -> pd.Series:
    """Return the mean similarity of each item of a run, in the list's order; NaN where no sample has one."""
    return similarity_of(run, recogniser).groupby(run.samples["item"], sort=False).mean()


def common_items(runs: Sequence[Run]) -> list[str]:
    """Return the items that all runs have, in the order of the first run's."""
    common = set.intersection(*(set(run.samples["item"]) for run in runs))
    return [item for item in dict.fromkeys(runs[0].samples["item"]) if item in common]


def headline(runs: Sequence[Run]) -> str | None:
    """Return the first recogniser of the evaluator whose relation to every generator of the runs is "none".

    Controls generate nothing, so that they depend on no recogniser. None where there is no such recogniser.
    """
    generators = [run for run in runs if not run.is_control]
    for recogniser in runs[0].recognisers:
        relations = [run.scores.loc[run.scores["variant"] == recogniser, "relation"] for run in generators]
        if all((relation == "none").all() for relation in relations):
            return recogniser
    return None


def load_run(folder: Path | str) -> Run:
    """Read a scored run.

    Raises:
        UserError: there is no run, it is not scored yet, or an older version scored it.
    """
    folder = Path(folder)
    if not (folder / "run.json").exists():
        raise UserError(f"{folder} is not the folder of a run (no run.json); `python -m bench ls runs` lists them")
    record = read_record(folder / "run.json", {"method": str, "dataset": str})
    if not (folder / "scores" / "scores.json").exists():
        raise UserError(f"{folder} is not scored yet; run its command again")
    scores = read_table(folder / "scores" / "scores.parquet")
    if not {*NUMBER} <= {*scores.columns}:
        raise UserError(f"{folder} was scored by an older version; score it again: {score_command(record)}")
    return Run(
        folder,
        record,
        read_json(folder / "scores" / "scores.json"),
        scores,
        read_table(folder / "scores" / "samples.parquet"),
        read_table(folder / "scores" / "items.parquet"),
        read_table(folder / "photos.parquet"),
    )


def score_command(record: Mapping[str, Any]) -> str:
    """Return the command that scores a run again, from the command in its `run.json`.

    >>> score_command({"command": ["python -m bench run", "method=copy", "hydra.sweep.dir=/tmp/x/sweep"]})
    'python -m bench score method=copy'
    """
    given = [str(word) for word in record.get("command", [])[1:]]
    return shlex.join(["python", "-m", "bench", "score", *(w for w in given if not w.startswith("hydra.sweep.dir="))])
