"""Fig. 10: faces on the way from one person to another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.conditions.vectors import Kind as Law
from bench.conditions.vectors import path as points_of
from bench.experiment import Experiment
from bench.identity import RECORDED, Spec
from bench.metrics.functional.cosine import Floats, unit
from bench.metrics.protocol import Evaluation
from bench.metrics.shared.eligibility import nonzero
from bench.paper.runs import apart, cosine_recognisers, curves, finished, mean_cell
from bench.report.figures import Drawing
from bench.report.frames import load_run
from bench.report.grids import Tile, mosaic, private_note, sample_image
from bench.report.model import Cell, Column, Kind, Table, count
from bench.report.results import Finding, drawn, folder_of, write_finding
from bench.spec import RunSpec
from bench.stages.plan import Job
from bench.stages.score import assemble
from bench.studies import paths

CURVE = Kind(
    "path",
    "Similarity to both ends of a path",
    "The mean over all paths; dashed: the similarity that the vectors themselves have.",
)
IMAGES = Kind("images", "Paths", "A path per row, from one person (left) to another (right), with shared noise.", True)
SHOWN = 5
"""Paths that are shown as images."""


class InterpolationPlan(Spec):
    """The runs.

    Attributes:
        runs: name -> changes to the run (`bench.spec.changed`): one for each law of interpolation.
    """

    runs: Annotated[dict[str, dict[str, Any]], RECORDED]


class Line(NamedTuple):
    """One path as one recogniser sees it; n points.

    Attributes:
        item: at its beginning.
        other_item: at its end.
        subject: of the item.
        rows: (n,) rows of the samples, in the order of the path.
        share: (n,) place, 0 to 1.
        similarity: (n, 2) similarity to both ends; NaN for an image without a face.
        vectors: (n, 2) that of the vectors.
    """

    item: str
    other_item: str
    subject: str
    rows: NDArray[np.int64]
    share: Floats
    similarity: Floats
    vectors: Floats


def lines_of(evaluation: Evaluation, table: pd.DataFrame, recogniser: str, law: Law) -> list[Line]:
    """Return every path of a run whose two ends have a face.

    Args:
        evaluation: of the run.
        table: its table of samples: item, index, share, other_item, seed_index.
        recogniser: one whose embeddings are compared by their cosine.
        law: by which the vectors were interpolated.
    """
    features = evaluation.features[recogniser]
    place = {str(item): row for row, item in enumerate(evaluation.references["item"])}
    columns = ["item", "index", "share", "other_item", "seed_index"]
    samples = evaluation.samples[["item", "subject", "index"]]
    points = samples.merge(table[columns], on=["item", "index"], how="left", validate="one_to_one")
    usable = nonzero(features.references)
    found = []
    for (item, _), part in points.groupby(["item", "seed_index"], sort=False):
        part = part.sort_values("share", kind="stable")
        other = str(part["other_item"].iloc[0])
        ends = [place[str(item)], place[other]]
        if not usable[ends].all():
            continue
        a, b = features.references[ends].astype(np.float64)
        share = part["share"].to_numpy(np.float64)
        rows = part.index.to_numpy()
        similarity = unit(features.samples[rows]) @ unit(np.stack([a, b])).T
        vectors = paths.cosines(points_of(a, b, share, law), a, b)
        found.append(Line(str(item), other, str(part["subject"].iloc[0]), rows, share, similarity, vectors))
    return found


def measured(evaluation: Evaluation, lines: list[Line], recogniser: str) -> pd.DataFrame:
    """Return a row per path: subject, crossing, once, monotonicity, from_vectors, third, n_failed.

    `once` is 1 where the path changes sides once; `third` is 1 where the image at the middle is nearest to a third
    person of the run, NaN where it has no face.
    """
    features = evaluation.features[recogniser]
    rows = np.flatnonzero(nonzero(features.references))
    gallery = features.references[rows].astype(np.float64)
    place = {str(evaluation.references["item"].iloc[row]): number for number, row in enumerate(rows)}
    table = []
    for line in lines:
        path = paths.describe(line.share, line.similarity, line.vectors)
        middle = features.samples[line.rows[np.argmin(np.abs(line.share - 0.5))]].astype(np.float64)
        ends = (place[line.item], place[line.other_item])
        has_face = bool(nonzero(middle[None])[0])
        third = float(paths.nearest_is_third(middle, gallery, ends)) if has_face else float("nan")
        failed = int((~np.isfinite(line.similarity).all(axis=1)).sum())
        table.append(
            {
                "subject": line.subject, "crossing": path.crossing, "once": float(path.crossings == 1),
                "monotonicity": path.monotonicity, "from_vectors": path.from_vectors, "third": third,
                "n_failed": failed,
            }
        )  # fmt: skip
    return pd.DataFrame(table)


def unevenness(evaluation: Evaluation, lines: list[Line], extractor: str) -> Floats:
    """Return, for each path, its largest step over its mean step by a distance of images (LPIPS)."""
    pairs = evaluation.pairs[extractor]
    steps = {
        (str(item), int(i), int(j)): float(value)
        for item, i, j, value in zip(pairs["item"], pairs["i"], pairs["j"], pairs["value"], strict=True)
    }
    index = evaluation.samples["index"].to_numpy()

    def between(line: Line) -> Iterator[float]:
        for one, other in zip(line.rows[:-1], line.rows[1:], strict=True):
            low, high = sorted((int(index[one]), int(index[other])))
            yield steps.get((line.item, low, high), float("nan"))

    return np.array([paths.unevenness(list(between(line))) for line in lines])


@dataclass(frozen=True, eq=False)
class Seen:
    """The paths of one run as one recogniser sees them.

    Attributes:
        run: name of the run.
        recogniser: its name.
        lines: the paths.
        table: a row per path (`measured`), with the column `unevenness`.
        relation: of the method to the recogniser.
    """

    run: str
    recogniser: str
    lines: list[Line]
    table: pd.DataFrame
    relation: str


def seen(run: str, job: Job, evaluation: Evaluation) -> list[Seen]:
    """Return the paths of a run by each recogniser."""
    law = job.spec.conditions.options.path  # type: ignore[attr-defined]
    lpips = evaluation.of_role("lpips", evaluation.pairs)
    found = []
    for name in cosine_recognisers(evaluation):
        lines = lines_of(evaluation, job.samples, name, law)
        if not lines:
            continue
        steps = unevenness(evaluation, lines, lpips[0]) if lpips else np.full(len(lines), np.nan)
        table = measured(evaluation, lines, name).assign(unevenness=steps)
        found.append(Seen(run, name, lines, table, evaluation.recognisers[name]))
    return found


COLUMNS = {
    "crossing": Column("crossing point", note="share at which the image becomes more like the other person; 0.5 ideal"),
    "once": Column("change sides once", better="higher", note="share of paths"),
    "monotonicity": Column("monotonicity", better="higher", note="Spearman of the place with s(B) - s(A)"),
    "from_vectors": Column("off the vectors", better="lower", note="mean |s - similarity of the vectors themselves|"),
    "unevenness": Column("largest / mean step", better="lower", note="LPIPS of neighbours; 1 is even"),
    "third": Column("nearest to a third person", better="lower", note="share of the images at the middle"),
}


def table_of(parts: list[Seen], seed: int) -> Table:
    """Return a row per run and recogniser."""
    columns = [Column(name, numeric=False) for name in ("interpolation", "recogniser")]
    columns += [Column("paths"), Column("points without a face"), *COLUMNS.values()]
    rows = []
    for part in parts:
        subjects = part.table["subject"].to_numpy(dtype=object)
        cells = [mean_cell(part.table[name], subjects, seed) for name in COLUMNS]
        head = [Cell(part.run), Cell(part.recogniser, note=f"relation of the method to it: {part.relation}")]
        rows.append([*head, count(len(part.table)), count(part.table["n_failed"].sum()), *cells])
    notes = ["Means over paths; intervals: 95 %, clustered by the subject at the beginning of the path."]
    return Table("Interpolation between two people", columns, rows, notes)


def drawing(part: Seen) -> Drawing:
    """Return the figure of one run by one recogniser."""
    share = np.unique(np.concatenate([line.share for line in part.lines]))

    def over(name: str, end: int) -> list[float]:
        values = np.concatenate([getattr(line, name)[:, end] for line in part.lines])
        at = np.concatenate([line.share for line in part.lines])
        return [float(np.nanmean(values[at == one])) for one in share]

    lines = [
        (f"{what} {end}", share, over(name, place), dash)
        for name, what, dash in (("similarity", "images to", "-"), ("vectors", "vectors to", "--"))
        for place, end in enumerate(("A", "B"))
    ]
    figure = curves(lines, "share of B", f"cosine similarity ({part.recogniser})")
    return Drawing(CURVE, (part.run, part.recogniser), f"{part.run}, {part.recogniser}", figure)


def images(name: str, job: Job, lines: list[Line], samples: pd.DataFrame) -> Drawing:
    """Return the first paths as rows of images."""
    one = load_run(job.folder)

    def tile(line: Line, row: int, place: int) -> Tile:
        return Tile(sample_image(one, samples.iloc[row]), f"{line.share[place]:.2f}")

    rows = [[tile(line, int(row), place) for place, row in enumerate(line.rows)] for line in lines[:SHOWN]]
    return Drawing(IMAGES, (name,), name, mosaic(rows, note=private_note(one)))


def run(spec: RunSpec, plan: InterpolationPlan) -> Path:
    """Run the experiment, or go on where it was stopped, and return the folder of its report."""
    parts: list[Seen] = []
    strips: list[Drawing] = []
    for name, changes in plan.runs.items():
        job = finished(spec, _named(spec, name, changes))
        evaluation = assemble(job)
        found = seen(name, job, evaluation)
        parts += found
        strips += [images(name, job, one.lines, evaluation.samples) for one in found[:1]]
    folder = folder_of(spec.out, "fig10", spec.dataset.label)
    figures = drawn([*strips, *map(drawing, parts)], folder)
    tables = [table_of(parts, spec.protocol.seed)]
    title = "Interpolation between people"
    finding = Finding("fig10", title, spec.dataset.label, spec.method.shown, spec.profile, tables, figures)
    return write_finding(folder, finding)


def _named(spec: RunSpec, name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    return {**apart(spec, "fig10"), **changes, "method": {"label": f"{spec.method.shown} {name}"}}


EXPERIMENT = Experiment(InterpolationPlan, run)
