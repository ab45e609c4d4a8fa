"""The report of Table 2: a row per training set with its spread over seeds and its gap to real data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.recognition.pairs import TITLES
from bench.report.model import Cell, Column, Table, count
from bench.report.page.render import Page, render
from bench.report.published import published, published_rows, published_table
from bench.report.tables import frame, latex, markdown, simple
from bench.store import write_atomic, write_table

PUBLISHED = "arc2face_table2"
METRIC = "verification accuracy of a recogniser trained on it"
"""How the published table calls its numbers."""
AVERAGE = "average"


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the experiment measured.

    Attributes:
        results: a row per (row, seed, set): row, seed, set, accuracy, fold_se.
        quality: what the judge says of each set: row, and the numbers of `bench.facesets.check.check`.
        recognisers: what each trained recogniser says of itself: row, images, identities, tried_images, layout, ...
        logs: (row, seed) -> the log of its training.
        sets: names of the verification sets, in order.
        label: name of the synthetic set's row.
        real: name of the row that learned from photographs.
        recipe: name of the recipe.
        judge: name of the recogniser that looked at the sets.
    """

    results: pd.DataFrame
    quality: pd.DataFrame
    recognisers: Sequence[Mapping[str, Any]]
    logs: Mapping[tuple[str, int], pd.DataFrame]
    sets: Sequence[str]
    label: str
    real: str
    recipe: str
    judge: str


def summarise(results: pd.DataFrame, real: str) -> pd.DataFrame:
    """Return the accuracy of each row on each set and on average, over the seeds.

    Args:
        results: a row per (row, seed, set): row, seed, set, accuracy, fold_se.
        real: name of the row that learned from photographs.

    Returns:
        A row per (row, set) and one with set "average": mean, sd (over seeds, n - 1; NaN for one seed), fold_se (mean
        over seeds; NaN for the average), seeds, and gap = (real - mean) / mean, DCFace's gap to real data.
    """
    average = results.groupby(["row", "seed"], sort=False)["accuracy"].mean().reset_index().assign(set=AVERAGE)
    both = pd.concat([results, average], ignore_index=True)
    groups = both.groupby(["row", "set"], sort=False)
    found = groups.agg(
        mean=("accuracy", "mean"), sd=("accuracy", "std"), fold_se=("fold_se", "mean"), seeds=("seed", "nunique")
    )
    found = found.reset_index()
    reference = found[found["row"] == real].set_index("set")["mean"]
    return found.assign(gap=(found["set"].map(reference) - found["mean"]) / found["mean"])


def table(summary: pd.DataFrame, recognisers: Sequence[Mapping[str, Any]], sets: Sequence[str]) -> Table:
    """Return the table, our rows first and published rows under a heading where they have the same sets.

    Args:
        summary: as `summarise` gives it.
        recognisers: what each trained recogniser says of itself: row, images, identities, tried_images, layout, ...
        sets: names of the sets, in order.
    """
    heads = [*(TITLES.get(name, name) for name in sets), AVERAGE]
    columns = [Column("trained on", numeric=False), Column("images"), Column("identities"), Column("dropped")]
    columns += [Column(head, group="accuracy, %", better="higher") for head in heads]
    columns += [
        Column("gap to real, %", better="lower", note="(real - this) / this, on the average, as DCFace defines it")
    ]
    about = {str(one["row"]): one for one in recognisers}
    rows = [_ours(name, about[name], summary, [*sets, AVERAGE]) for name in dict.fromkeys(summary["row"])]
    headings = {}
    shown = published(PUBLISHED)
    if set(heads[:-1]) & set(shown["dataset"]):
        blank = [Cell("")] * 3
        headings[len(rows)] = "Published, other training code; not ranked with ours"
        cells = published_rows(shown, [(METRIC, head) for head in heads])
        rows += [[row[0], *blank, *row[1:], Cell("")] for row in cells]
    return Table("Face recognition trained on synthetic faces", columns, rows, _notes(summary, recognisers), headings)


