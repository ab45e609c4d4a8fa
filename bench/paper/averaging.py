"""Supplement, Fig. 14: faces from the mean embedding of several photos of a person."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from bench.experiment import Experiment
from bench.identity import IDENTITY, RECORDED, Spec
from bench.metrics.protocol import Number
from bench.paper.runs import apart, curves, finished
from bench.report.along import difference, difference_cells
from bench.report.compare import Comparison, compare
from bench.report.figures import Drawing
from bench.report.frames import of_number
from bench.report.model import Cell, Column, Kind, Table, count, measured
from bench.report.results import Finding, drawn, folder_of, write_finding
from bench.spec import RunSpec

CURVE = Kind(
    "averaging",
    "Similarity to unseen photos",
    "The mean similarity to photos of the person that were not averaged, over the number of photos that were.",
)
METRIC = "target_similarity"
Count = Annotated[int, Field(ge=1)]


class AveragingPlan(Spec):
    """The runs.

    Attributes:
        counts: numbers of references that are averaged, 1 among them.
        how: "raw" or "unit" (`bench.conditions.averaging`).
        recogniser: whose embeddings are averaged.
        run: further changes to every run (`bench.spec.changed`).
    """

    counts: Annotated[tuple[Count, ...], Field(min_length=2), RECORDED] = (1, 2, 3, 4)
    how: Annotated[str, IDENTITY] = "raw"
    recogniser: Annotated[str, IDENTITY] = "arcface"
    run: Annotated[dict[str, Any], RECORDED] = Field(default_factory=dict)


def changes_of(spec: RunSpec, plan: AveragingPlan, averaged: int) -> dict[str, Any]:
    """Return the changes of one run; all have the same references, so that all have the same unseen photos."""
    conditions = {"name": "averaging", "recogniser": plan.recogniser, "count": averaged, "how": plan.how}
    dataset = {"references_per_item": max(plan.counts)}
    own = {"conditions": conditions, "dataset": dataset, "method": {"label": _label(spec, averaged)}}
    return {**apart(spec, "fig14"), **plan.run, **own}


def _label(spec: RunSpec, averaged: int) -> str:
    return f"{spec.method.shown} mean of {averaged}"


def table_of(comparison: Comparison, labels: dict[int, str]) -> Table:
    """Return a row per number of averaged photos and recogniser.

    Args:
        comparison: of the runs.
        labels: number of averaged photos -> label of its run.
    """
    columns = [Column("photos averaged"), Column("recogniser", numeric=False)]
    columns += [Column("similarity to unseen photos", better="higher"), Column("difference to 1 photo")]
    columns += [Column("p (Holm)"), Column("n", "samples"), Column("failed", "samples")]
    rows = []
    for recogniser in dict.fromkeys(comparison.scores.loc[comparison.scores["metric"] == METRIC, "variant"]):
        number = Number(METRIC, str(recogniser), "mean_detected")
        rows_of = of_number(comparison.scores, number).to_dict("records")
        scores = {str(row["run"]): row for row in rows_of}
        for averaged, label in labels.items():
            score = scores[label]
            apart_ = difference(comparison, number, label, labels[1]) if averaged > 1 else None
            cells = [measured(score), *difference_cells(apart_)]
            counts = [count(score["n"]), count(score["n_failed"])]
            rows.append([count(averaged), Cell(str(recogniser)), *cells, *counts])
    notes = [
        "The photos that the similarity is measured against were never averaged, and are the same in every row.",
        "Differences are paired by item, with 95 % intervals clustered by subject.",
    ]
    return Table("Averaging embeddings of one person", columns, rows, notes)


def drawing(table: Table) -> Drawing:
    """Return the curves, one per recogniser."""
    rows = [(row[0].value, row[1].text or "", row[2].value) for row in table.rows]
    frame = pd.DataFrame(rows, columns=["averaged", "recogniser", "value"])
    lines = [
        (str(name), part["averaged"], part["value"], "-") for name, part in frame.groupby("recogniser", sort=False)
    ]
    return Drawing(CURVE, (), "", curves(lines, "photos averaged", "cosine similarity to unseen photos"))


def run(spec: RunSpec, plan: AveragingPlan) -> Path:
    """Run the experiment, or go on where it was stopped, and return the folder of its report."""
    jobs = {averaged: finished(spec, changes_of(spec, plan, averaged)) for averaged in sorted({1, *plan.counts})}
    comparison = compare([job.folder for job in jobs.values()])
    table = table_of(comparison, {averaged: job.spec.method.shown for averaged, job in jobs.items()})
    folder = folder_of(spec.out, "fig14", spec.dataset.label)
    figures = drawn([drawing(table)], folder)
    title = "Averaging several photos"
    finding = Finding("fig14", title, spec.dataset.label, spec.method.shown, spec.profile, [table], figures)
    return write_finding(folder, finding)


EXPERIMENT = Experiment(AveragingPlan, run)
