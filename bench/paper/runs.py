"""What the experiments of the paper have in common: runs that differ from a given one, and tables of means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.conditions.asked import with_asked
from bench.identity import digest
from bench.metrics.protocol import Evaluation
from bench.report.figures import COLOURS, legend, new
from bench.report.model import Cell
from bench.report.results import WORK
from bench.report.runs import state
from bench.spec import RunSpec, changed
from bench.stages.plan import Job, load, plan
from bench.stages.record import SCORES
from bench.stages.run import on_device, photo_embeddings, run_stages
from bench.stages.score import measurable, provenance, scored_before, wanted
from bench.statistics import cluster_bootstrap_mean, mean
from bench.store import read_json

STAGES = ("generate", "extract", "score", "report")


def finished(spec: RunSpec, changes: Mapping[str, Any]) -> Job:
    """Return the job of a run with all its stages; one that is complete under these settings is not scored again.

    Args:
        spec: of the experiment.
        changes: to the spec, as `bench.spec.changed` takes them.
    """
    own = on_device(changed(spec, changes))
    job, _ = plan(own, photo_embeddings)
    return load(job.folder) if _is_complete(job) else run_stages(own, STAGES)


def _is_complete(job: Job) -> bool:
    path = job.folder / SCORES
    if not path.exists() or state(job.folder, job.shards) != "complete":
        return False
    metrics = measurable(wanted(job.spec, scored_before(path.parent)), with_asked(job.samples, job.samples, job.folder))
    return digest(read_json(path)) == digest(provenance(job, metrics))


def apart(spec: RunSpec, experiment: str) -> dict[str, Any]:
    """Return the change that keeps runs with conditions away from plain runs, which `compare` takes together."""
    return {"out": spec.out / WORK / experiment}


def cosine_recognisers(evaluation: Evaluation) -> list[str]:
    """Return the recognisers whose features are there and are compared by their cosine, in the evaluator's order."""
    return [
        name
        for name in evaluation.recognisers
        if name in evaluation.features and evaluation.features[name].distance == "cosine"
    ]


def mean_cell(values: ArrayLike, subjects: NDArray[Any], seed: int) -> Cell:
    """Return the mean of the finite values with its interval, clustered by subject."""
    numbers = np.asarray(values, dtype=np.float64)
    interval = cluster_bootstrap_mean(numbers, subjects, seed=seed)
    return Cell(value=mean(numbers[np.isfinite(numbers)]), low=interval.low, high=interval.high, note=interval.note)


def curves(lines: Sequence[tuple[str, ArrayLike, ArrayLike, str]], x: str, y: str) -> Any:
    """Return a figure of lines.

    Args:
        lines: name, places, values and style of each ("-" or "--"), in the order of the legend.
        x: label of the places.
        y: label of the values.
    """
    from matplotlib.ticker import MaxNLocator

    figure, axes = new((6.0, 3.6))
    handles = []
    for number, (name, places, values, dash) in enumerate(lines):
        marker = "o" if dash == "-" else ""
        [line] = axes.plot(places, values, dash, color=COLOURS[number % len(COLOURS)], marker=marker, markersize=3)
        handles.append((line, name))
    if all((np.asarray(places, float) % 1 == 0).all() for _, places, _, _ in lines):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(x, parse_math=False)
    axes.set_ylabel(y, parse_math=False)
    legend(axes, handles)
    return figure
