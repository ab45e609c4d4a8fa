"""The stages put together, and the record of a run."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import provenance
from bench.conditions.cells import FOLDER
from bench.conditions.planned import TABLE, Planned
from bench.console import say
from bench.data.removal import NOTE
from bench.devices import AUTO, usable_device, why_not_cuda
from bench.errors import UserError
from bench.execution.engine import WORK, Stage
from bench.execution.engines import make
from bench.execution.work import Task
from bench.provenance import measured
from bench.report.ending import numbers_on_top
from bench.report.frames import load_run
from bench.report.run import write_report
from bench.spec import RunSpec
from bench.stages.extract import extraction
from bench.stages.integrity import check_folder, check_samples, check_tables
from bench.stages.log import LOG
from bench.stages.networks import Networks
from bench.stages.plan import ImageList, Job, plan
from bench.stages.record import PHOTOS, RUN, SCORES, STAGES, add_headline, add_stage, begin, write_photos
from bench.stages.retry import forget_failures
from bench.stages.score import score, wanted
from bench.stages.tables import feature_table, read_features
from bench.stages.tasks import extract, generate, photos, recorded_device, reference_set, references
from bench.store import locked, read_json, sweep, write_json
from bench.tracking import track, tracker


def run_stages(spec: RunSpec, stages: Sequence[str]) -> Job:
    """Run stages of one run; what is already there is not made again (`execution.on_existing`).

    Raises:
        UserError: see the stages; whatever ends a stage is also written to the run's `error.json`.
    """
    job, rows = plan(on_device(spec), photo_embeddings)
    if "score" in stages and spec.protocol.metrics:
        # Refuses what cannot be computed before hours of work rather than after.
        wanted(spec)
    if "score" in stages and spec.tracker:
        tracker(spec.tracker)
    with locked(job.folder):
        sweep(job.folder)
        if not _begin(job, rows, stages):
            return job
        job = _as_begun(job)
        try:
            _stages(job, stages)
        except Exception as error:
            _record_error(job, error)
            raise
        (job.folder / "error.json").unlink(missing_ok=True)
    say(f"{', '.join(stages)}: {job.folder}")
    return job


def on_device(spec: RunSpec) -> RunSpec:
    """Return the spec with the device that it means on this machine; as it is where other machines do the work.

    Raises:
        UserError: the device cannot be used.
    """
    if spec.execution.engine != "local":
        return spec
    asked = spec.execution.device
    device = usable_device(asked)
    if asked == AUTO:
        reason = why_not_cuda("cuda")
        say(f"execution.device=auto: {device}" + (f" ({reason})" if reason else ""))
    execution = spec.execution.model_copy(update={"device": device})
    return spec.model_copy(update={"execution": execution})


def _stages(job: Job, stages: Sequence[str]) -> None:
    check_tables(ImageList(job.folder, job.samples, job.bounds))
    if not {"generate", "extract"}.isdisjoint(stages):
        check_samples(job)
    work: dict[str, Callable[[Job], int]] = {
        "generate": _generate, "extract": _extract, "score": _score, "report": _report,
    }  # fmt: skip
    for stage in stages:
        with measured() as cost:
            made = work[stage](job)
        add_stage(job.folder / RUN, job.spec, stage, made, cost, _device(job.spec, Stage(job.folder, stage)))
    if "report" not in stages and (job.folder / "report").exists() and (job.folder / SCORES).exists():
        # What was declared now may forbid what the page shows.
        write_report(job.folder)


def _generate(job: Job) -> int:
    extract_photos(job, references(job, Networks(job.spec)))
    if job.spec.execution.retry == "errors":
        forget_failures(job)
    return make(generate(job, Networks(job.spec)), job.spec.execution)


def _extract(job: Job) -> int:
    networks = Networks(job.spec)
    extract_photos(job, photos(job, networks))
    extract_reference_set(job, networks)
    return make(extract(job, networks), job.spec.execution)


def _score(job: Job) -> int:
    score(job)
    add_headline(job.folder / RUN, numbers_on_top(job.folder))
    if job.spec.tracker:
        config = job.spec.model_dump(mode="json")
        track(job.spec.tracker, job.folder, job.spec.out, config, load_run(job.folder).scores)
    return job.shards


def _report(job: Job) -> int:
    write_report(job.folder)
    return job.shards


def photo_embeddings(spec: RunSpec, images: ImageList, recogniser: str) -> NDArray[np.float32]:
    """Return (n, d) embeddings of a dataset's photos, extracted where they are missing; NaN without a face.

    No run is begun yet from which another process could rebuild its work: this one does it.
    """
    alone = spec.execution.model_copy(update={"engine": "local", "workers": 1, "devices": AUTO, "shard_minutes": None})
    spec = on_device(spec.model_copy(update={"execution": alone}))
    task = extraction(Stage(images.folder, "photos"), images, spec, [recogniser], Networks(spec))
    _extract_shared(images, task, spec)
    return read_features(feature_table(images, spec, recogniser), images.shards)


def dataset_embeddings(spec: RunSpec, recogniser: str) -> tuple[Job, NDArray[np.float32]]:
    """Return the job of a run on the spec's dataset, and its photos' embeddings, extracted where they are missing.

    Returns:
        The job, whose `photos` are the rows; (n, d), NaN without a face.

    Raises:
        UserError: the evaluator has no such recogniser.
    """
    if recogniser not in spec.evaluator.recognisers:
        known = ", ".join(spec.evaluator.recognisers)
        raise UserError(f"evaluator {spec.evaluator.name} has no recogniser {recogniser!r}; it has: {known}")
    job, _ = plan(spec, photo_embeddings)
    return job, photo_embeddings(spec, job.photo_images(), recogniser)


def extract_photos(job: Job, task: Task) -> None:
    """Extract faces and features of the dataset's photos, which every run on them shares."""
    _extract_shared(job.photo_images(), task, job.spec)
    write_photos(job)


