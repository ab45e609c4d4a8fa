"""Fig. 8: how many principal components a face needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field

from bench.experiment import Experiment
from bench.identities import fitting
from bench.identity import RECORDED, Spec, digest, identity
from bench.metrics.functional.arrays import Floats
from bench.metrics.functional.similarity import alike
from bench.metrics.protocol import Evaluation
from bench.metrics.shared.eligibility import item_rows
from bench.paper.rendered import embedded
from bench.paper.runs import apart, curves, finished, mean_cell
from bench.recognition.rendered import Cast
from bench.report.figures import Drawing
from bench.report.model import Cell, Column, Kind, Table, count
from bench.report.results import WORK, Finding, drawn, folder_of, write_finding
from bench.spec import RunSpec
from bench.stages.score import assemble
from bench.store import locked, read_table

VARIANCE = Kind("variance", "Explained variance", "The share of the variance that the first components explain.")
SIMILARITY = Kind(
    "components", "Similarity over components", "Images drawn from the first components, by each recogniser."
)


class ComponentsPlan(Spec):
    """The fit and the run.

    Attributes:
        fit: folder of a fit (`python -m bench identities fit`); None: of people rendered here.
        people: rendered for the fit.
        images: of each of them.
        options: of the fit.
        seed: of the rendered people.
        run: changes to the run (`bench.spec.changed`); its conditions get the fit.
    """

    fit: Annotated[Path | None, RECORDED] = None
    people: Annotated[int, Field(ge=2), RECORDED] = 500
    images: Annotated[int, Field(ge=1), RECORDED] = 2
    options: Annotated[fitting.FitOptions, RECORDED] = fitting.FitOptions()
    seed: Annotated[int, Field(ge=0), RECORDED] = 24
    run: Annotated[dict[str, Any], RECORDED]


def by_components(evaluation: Evaluation, kept: pd.Series, recogniser: str) -> pd.DataFrame:
    """Return a row per sample: kept, subject, similarity to the item's own reference; NaN without a face.

    Args:
        evaluation: of the run.
        kept: (n_samples,) number of components of each sample.
        recogniser: its name.
    """
    features = evaluation.features[recogniser]
    rows = np.arange(len(evaluation.samples))
    similarity = alike(features.samples, rows, features.references, item_rows(evaluation), features.distance)
    return pd.DataFrame({"kept": kept.to_numpy(), "subject": evaluation.samples["subject"], "similarity": similarity})


def to_full(evaluation: Evaluation, table: pd.DataFrame, extractor: str) -> pd.DataFrame:
    """Return a row per pair of a sample and the one with most components and the same noise: kept, subject, value.

    Args:
        evaluation: of the run.
        table: its table of samples: item, subject, index, kept, seed_index.
        extractor: of a distance of images (LPIPS).
    """
    most = table["kept"].max()
    full = table.loc[table["kept"] == most, ["item", "seed_index", "index"]]
    both = table[table["kept"] < most].merge(full, on=["item", "seed_index"], suffixes=("", "_full"))
    both = both.assign(i=both[["index", "index_full"]].min(axis=1), j=both[["index", "index_full"]].max(axis=1))
    found = both.merge(evaluation.pairs[extractor][["item", "i", "j", "value"]], on=["item", "i", "j"], how="inner")
    return found[["kept", "subject", "value"]]


def table_of(evaluation: Evaluation, samples: pd.DataFrame, cosine: dict[int, float], seed: int) -> Table:
    """Return a row per number of components.

    Args:
        evaluation: of the run.
        samples: its table of samples.
        cosine: number of components -> mean cosine of the rebuilt vectors with the embeddings, where it is known.
        seed: of the intervals.
    """
    networks = [name for name in evaluation.recognisers if name in evaluation.features]
    parts = {name: by_components(evaluation, samples["kept"], name) for name in networks}
    distances = {name: to_full(evaluation, samples, name) for name in evaluation.of_role("lpips", evaluation.pairs)}
    columns = [Column("components"), Column("cosine of the rebuilt vector", better="higher")]
    columns += [Column(name, "similarity to the reference", better="higher") for name in parts]
    columns += [Column(name, "distance to the image of most components", better="lower") for name in distances]
    columns += [Column("samples"), Column("without a face")]
    rows = []
    for kept in sorted(samples["kept"].unique()):
        own = [(part[part["kept"] == kept], "similarity") for part in parts.values()]
        own += [(part[part["kept"] == kept], "value") for part in distances.values()]
        cells = [mean_cell(part[name], part["subject"].to_numpy(object), seed) for part, name in own]
        lost = int((samples["kept"] == kept).sum() - own[0][0]["similarity"].notna().sum())
        counts = [count((samples["kept"] == kept).sum()), count(lost)]
        rows.append([count(kept), Cell(value=cosine.get(int(kept))), *cells, *counts])
    note = "Means over samples; intervals: 95 %, clustered by subject. Sample k has the same noise in every row."
    return Table("Faces from the first principal components", columns, rows, [note])


def variance_table(folder: Path) -> Table:
    """Return how many components explain which share of the variance."""
    pca, _, record = fitting.load(folder)
    rows = [[Cell(f"{share:.0%}"), count(pca.needed(share))] for share in fitting.SHARES]
    notes = [f"Fitted on {pca.n} embeddings of {record['dataset']} by {record['recogniser']}."]
    columns = [Column("explained variance", numeric=False), Column("components")]
    return Table("Components of the embedding", columns, rows, [*notes, *filter(None, [str(record["note"])])])


def fit_of(spec: RunSpec, plan: ComponentsPlan, recogniser: str) -> Path:
    """Return the folder of the fit; it is made of rendered people where none is given."""
    if plan.fit:
        return plan.fit
    cast = Cast("train", plan.people, plan.seed, 0.3)
    base = spec.out / WORK / "fig8"
    with locked(base):
        vectors = embedded(spec, cast, plan.images, recogniser, base)
        folder = base / f"fit-{digest({'vectors': vectors.key, 'options': identity(plan.options)})[:8]}"
        if not (folder / fitting.RECORD).exists():
            origin = {"dataset": "rendered people", "recogniser": recogniser}
            fitting.write(lambda: iter([(vectors.features, vectors.people)]), plan.options, folder, origin)
    return folder


def drawings(folder: Path, table: Table) -> list[Drawing]:
    """Return the two curves of the figure."""
    pca = fitting.load(folder)[0]
    number = np.arange(1, pca.width + 1)
    variance = curves([("explained variance", number, pca.cumulative, "--")], "components", "share of the variance")
    kept = [row[0].value for row in table.rows]
    lines: list[tuple[str, Any, Floats, str]] = []
    for place, column in enumerate(table.columns):
        if column.group == "similarity to the reference":
            values = np.array([np.nan if row[place].value is None else row[place].value for row in table.rows], float)
            lines.append((column.title, kept, values, "-"))
    similarity = curves(lines, "components", "cosine similarity to the reference")
    return [Drawing(VARIANCE, (), "", variance), Drawing(SIMILARITY, (), "", similarity)]


def run(spec: RunSpec, plan: ComponentsPlan) -> Path:
    """Run the experiment, or go on where it was stopped, and return the folder of its report."""
    changes = dict(plan.run)
    conditions = dict(changes["conditions"])
    fit = fit_of(spec, plan, str(conditions["recogniser"]))
    changes["conditions"] = {**conditions, "fit": fit}
    label = {"method": {"label": f"{spec.method.shown} components"}}
    job = finished(spec, {**apart(spec, "fig8"), **changes, **label})
    rebuilt = read_table(fit / "reconstruction.parquet")
    cosine = dict(zip(rebuilt["kept"], rebuilt["mean"], strict=True))
    table = table_of(assemble(job), job.samples, cosine, spec.protocol.seed)
    folder = folder_of(spec.out, "fig8", spec.dataset.label)
    figures = drawn(drawings(fit, table), folder)
    tables = [variance_table(fit), table]
    title = "Principal components of the embedding"
    finding = Finding("fig8", title, spec.dataset.label, spec.method.shown, spec.profile, tables, figures)
    return write_finding(folder, finding)


EXPERIMENT = Experiment(ComponentsPlan, run)
