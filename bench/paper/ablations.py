"""Fig. 3 and 9: what a model learned from, and what reads its embedding; models that differ in one factor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from bench import resources
from bench.errors import UserError
from bench.experiment import Experiment
from bench.hashing import sha256_path
from bench.identity import RECORDED, Spec
from bench.mini import training
from bench.paper.runs import apart, finished
from bench.report.along import along, drawing
from bench.report.compare import compare
from bench.report.model import Cell, Column, Table, count
from bench.report.results import Finding, drawn, folder_of, read_finding, write_finding
from bench.spec import RunSpec

STORED = "reports/measured"
TRAINED = "How the models were trained"
TRAIN = "python -m bench.mini.train.ablation --work DIR --to DIR/models"
AGAIN = {
    "fig3": (
        TRAIN,
        "python -m bench run experiment=fig3 "
        "'fig3.models=[DIR/models/clip-100,DIR/models/clip-1000,DIR/models/clip-10000]'",
    ),
    "fig9": (
        f"{TRAIN} --people 10000",
        f"{TRAIN} --people 10000 --projection mlp",
        "python -m bench run experiment=fig9 'fig9.models=[DIR/models/clip-10000,DIR/models/mlp-10000]'",
    ),
}
"""Experiment -> the commands that measure its stored numbers again."""


class AblationPlan(Spec):
    """The models.

    Attributes:
        models: folders of models, each with its `training.json` (`python -m bench.mini.train.ablation`); none: the
            numbers that were measured on such models and are stored with the project.
        factor: in which they differ, as `compare --along` takes it.
        run: changes to every run (`bench.spec.changed`).
    """

    models: Annotated[tuple[Path, ...], RECORDED] = ()
    factor: Annotated[str, RECORDED]
    run: Annotated[dict[str, Any], RECORDED] = Field(default_factory=dict)


def changes_of(spec: RunSpec, plan: AblationPlan, experiment: str, model: Path) -> dict[str, Any]:
    """Return the changes of the run of one model; its card says what it was trained on."""
    known = training.read(model)
    card = spec.method.card.model_dump(mode="json")
    card |= {"training_people": known.people, "training_images": known.images}
    label = f"{spec.method.shown} {model.name}"
    method = {"model": model, "projection": known.projection, "label": label, "card": card}
    return {**apart(spec, experiment), **plan.run, "method": method}


def trainings(models: Sequence[Path]) -> Table:
    """Return a row per model: how it was trained."""
    columns = [Column("model", numeric=False), Column("people"), Column("images")]
    columns += [Column("reads the embedding", numeric=False), Column("steps"), Column("batch")]
    columns += [Column("minutes"), Column("minutes of a core"), Column("UNet", note="sha256", numeric=False)]
    rows = []
    for model in models:
        known = training.read(model)
        numbers = [count(known.people), count(known.images), Cell(known.projection), count(known.steps)]
        minutes = [Cell(value=seconds / 60, digits=1) for seconds in (known.seconds, known.cpu_seconds)]
        digits = Cell(sha256_path(model / "arc2face" / "diffusion_pytorch_model.safetensors")[:8])
        rows.append([Cell(model.name), *numbers, count(known.batch), *minutes, digits])
    return Table(TRAINED, columns, rows)


def _ours(experiment: str, title: str, spec: RunSpec, plan: AblationPlan) -> Finding:
    jobs = [finished(spec, changes_of(spec, plan, experiment, model)) for model in plan.models]
    comparison = compare([job.folder for job in jobs])
    tables = [along(comparison, plan.factor), trainings(plan.models)]
    return Finding(experiment, title, spec.dataset.label, spec.method.shown, spec.profile, tables)


def _stored(experiment: str, spec: RunSpec) -> Finding:
    """Return the finding that is stored with the project.

    Raises:
        UserError: there is none, or it is of another method, dataset or profile.
    """
    path = resources.folder(STORED) / f"{experiment}.json"
    if not path.exists():
        raise UserError(f"no numbers of {experiment} are stored; {experiment}.models=[FOLDER,...] names the models")
    found = read_finding(path)
    if (found.method, found.dataset, found.profile) != (spec.method.shown, spec.dataset.label, spec.profile):
        raise UserError(
            f"{experiment}.models=[FOLDER,...] names the models; the stored numbers are of {found.method} on "
            f"{found.dataset}, profile {found.profile}"
        )
    return replace(found, figures=[], again=list(AGAIN[experiment]))


def _run(experiment: str, title: str, spec: RunSpec, plan: AblationPlan) -> Path:
    finding = _ours(experiment, title, spec, plan) if plan.models else _stored(experiment, spec)
    folder = folder_of(spec.out, experiment, spec.dataset.label)
    finding.figures.extend(drawn([drawing(finding.tables[0])], folder))
    return write_finding(folder, finding)


def fig3(spec: RunSpec, plan: AblationPlan) -> Path:
    """Measure models that learned from more and more people, or read what was measured, and return the report."""
    return _run("fig3", "Size of the training set", spec, plan)


def fig9(spec: RunSpec, plan: AblationPlan) -> Path:
    """Measure models whose embeddings are read otherwise, or read what was measured, and return the report."""
    return _run("fig9", "Text encoder or MLP", spec, plan)


FIG3 = Experiment(AblationPlan, fig3)
FIG9 = Experiment(AblationPlan, fig9)
