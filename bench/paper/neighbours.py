"""Fig. 11: does a sample resemble somebody of the training set more than the person it was made from?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.errors import UserError
from bench.experiment import Experiment
from bench.identity import RECORDED, Spec
from bench.images import read_image
from bench.metrics.copying_sscd import COPY
from bench.metrics.functional.arrays import Floats
from bench.metrics.functional.similarity import alike
from bench.metrics.protocol import Evaluation
from bench.metrics.shared.eligibility import item_rows, subjects
from bench.metrics.shared.thresholds import thresholds
from bench.paper import pairs
from bench.paper.rendered import embedded
from bench.paper.runs import finished
from bench.recognition.rendered import Cast, Rendered
from bench.report.figures import COLOURS, Drawing, density, legend, new
from bench.report.frames import load_run
from bench.report.model import Cell, Column, Kind, Table, count
from bench.report.results import WORK, Finding, drawn, folder_of, write_finding
from bench.sample_files import image_of
from bench.spec import RunSpec, feature_id
from bench.stages.plan import Job
from bench.stages.score import assemble
from bench.store import locked
from bench.studies.bank import Bank, add, create, open_bank
from bench.studies.memorisation import distribution, search, shares_above

NEAREST = Kind(
    "nearest",
    "Similarity to the nearest face of the bank",
    "Samples, inputs and unseen photos of the same people; dashed: the samples to their own input.",
)

RENDERED = "The bank holds rendered people whom the embedded networks learned from, drawn anew."


SAMPLES = "samples"


class NearestPlan(Spec):
    """The bank and the run.

    Attributes:
        banks: folders of banks (`python -m bench bank add`); none: of people rendered here, whom the embedded networks
            learned from.
        shown: folder of the images of the banks, by their names in them; only of people who may be shown. None: the
            faces of the banks are not shown.
        recogniser: whose vectors the banks hold; the paper's is the one that the method follows.
        people: rendered for the bank.
        images: of each of them.
        run: changes to the run (`bench.spec.changed`).
    """

    banks: Annotated[tuple[Path, ...], RECORDED] = ()
    shown: Annotated[Path | None, RECORDED] = None
    recogniser: Annotated[str, RECORDED] = "arcface"
    people: Annotated[int, Field(ge=2), RECORDED] = 1000
    images: Annotated[int, Field(ge=1), RECORDED] = 2
    run: Annotated[dict[str, Any], RECORDED] = Field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Queries:
    """Faces that are searched for.

    Attributes:
        name: what a reader calls them.
        features: (n, d); NaN without a face.
        subjects: (n,) the person of each.
    """

    name: str
    features: NDArray[np.float32]
    subjects: NDArray[Any]


def queries_of(evaluation: Evaluation, recogniser: str) -> list[Queries]:
    """Return the samples, their inputs, and the photos that no method saw."""
    features = evaluation.features[recogniser]
    return [
        Queries(SAMPLES, features.samples, subjects(evaluation.samples)),
        Queries("inputs", features.references, subjects(evaluation.references)),
        Queries("unseen photos", features.targets, subjects(evaluation.targets)),
    ]


def to_input(evaluation: Evaluation, recogniser: str) -> Floats:
    """Return (n_samples,) the similarity of each sample to its own input; NaN without a face."""
    features = evaluation.features[recogniser]
    rows = np.arange(len(evaluation.samples))
    return alike(features.samples, rows, features.references, item_rows(evaluation), features.distance)


def copy_scores(evaluation: Evaluation) -> dict[str, Floats]:
    """Return, by what a reader calls it, the (n_samples,) copy score of each sample and its own input; NaN without one.

    A face near the bank's may be a copied face or a copied image. Nothing where no network of copies ran.
    """
    networks = evaluation.of_role("sscd", evaluation.features)
    return {f"samples to their input, copy score of {name}": to_input(evaluation, name) for name in networks}


def rendered_bank(spec: RunSpec, plan: NearestPlan, base: Path) -> tuple[Bank, pairs.Show]:
    """Return a bank of people whom the embedded networks learned from, drawn anew, and what shows its images."""
    # The seed is that of the people in the recipes of the embedded networks (bench/mini/train/data.py).
    cast = Cast("train", plan.people, 1, 0.0)
    with locked(base):
        held = embedded(spec, cast, plan.images, plan.recogniser, base)
        folder = base / f"bank-{held.key}"
        vectors = feature_id(spec, plan.recogniser)
        bank = open_bank(folder) if (folder / "bank.json").exists() else create(folder, vectors, held.features.shape[1])
        names = [f"{person}/{index}" for person, index in zip(held.people, held.index, strict=True)]
        bank = add(bank, held.features, names, [f"train {person}" for person in held.people])
    drawn_again = Rendered(cast)
    return bank, lambda position: drawn_again.image(int(held.people[position]), int(held.index[position]))


def distributions(found: Mapping[str, Floats], own: Floats, copies: Mapping[str, Floats]) -> Table:
    """Return a row per kind of face: the distribution of its similarity to the nearest row of the bank.

    Args:
        found: name -> (n,) similarity to the nearest; NaN without a face.
        own: (n_samples,) similarity of the samples to their inputs.
        copies: further rows: name -> (n_samples,) copy score (`copy_scores`).
    """
    to_bank = {f"{name} to the bank": values for name, values in found.items()}
    numbers = {**to_bank, "samples to their input": own, **copies}
    heads = {"mean": "mean", "q50": "median", "q95": "95 %", "q99": "99 %", "q999": "99.9 %", "max": "largest"}
    columns = [
        Column("similarity of", numeric=False),
        *map(Column, heads.values()),
        Column("n"),
        Column("without one", note="no face, or no image for a copy score"),
    ]
    rows = []
    for name, values in numbers.items():
        shown = distribution(values)
        lost = int((~np.isfinite(values)).sum())
        cells = [Cell(value=shown[key]) for key in heads]
        rows.append([Cell(name), *cells, count(len(values) - lost), count(lost)])
    notes = ["Unseen faces reach about the same mean as samples: only a tail above theirs says that faces were copied."]
    if copies:
        notes.append(f"A copy score compares whole images; from {COPY} on its authors call an image a copy.")
    return Table("Nearest face of the bank", columns, rows, notes)


def shares(
    found: Mapping[str, Floats], queries: list[Queries], levels: Mapping[float, float | None], size: int
) -> Table:
    """Return the share of each kind of face whose nearest row passes a threshold of verification."""
    columns = [Column("faces", numeric=False), Column("FMR"), Column("threshold"), Column("share above")]
    columns += [Column("strangers by chance", note="1 - (1 - FMR)^rows"), Column("n")]
    rows = []
    for query in queries:
        table = shares_above(found[query.name], query.subjects, levels, size)
        for line in table.astype(object).where(table.notna(), None).to_dict("records"):
            share = Cell(value=line["share"], low=line["low"], high=line["high"])
            cells = [Cell(f"{line['fmr']:g}", line["fmr"]), Cell(value=line["threshold"]), share]
            rows.append([Cell(query.name), *cells, Cell(value=line["by_chance"]), count(line["n"])])
    notes = [f"The bank has {size} faces. n/a: too few pairs of references for a threshold at this rate."]
    return Table("Faces with a match in the bank", columns, rows, notes)


def drawing(found: Mapping[str, Floats], own: Floats) -> Drawing:
    """Return the distributions as curves."""
    figure, axes = new((6.4, 3.6))
    at = np.linspace(-0.2, 1.05, 500)
    lines = []
    for number, (name, values, dash) in enumerate(
        [*((name, values, "-") for name, values in found.items()), ("samples to their input", own, "--")]
    ):
        known = values[np.isfinite(values)]
        if len(known):
            [line] = axes.plot(at, density(known, at), dash, color=COLOURS[number])
            lines.append((line, f"{name}: mean {known.mean():.2f}"))
    axes.set(xlabel="cosine similarity", ylabel="density", xlim=(at[0], at[-1]))
    legend(axes, lines)
    return Drawing(NEAREST, (), "", figure)


def _shown(plan: NearestPlan, banks: list[Bank], near: list[pairs.Pair]) -> pairs.Show | None:
    if plan.shown is None:
        return None
    if not plan.shown.is_dir():
        raise UserError(f"fig11.shown={plan.shown} is no folder; it holds the images of the banks by their names")
    return pairs.shown_files(banks, [pair.position for pair in near], plan.shown)


def _side_by_side(spec: RunSpec, job: Job, near: list[pairs.Pair], show: pairs.Show) -> tuple[Table, Drawing]:
    """Return the table and the images of the samples that are closest to the bank."""
    one = load_run(job.folder)
    faces = [show(pair.position) for pair in near]
    images = [image_of(one.folder, one.samples.iloc[pair.row]) for pair in near]
    samples = [read_image(image) for image in images if image is not None]
    copies = pairs.copy_scores(spec, list(zip(samples, faces, strict=True)))
    return pairs.table_of(one, near, copies), pairs.drawing(one, near, faces)


def run(spec: RunSpec, plan: NearestPlan) -> Path:
    """Run the experiment, or go on where it was stopped, and return the folder of its report."""
    if plan.recogniser not in spec.evaluator.recognisers:
        known = ", ".join(spec.evaluator.recognisers)
        raise UserError(f"fig11.recogniser={plan.recogniser}: evaluator {spec.evaluator.name} has: {known}")
    job = finished(spec, plan.run)
    folder = folder_of(spec.out, "fig11", spec.dataset.label)
    work = spec.out / WORK / "fig11"
    rendered = None if plan.banks else rendered_bank(spec, plan, work)
    banks = [rendered[0]] if rendered else [open_bank(path) for path in plan.banks]
    evaluation = assemble(job)
    queries = [query for query in queries_of(evaluation, plan.recogniser) if len(query.features)]
    best = {query.name: search(query.features, banks, 1, work / "search") for query in queries}
    found = {name: neighbours.cosine[:, 0] for name, neighbours in best.items()}
    own = to_input(evaluation, plan.recogniser)
    near = pairs.closest(best[SAMPLES], own)
    show = rendered[1] if rendered else _shown(plan, banks, near)
    limits = thresholds(evaluation, plan.recogniser)
    levels = {float(level): limit.value for level, limit in limits.items()}
    size = sum(bank.rows for bank in banks)
    tables = [distributions(found, own, copy_scores(evaluation)), shares(found, queries, levels, size)]
    drawings = [drawing(found, own)]
    if show:
        table, images = _side_by_side(spec, job, near, show)
        tables.append(table)
        drawings.append(images)
    figures = drawn(drawings, folder)
    title = "Nearest faces of the training set"
    notes = [] if plan.banks else [RENDERED]
    finding = Finding("fig11", title, spec.dataset.label, spec.method.shown, spec.profile, tables, figures, notes)
    return write_finding(folder, finding)


EXPERIMENT = Experiment(NearestPlan, run)
