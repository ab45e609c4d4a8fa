"""A run as data frames: what every report, figure and comparison starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import UserError
from bench.store import read_json, read_table

CONTROLS = ("copy", "shuffle", "real")
"""Methods that show photos and generate nothing; they calibrate a table and are never ranked in it."""
Number = tuple[str, str, str]
"""Metric, variant and statistic."""
MUST_AGREE = ("dataset", "protocol", "detector", "extractors", "metrics")
"""Fields of `Run.comparable` without which runs are not compared."""


@dataclass(frozen=True, eq=False)
class Run:
    """A scored run.

    Attributes:
        folder: where it lies. record: its `run.json`. comparable: its `scores/scores.json`.
        scores: a row per number: metric, variant, statistic, value, low, high, n, n_failed, n_unavailable, n_items,
            n_pairs, note, version, unit, higher_is_better, relation.
        samples: a row per sample: item, subject, index, seed, path, sha256, status, reason, box, keypoints, … and a
            column `<metric>[<variant>]` for every per-sample number.
        items: long table item, subject, metric, variant, statistic, value.
        photos: the dataset's photos: item, subject, role, image, path, sha256, ….
    """

    folder: Path
    record: dict[str, Any]
    comparable: dict[str, Any]
    scores: pd.DataFrame
    samples: pd.DataFrame
    items: pd.DataFrame
    photos: pd.DataFrame

    @property
    def method(self) -> str:
        """The method's name."""
        return str(self.record["method"])

    @property
    def is_control(self) -> bool:
        """Whether its method is a control."""
        return self.method in CONTROLS

    @property
    def warnings(self) -> list[str]:
        """What the run itself warned of when it was begun."""
        return [str(warning) for warning in self.record.get("warnings", [])]

    @property
    def recognisers(self) -> list[str]:
        """Recognisers by which its similarity was scored."""
        rows = self.scores[self.scores["metric"] == "id_similarity"]
        return list(dict.fromkeys(rows["variant"]))


def of_number(frame: pd.DataFrame, number: Number) -> pd.DataFrame:
    """The rows of one number in a table of scores, items or differences."""
    metric, variant, statistic = number
    return frame[(frame["metric"] == metric) & (frame["variant"] == variant) & (frame["statistic"] == statistic)]


def common_items(runs: Sequence[Run]) -> list[str]:
    """The items that all runs have, in the order of the first one's."""
    common = set.intersection(*(set(run.samples["item"]) for run in runs))
    return [item for item in dict.fromkeys(runs[0].samples["item"]) if item in common]


def load_run(folder: Path | str) -> Run:
    """Reads a scored run.

    Raises:
        UserError: there is no run, or it is not scored yet.
    """
    folder = Path(folder)
    if not (folder / "run.json").exists():
        raise UserError(f"{folder} is no run (it has no run.json); `python -m bench ls runs` lists them")
    if not (folder / "scores" / "scores.json").exists():
        raise UserError(f"{folder} is not scored yet; run its command again")
    return Run(
        folder,
        read_json(folder / "run.json"),
        read_json(folder / "scores" / "scores.json"),
        read_table(folder / "scores" / "scores.parquet"),
        read_table(folder / "scores" / "samples.parquet"),
        read_table(folder / "scores" / "items.parquet"),
        read_table(folder / "photos.parquet"),
    )
