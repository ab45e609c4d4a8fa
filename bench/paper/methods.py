"""Table 1, Fig. 5 and the user study: methods next to each other on one dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from bench.errors import UserError
from bench.experiment import Experiment
from bench.identity import RECORDED, Spec
from bench.metrics.protocol import Number
from bench.paper.runs import finished
from bench.report import overview
from bench.report.cells import MARKED, column_cells, counts
from bench.report.compare import Comparison, compare
from bench.report.figures import SIMILARITIES, Drawing, similarity
from bench.report.frames import SIMILARITY, load_run
from bench.report.model import Cell, Column, Table
from bench.report.numbers import relation_note
from bench.report.paper import paper_table
from bench.report.results import WORK, Finding, drawn, folder_of, write_finding
from bench.report.tables import simple
from bench.spec import RunSpec
from bench.studies.user_study.make import STUDY, make
from bench.studies.user_study.records import Plan, Rules, Texts

RESULT = "result"
"""Folder of a study's result, as `study read` names it."""


class MethodsPlan(Spec):
    """The runs next to that of the configuration itself.

    Attributes:
        runs: profile -> name -> changes to the run (`bench.spec.changed`): another method.
    """

    runs: Annotated[dict[str, dict[str, dict[str, Any]]], RECORDED]


class StudyPlan(MethodsPlan):
    """The runs and the study.

    Attributes:
        items: photos.
        raters: people who are asked.
        contact: whom raters may ask.
        include_people: why people of a closed dataset may be shown, in a sentence.
    """

    items: Annotated[int, Field(ge=1), RECORDED] = 60
    raters: Annotated[int, Field(ge=1), RECORDED] = 30
    contact: Annotated[str, RECORDED] = ""
    include_people: Annotated[str, RECORDED] = ""


def folders(spec: RunSpec, plan: MethodsPlan) -> list[Path]:
    """Return the folders of all runs, made or read, that of the configuration first.

    Raises:
        UserError: the experiment does not say what is compared under this profile.
    """
    if spec.profile not in plan.runs:
        raise UserError(f"this experiment knows the profiles {', '.join(plan.runs)}, not {spec.profile or 'none'}")
    return [finished(spec, changes).folder for changes in ({}, *plan.runs[spec.profile].values())]


def _finding(spec: RunSpec, experiment: str, title: str, comparison: Comparison) -> Finding:
    methods = ", ".join(comparison.runs)
    return Finding(experiment, title, spec.dataset.label, methods, spec.profile, [], notes=comparison.warnings)


def table1(spec: RunSpec, plan: MethodsPlan) -> Path:
    """Run the methods, or go on where they were stopped, and return the folder of Table 1."""
    comparison = compare(folders(spec, plan))
    finding = _finding(spec, "table1", "Methods compared", comparison)
    finding.tables.extend([paper_table(comparison), overview.of_comparison(comparison).noted])
    return write_finding(folder_of(spec.out, "table1", spec.dataset.label), finding)


def similarities(comparison: Comparison) -> Table:
    """Return a row per method: its mean ID similarity by each recogniser."""
    names = next(iter(comparison.runs.values())).recognisers
    numbers = [Number(SIMILARITY, name, "mean_detected") for name in names]
    columns = [Column("method", numeric=False)]
    columns += [
        Column(name, "ID similarity", relation_note(comparison.scores, name, comparison.headline), better="higher")
        for name in names
    ]
    columns += [Column("n", "samples"), Column("failed", "samples")]
    cells = [column_cells(comparison, number) for number in numbers]
    rows = []
    for name, run in comparison.runs.items():
        label, tried, failed, _ = counts(name, run)
        rows.append([label, *(column[name] for column in cells), tried, failed])
    return Table("ID similarity to the input", columns, rows, [MARKED])


def fig5(spec: RunSpec, plan: MethodsPlan) -> Path:
    """Run the methods, or go on where they were stopped, and return the folder of Fig. 5."""
    comparison = compare(folders(spec, plan))
    folder = folder_of(spec.out, "fig5", spec.dataset.label)
    finding = _finding(spec, "fig5", "Distributions of ID similarity", comparison)
    finding.tables.append(similarities(comparison))
    names = next(iter(comparison.runs.values())).recognisers
    charts = [Drawing(SIMILARITIES, (name,), name, similarity(comparison.runs, name)) for name in names]
    finding.figures.extend(drawn(charts, folder))
    return write_finding(folder, finding)


def user_study(spec: RunSpec, plan: StudyPlan) -> Path:
    """Write the study of the methods where it is not there, and return the folder of what is known of it."""
    places = folders(spec, plan)
    folder = folder_of(spec.out, "user_study", spec.dataset.label)
    study = spec.out / WORK / "user_study" / spec.dataset.label
    if not (study / STUDY).exists():
        size = Plan(items=plan.items, raters=plan.raters)
        runs = [load_run(place) for place in places]
        make(runs, size, Texts(contact=plan.contact), Rules(), study, plan.include_people)
    finding = _finding(spec, "user_study", "User study", compare(places))
    finding.tables.append(study_table(study, plan))
    return write_finding(folder, finding)


def study_table(study: Path, plan: StudyPlan) -> Table:
    """Return the shares of votes; before there are any, the commands that get them."""
    shares = study / RESULT / "shares.csv"
    if shares.exists():
        frame = pd.read_csv(shares, dtype=str, keep_default_na=False)
        return simple(list(frame.columns), frame.to_numpy().tolist(), "Shares of votes")
    rows = [
        [Cell("photos"), Cell(str(plan.items))],
        [Cell("raters"), Cell(str(plan.raters))],
        [Cell("page for raters"), Cell(str(study / "page" / "index.html"))],
        [Cell("when there are votes"), Cell(f"python -m bench study read votes/*.csv study={study}")],
    ]
    columns = [Column("the study", numeric=False), Column("", numeric=False)]
    note = "Nobody has voted yet. Afterwards the same experiment shows the shares."
    return Table("A study that waits for its raters", columns, rows, [note])


TABLE1 = Experiment(MethodsPlan, table1)
FIG5 = Experiment(MethodsPlan, fig5)
USER_STUDY = Experiment(StudyPlan, user_study)
