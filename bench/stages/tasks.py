"""The pieces of work of a run, by name: what the driver starts, and what any process rebuilds from the run's folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import provenance
from bench.devices import usable_device
from bench.errors import UserError, unknown
from bench.execution.engine import WORK, Stage
from bench.execution.work import Task
from bench.spec import RunSpec, recognisers_needed
from bench.stages.extract import extraction
from bench.stages.generate import generation
from bench.stages.networks import Networks
from bench.stages.plan import Job, load
from bench.stages.score import population_names
from bench.stages.tables import is_pairwise
from bench.store import read_json, write_json


def references(job: Job, networks: Networks) -> Task:
    """Return what the method needs of the dataset's photos."""
    stage = Stage(job.folder, "references")
    return extraction(stage, job.photo_images(), job.spec, recognisers_needed(job.needs), networks)


def generate(job: Job, _: Networks) -> Task:
    """Return the making of the samples."""
    return generation(Stage(job.folder, "generate"), job)


def photos(job: Job, networks: Networks) -> Task:
    """Return what is measured of the dataset's photos."""
    names = [name for name, part in job.spec.evaluator.all_extractors.items() if not is_pairwise(part)]
    return extraction(Stage(job.folder, "photos"), job.photo_images(), job.spec, names, networks)


def reference_set(job: Job, networks: Networks) -> Task:
    """Return what distances between distributions read of the protocol's reference set.

    Raises:
        UserError: the protocol has none.
    """
    images = job.reference_set()
    if images is None:
        raise UserError(f"the run {job.folder} has no protocol.reference_set")
    return extraction(Stage(job.folder, "reference-set"), images, job.spec, population_names(job), networks)


def extract(job: Job, networks: Networks) -> Task:
    """Return what is measured of the samples."""
    names = list(job.spec.evaluator.all_extractors)
    stage = Stage(job.folder, "extract")
    return extraction(stage, job.sample_images(), job.spec, names, networks, job.photo_images())


TASKS: dict[str, Callable[[Job, Networks], Task]] = {
    "references": references,
    "generate": generate,
    "photos": photos,
    "reference-set": reference_set,
    "extract": extract,
}
"""In the order in which a run does them."""


def rebuilt(stage: Stage, device: str | None) -> tuple[Task, RunSpec]:
    """Return a task from its names alone, with the spec of the run as this process works on it.

    Args:
        stage: its names.
        device: that this process uses; None: the run's.

    Raises:
        UserError: the stage or the run is unknown, or the device cannot be used; or as `load`.
    """
    if stage.name not in TASKS:
        raise unknown("stage", stage.name, TASKS)
    job = load(stage.folder)
    execution = job.spec.execution
    here = execution.model_copy(update={"device": usable_device(device or execution.device)})
    spec = job.spec.model_copy(update={"execution": here})
    job = job.with_spec(spec)
    return TASKS[stage.name](job, Networks(spec)), spec


def record_device(stage: Stage, spec: RunSpec) -> None:
    """Write the device of this process where the driver finds it."""
    write_json(_device_file(stage), provenance.device(spec.execution.device))


def recorded_device(stage: Stage) -> dict[str, Any] | None:
    """Return the device of a process that worked on a stage, on whatever machine; None where none has said so."""
    path = _device_file(stage)
    return dict(read_json(path)) if path.exists() else None


def _device_file(stage: Stage) -> Path:
    return stage.folder / WORK / f"{stage.name}-device.json"