def extract_reference_set(job: Job, networks: Networks) -> None:
    """Extract what distances between distributions read of the protocol's reference set, if it has one."""
    if (images := job.reference_set()) is not None:
        _extract_shared(images, reference_set(job, networks), job.spec)


def _extract_shared(images: ImageList, task: Task, spec: RunSpec) -> None:
    folder = images.folder
    with locked(folder):
        sweep(folder)
        if (folder / NOTE).exists():
            _empty(folder)
        check_tables(images)
        with measured() as cost:
            made = make(task, spec.execution)
        add_stage(folder / STAGES, spec, "extract", made, cost, _device(spec, task.stage))


def _device(spec: RunSpec, stage: Stage) -> Mapping[str, Any]:
    """Return the device that made a stage: this process's, or what another machine recorded of its own."""
    if spec.execution.engine == "local":
        return provenance.device(spec.execution.device)
    return recorded_device(stage) or provenance.device("cpu")


def _begin(job: Job, rows: Planned, stages: Sequence[str]) -> bool:
    """Write what this command declares; return False where an existing run is to be left alone."""
    policy = job.spec.execution.on_existing
    if (job.folder / RUN).exists() and policy == "never":
        say(f"{job.folder} exists and is left as it is (execution.on_existing=never)")
        return False
    if policy == "always" or (job.folder / NOTE).exists():
        _empty(job.folder)
    check_folder(job.folder, job.folder / RUN)
    _check_photos(job.photo_images())
    rows.write(job.folder)
    begin(job, stages)
    return True


def _check_photos(images: ImageList) -> None:
    """Check the tables of a dataset's photos, unless they lost people: then they are all made again."""
    with locked(images.folder):
        if not (images.folder / NOTE).exists():
            check_tables(images)


def _empty(folder: Path) -> None:
    """Delete all results; `run.json` goes first, so that a half-emptied folder is not taken for a run."""
    for name in (RUN, PHOTOS, STAGES, TABLE, "error.json"):
        (folder / name).unlink(missing_ok=True)
    for name in ("tables", "samples", FOLDER, "scores", "report", LOG, WORK):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / NOTE).unlink(missing_ok=True)


def _as_begun(job: Job) -> Job:
    """Return the job with the shard size that the run was begun with: shards of another size would not fit."""
    size = read_json(job.folder / RUN)["shard_size"]
    return job.with_shard_size(size)


def _record_error(job: Job, error: Exception) -> None:
    lines = [] if isinstance(error, UserError) else traceback.format_exception(error)
    write_json(job.folder / "error.json", {"error": f"{type(error).__name__}: {error}", "traceback": lines})
