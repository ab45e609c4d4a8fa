"""Fig. 7: do faces take on the expression and the pose that were asked for?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from bench.errors import UserError
from bench.experiment import Experiment
from bench.identity import RECORDED, Spec
from bench.images import write_png
from bench.metrics import declared
from bench.metrics.protocol import Number
from bench.metrics.shared.control_scores import named
from bench.mini.dataset import COMMENT, SEED, SOFTWARE, before_a_wall
from bench.mini.world import (
    EXPRESSION,
    EYELIDS,
    FLAME_EXPRESSION,
    JAW,
    JAW_RADIANS,
    Scene,
    render,
    rotation,
    sample_identities,
    sample_scenes,
)
from bench.paper.runs import apart, finished
from bench.report.figures import Drawing
from bench.report.frames import SIMILARITY, Run, load_run, of_number
from bench.report.grids import Tile, mosaic, private_note, sample_image
from bench.report.model import Cell, Column, Kind, Table, count, measured
from bench.report.results import WORK, Finding, drawn, folder_of, write_finding
from bench.spec import RunSpec
from bench.store import write_atomic

IMAGES = Kind("images", "Controlled faces", "A person per row; each column was asked for another face.", True)
SHOWN = 4
"""People who are shown as images."""
METRICS = ("expression_control", "pose_control")
CONTROLLED, UNCONTROLLED = "controlled", "uncontrolled"
SIDE = 128
"""Of a rendered image, in pixels."""
RENDERED = (
    "No controlled generator has weights in the embedded world. The renderer draws faces as they were asked for, and "
    "otherwise, so that the measure itself is seen at work: its error is that of the regressor."
)
ALONE = (
    "Only the regressor that made the condition reads the samples, and it judges its own work. Give the evaluator a "
    "second FLAME extractor (docs/howto/control.md)."
)
LEVELS = ("", "shuffled", "skill", "skill_failures_as_chance")
"""Endings of the statistics that are shown, as `bench.metrics.shared.control_scores` names them."""
Changes = dict[str, Any]


class ControlPlan(Spec):
    """The two runs.

    Attributes:
        controlled: changes to the run (`bench.spec.changed`) of a generator that is controlled, with a table of
            conditions that says what was asked; empty: faces that the renderer of the embedded world draws as asked.
        uncontrolled: the same without the control; empty: the renderer draws other faces than were asked for.
        made_by: the evaluator's FLAME extractor that made the conditions, whose reading is circular; "" for none.
        images: of each person, where they are rendered.
        seed: of the rendered faces.
    """

    controlled: Annotated[Changes, RECORDED] = Field(default_factory=dict)
    uncontrolled: Annotated[Changes, RECORDED] = Field(default_factory=dict)
    made_by: Annotated[str, RECORDED] = ""
    images: Annotated[int, Field(ge=1), RECORDED] = 4
    seed: Annotated[int, Field(ge=0), RECORDED] = 7


def asked_of(scene: Scene, row: int) -> dict[str, list[float]]:
    """Return what a rendered face shows, as the columns of a table of conditions."""
    from scipy.spatial.transform import Rotation

    expression = np.zeros(50)
    expression[: len(FLAME_EXPRESSION)] = [scene.expression[row, EXPRESSION.index(name)] for name in FLAME_EXPRESSION]
    jaw = [float(scene.expression[row, EXPRESSION.index(JAW[0])]) * JAW_RADIANS, 0.0, 0.0]
    # SMIRK's left eyelid is the viewer's right one.
    eyelids = [float(scene.expression[row, EXPRESSION.index(name)]) for name in EYELIDS[::-1]]
    head = Rotation.from_matrix(rotation(scene.pose[row][None])[0]).as_rotvec()
    columns = {"asked_expression": expression.tolist(), "asked_head": head.tolist()}
    return {**columns, "asked_jaw": jaw, "asked_eyelids": eyelids}


def rendered(spec: RunSpec, plan: ControlPlan) -> dict[str, Changes]:
    """Return the changes of two runs on faces that the renderer draws: as they were asked for, and otherwise.

    Raises:
        UserError: the dataset is not the embedded one.
    """
    people = getattr(spec.dataset.options, "subjects", None)
    if spec.dataset.name != "mini" or people is None:
        raise UserError(
            "fig7.controlled={...} names the run of a controlled generator; faces are rendered for dataset=mini alone"
        )
    base = spec.out / WORK / "fig7" / f"rendered-{plan.seed}-{people}x{plan.images}"
    table = base / "asked.jsonl"
    if not table.exists():
        _render(base, people, plan)
    conditions = {"name": "table", "file": table}
    return {
        name: {"method": {"name": "folder", "root": base / name, "label": f"rendered {name}"}, "conditions": conditions}
        for name in (CONTROLLED, UNCONTROLLED)
    }


def _render(base: Path, people: int, plan: ControlPlan) -> None:
    """Writes the images, and last the table: where it is, they are whole."""
    lines = []
    for person, identity in enumerate(sample_identities(SEED, people, "eval")):
        for offset, name in enumerate((CONTROLLED, UNCONTROLLED)):
            seed = (plan.seed * 2 + offset) * 1_000_003 + person
            scene = sample_scenes(np.repeat(identity[None], plan.images, 0), seed, frontal=0.3)
            # Alignment takes roll away, so nobody is asked for it.
            scene = replace(scene, pose=scene.pose * np.array([1, 1, 0], scene.pose.dtype))
            images = render(before_a_wall(scene), SIDE).images
            for index, image in enumerate(images):
                path = base / name / f"s{person:03d}" / f"{index}.png"
                write_png(image, path, {"Software": SOFTWARE, "Comment": COMMENT})
                if name == CONTROLLED:
                    lines.append({"item": f"s{person:03d}", "index": index, **asked_of(scene, index)})
    write_atomic(base / "asked.jsonl", "\n".join(map(json.dumps, lines)).encode())


def table_of(runs: dict[str, Run], made_by: str) -> Table:
    """Return a row per run, FLAME extractor and error; the extractor that made the conditions is marked.

    Args:
        runs: by name.
        made_by: see `ControlPlan`.
    """
    columns = [Column("run", numeric=False), Column("read by", numeric=False), Column("error", numeric=False)]
    columns += [Column("error", better="lower"), Column("at chance"), Column("skill", better="higher")]
    columns += [Column("skill, failures at chance", better="higher")]
    columns += [Column("n", "samples"), Column("failed", "samples")]
    rows = []
    for name, run in runs.items():
        own = run.scores[run.scores["metric"].isin(METRICS) & (run.scores["group"] == "")]
        for metric, variant in own[["metric", "variant"]].drop_duplicates().itertuples(index=False):
            part = own[(own["metric"] == metric) & (own["variant"] == variant)]
            scores = {str(row["statistic"]): row for row in part.to_dict("records")}
            for error in [key for key in scores if f"{key}_skill" in scores]:
                levels = [measured(scores[named(error, level)]) for level in LEVELS]
                words = declared.statistic(Number(metric, variant, error)).words
                counts = [count(scores[error]["n"]), count(scores[error]["n_failed"])]
                rows.append([Cell(name), _reader(variant, made_by), Cell(words), *levels, *counts])
    notes = [
        "At chance: the same samples against what was asked of others.",
        "Skill: 1 - error / chance; 1 is perfect, 0 is chance.",
        "The error includes that of the regressor.",
    ]
    if made_by and {row[1].text for row in rows} == {_reader(made_by, made_by).text}:
        notes.append(ALONE)
    return Table("Expression and pose that were asked for", columns, rows, notes)


def _reader(extractor: str, made_by: str) -> Cell:
    return Cell(f"{extractor} (made the condition)" if extractor == made_by else extractor)


def check_reader(spec: RunSpec, made_by: str) -> None:
    """Check the name of the extractor that made the conditions.

    Raises:
        UserError: the evaluator has no such extractor.
    """
    if made_by and made_by not in spec.evaluator.extractors:
        known = ", ".join(spec.evaluator.extractors)
        raise UserError(f"fig7.made_by={made_by}: evaluator {spec.evaluator.name} has the extractors {known}")


def identity_table(runs: dict[str, Run]) -> Table:
    """Return the ID similarity of the same samples, a row per run and recogniser."""
    columns = [Column("run", numeric=False), Column("recogniser", numeric=False)]
    columns += [Column("ID similarity", better="higher"), Column("n", "samples"), Column("failed", "samples")]
    rows = []
    for name, run in runs.items():
        for recogniser in run.recognisers:
            score = of_number(run.scores, Number(SIMILARITY, recogniser, "mean_detected")).iloc[0].to_dict()
            counts = [count(score["n"]), count(score["n_failed"])]
            rows.append([Cell(name), Cell(recogniser), measured(score), *counts])
    return Table("Identity of the same samples", columns, rows)


def images(name: str, run: Run) -> Drawing:
    """Return the samples of the first people, a person per row."""
    groups = list(run.samples.groupby("item", sort=False))[:SHOWN]
    rows = [[Tile(sample_image(run, row), "") for _, row in part.iterrows()] for _, part in groups]
    return Drawing(IMAGES, (name,), name, mosaic(rows, note=private_note(run)))


def run(spec: RunSpec, plan: ControlPlan) -> Path:
    """Run the experiment, or go on where it was stopped, and return the folder of its report."""
    check_reader(spec, plan.made_by)
    given = {CONTROLLED: plan.controlled, UNCONTROLLED: plan.uncontrolled}
    named_runs = {name: changes for name, changes in given.items() if changes} or rendered(spec, plan)
    jobs = {name: finished(spec, {**apart(spec, "fig7"), **changes}) for name, changes in named_runs.items()}
    runs = {name: load_run(job.folder) for name, job in jobs.items()}
    folder = folder_of(spec.out, "fig7", spec.dataset.label)
    figures = drawn([images(name, one) for name, one in runs.items()], folder)
    methods = ", ".join(dict.fromkeys(one.label for one in runs.values()))
    tables = [table_of(runs, plan.made_by), identity_table(runs)]
    notes = [] if plan.controlled else [RENDERED]
    title = "Control of expression and pose"
    finding = Finding("fig7", title, spec.dataset.label, methods, spec.profile, tables, figures, notes)
    return write_finding(folder, finding)


EXPERIMENT = Experiment(ControlPlan, run)