def _ours(name: str, about: Mapping[str, Any], summary: pd.DataFrame, sets: Sequence[str]) -> list[Cell]:
    own = summary[summary["row"] == name].set_index("set")
    percent = (100 * own[["mean", "sd", "gap"]]).to_dict("index")
    images = int(about["images"])
    dropped = int(about.get("tried_images", 0)) - images
    counts = [count(n) for n in (images, int(about["identities"]), dropped)]
    accuracies = [_accuracy(percent[one]["mean"], percent[one]["sd"]) for one in sets]
    gap = percent[AVERAGE]["gap"]
    return [Cell(name), *counts, *accuracies, Cell(value=None if np.isnan(gap) else gap, digits=2)]


def _accuracy(mean: float, deviation: float) -> Cell:
    """The cell of a mean over seeds, in percent; with its standard deviation, which is not an interval, where known."""
    return Cell(None if np.isnan(deviation) else f"{mean:.2f} ± {deviation:.2f}", mean, digits=2)


def _notes(summary: pd.DataFrame, recognisers: Sequence[Mapping[str, Any]]) -> list[str]:
    trained = [one for one in recognisers if one["images"]]
    layouts = sorted({f"{one['layout']}, {str(one['colour']).upper()}" for one in recognisers})
    recipes = sorted({f"{one['recipe']['name']}, {one['epochs']:g} epochs" for one in trained})
    error = summary["fold_se"].max()
    looked = any(one["looked_at_test_sets"] for one in trained)
    rule = "the last epoch is reported" + ("; the recipe's schedule looked at the test sets" if looked else "")
    return [
        f"Backbone: {'; '.join(layouts)}. Recipe: {'; '.join(recipes)}; {rule}.",
        f"Mean ± standard deviation over {summary['seeds'].max()} seeds of the training; the standard error over the "
        f"folds of one set is at most {100 * error:.2f}.",
        "dropped: images that were tried and are not trained on: they could not be made, showed no face, or their "
        "identity has too few.",
    ]


def best_epochs(logs: Mapping[tuple[str, int], pd.DataFrame], sets: Sequence[str]) -> Table:
    """Return the last epoch next to the one that is best on the test sets, for each trained recogniser.

    The best epoch is chosen on the very sets that it is reported on: it is shown because papers report it, not to be
    compared with.
    """
    rows = []
    for (row, seed), log in logs.items():
        tested = log.dropna(subset=list(sets))
        if tested.empty:
            continue
        average = tested[list(sets)].mean(axis=1)
        best = int(average.to_numpy().argmax())
        shown = [f"{100 * average.iloc[place]:.2f}" for place in (-1, best)]
        rows.append([row, str(seed), *shown, f"{tested['epoch'].iloc[best]:g}"])
    header = ["trained on", "seed", "last epoch", "best epoch (chosen on the test sets)", "its number"]
    return simple(header, rows, "Average accuracy, %: last epoch and best on the test sets")


def quality_table(looked: pd.DataFrame, judge: str) -> Table:
    """Return what the judge says of each set without any training."""
    names = [name for name in looked.columns if name != "row"]
    rows = [
        [
            str(line["row"]),
            *(f"{line[name]:.0f}" if name in ("identities", "images") else f"{line[name]:.3f}" for name in names),
        ]
        for line in looked.to_dict("records")
    ]
    return simple(["set", *names], rows, f"The sets, seen by {judge}")


def write(folder: Path, outcome: Outcome) -> list[Table]:
    """Write the report: `index.html`, `table2.md`, `.tex`, `.csv`, and `results.parquet` with a row per seed and set.

    Returns:
        Our tables, the main one first.
    """
    main = table(summarise(outcome.results, outcome.real), outcome.recognisers, outcome.sets)
    ours = [main, best_epochs(outcome.logs, outcome.sets), quality_table(outcome.quality, outcome.judge)]
    tables = [*ours, published_table(PUBLISHED)]
    write_table(folder / "results.parquet", outcome.results)
    write_atomic(folder / "table2.csv", frame(main).to_csv(index=False).encode())
    write_atomic(folder / "table2.md", "\n".join(f"## {one.title}\n\n{markdown(one)}" for one in tables).encode())
    write_atomic(folder / "table2.tex", "\n".join(latex(one) for one in tables).encode())
    summary = [("method", outcome.label), ("recipe", outcome.recipe)]
    write_atomic(folder / "index.html", render(Page("Experiment", main.title, summary=summary, tables=tables)))
    return ours
