"""Numbers that papers published: shown next to measured ones, never ranked with them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from bench import resources
from bench.metrics import declared
from bench.metrics.protocol import Number
from bench.report.model import Cell, Column, Mark, Table
from bench.report.numbers import Better

METRICS = {
    "LPIPS": Number("lpips_diversity", statistic="mean_items"),
    "Exp.": Number("expression_diversity", statistic="mean_items"),
    "Pose": Number("pose_diversity", statistic="mean_items"),
    "FID": Number("fid", statistic="distance"),
    "ID similarity": Number("id_similarity", statistic="mean_detected"),
}
"""The papers' name of a metric -> our number, in the order of the paper.

The paper averages LPIPS, Exp. and Pose over all pairs; where no sample failed, the mean over items is the same number.
"""
OTHERS: dict[str, Better] = {
    "training similarity": "",
    "verification accuracy of a recogniser trained on it": "higher",
}
"""The papers' name of what we don't measure -> which direction is better."""
DATASETS = {"Synth-500": "synth500", "AgeDB": "agedb"}
"""The papers' name of a dataset -> the name of our source of its photos."""
COLUMNS = ["source", "method", "setting", "dataset", "metric", "value", "note", "secondary"]
TITLES = {
    "arc2face_table1": "Published: Arc2Face (ECCV 2024), Table 1 and section 4.4",
    "arc2face_table2": "Published: Arc2Face (ECCV 2024), Table 2 (accuracy of recognisers trained on synthetic faces)",
}
STAR = "*: read where others repeat it, not in the paper itself."


def published(name: str = "arc2face_table1") -> pd.DataFrame:
    """Return a table of `reports/published/`, a row per number, in the order of the paper.

    Returns:
        Columns `source` (paper and table), `method`, `setting` (what else the row of the paper says), `dataset`,
        `metric` (both in the paper's words), `value` (float), `text` (its digits as printed), `note`, `secondary`
        (bool: the digits were read where others repeat them), and `ours_dataset`, `ours_metric`, `ours_statistic` (our
        names; "" where we have no such thing).
    """
    path = resources.folder("reports/published") / f"{name}.csv"
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)[COLUMNS]
    ours = [METRICS.get(metric, Number("")) for metric in frame["metric"]]
    return frame.assign(
        text=frame["value"],
        value=frame["value"].astype(float),
        secondary=frame["secondary"] == "yes",
        ours_dataset=[DATASETS.get(dataset, "") for dataset in frame["dataset"]],
        ours_metric=[number.metric for number in ours],
        ours_statistic=[number.statistic for number in ours],
    )


def published_table(name: str = "arc2face_table1", only: Sequence[str] = ()) -> Table:
    """Return a published table as its paper lays it out: methods as rows, metrics over datasets as columns.

    Args:
        name: of the table.
        only: the papers' names of the metrics that are shown; empty for all.
    """
    frame = published(name)
    frame = frame[frame["metric"].isin(only)] if only else frame
    metrics = list(dict.fromkeys(frame["metric"]))
    found = dict.fromkeys(zip(frame["metric"], frame["dataset"], strict=True))
    heads = sorted(found, key=lambda head: metrics.index(head[0]))
    columns = [Column("method", numeric=False)]
    columns += [
        Column(dataset, group=metric[0].upper() + metric[1:], better=better(metric)) for metric, dataset in heads
    ]
    return Table(TITLES[name], columns, published_rows(frame, heads), [STAR] if frame["secondary"].any() else [])


def better(metric: str) -> Better:
    """Return which direction of a published metric is better: ours says it where the metric is ours.

    >>> better("FID"), better("LPIPS"), better("training similarity")
    ('lower', 'higher', '')
    """
    if metric not in METRICS:
        return OTHERS[metric]
    ours = declared.metric(METRICS[metric].metric)
    if ours is None or ours.higher_is_better is None:
        return ""
    return "higher" if ours.higher_is_better else "lower"


def published_rows(frame: pd.DataFrame, heads: Sequence[tuple[str, str] | None]) -> list[list[Cell]]:
    """Return a row per published method: its name, then its numbers under (metric, dataset) heads.

    No cell has a `value`, so that a sorted table never ranks it among measured numbers. The note of the name is the
    row's source; a number from elsewhere has its own. What was read where others repeat it is marked so.

    Args:
        frame: rows of `published`.
        heads: metric and dataset of each column, both in the paper's words; None for a column without numbers.
    """
    rows = []
    for (method, setting), own in frame.groupby(["method", "setting"], sort=False):
        name = f"{method}, {setting}" if setting else str(method)
        records = own.to_dict("records")
        source, secondary = _source(records[0]), records[0]["secondary"]
        # Of two numbers under one head the first counts.
        found = {(record["metric"], record["dataset"]): record for record in reversed(records)}
        cells = [_cell(found.get(head) if head else None, source) for head in heads]
        rows.append([Cell(name, mark=_mark(secondary), note=source), *cells])
    return rows


def _mark(secondary: Any) -> Mark:
    return Mark.SECOND_HAND if secondary else Mark.NONE


def _cell(record: Mapping[Hashable, Any] | None, source: str) -> Cell:
    if record is None:
        return Cell("")
    elsewhere = _source(record) != source
    mark = _mark(elsewhere and record["secondary"])
    return Cell(record["text"], mark=mark, note=_source(record) if elsewhere else "")


def _source(record: Mapping[Hashable, Any]) -> str:
    return f"{record['source']}: {record['note']}" if record["note"] else str(record["source"])
