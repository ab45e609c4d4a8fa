"""The stages put together, and the record of a run."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.conditions.cells import FOLDER
from bench.conditions.planned import TABLE, Planned
from bench.console import say
from bench.data.removal import NOTE
from bench.devices import AUTO, usable_device, why_not_cuda
from bench.errors import UserError
from bench.provenance import measured
from bench.report.ending import headline
from bench.report.run import write_report
from bench.spec import RunSpec, recognisers_needed
from bench.stages.extract import extract
from bench.stages.generate import generate
from bench.stages.integrity import check_folder, check_samples, check_tables
from bench.stages.log import LOG
from bench.stages.networks import Networks
from bench.stages.plan import ImageList, Job, plan
from bench.stages.record import PHOTOS, RUN, SCORES, STAGES, add_headline, add_stage, begin, write_photos
from bench.stages.retry import forget_failures
from bench.stages.score import population_names, score, wanted
from bench.stages.tables import feature_table, is_pairwise, read_features
from bench.store import locked, read_json, sweep, write_json


def run_stages(spec: RunSpec, stages: Sequence[str]) -> Job:
    """Run stages of one run; what is already there is not made again (`execution.on_existing`).

    Raises:
        UserError: see the stages; whatever ends a stage is also written to the run's `error.json`.
    """
    job, rows = plan(on_device(spec), photo_embeddings)
    if "score" in stages and spec.protocol.metrics:
        # Refuses what cannot be computed before hours of work rather than after.
        wanted(spec)
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
    """Return the spec with the device that it means on this machine.

    Raises:
        UserError: the device cannot be used.
    """
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
        add_stage(job.folder / RUN, job.spec, stage, made, cost)
    if "report" not in stages and (job.folder / "report").exists() and (job.folder / SCORES).exists():
        # What was declared now may forbid what the page shows.
        write_report(job.folder)


def _generate(job: Job) -> int:
    extract_photos(job, recognisers_needed(job.needs), Networks(job.spec))
    if job.spec.execution.retry == "errors":
        forget_failures(job)
    return generate(job)


def _extract(job: Job) -> int:
    extractors = job.spec.evaluator.all_extractors
    networks = Networks(job.spec)
    extract_photos(job, [name for name, part in extractors.items() if not is_pairwise(part)], networks)
    extract_reference_set(job, networks)
    what = f"extract {job.folder.name}"
    return extract(job.sample_images(), job.spec, list(extractors), what, networks, job.photo_images())


def _score(job: Job) -> int:
    score(job)
    add_headline(job.folder / RUN, headline(job.folder))
    return job.shards


def _report(job: Job) -> int:
    write_report(job.folder)
    return job.shards


def photo_embeddings(spec: RunSpec, images: ImageList, recogniser: str) -> NDArray[np.float32]:
    """Return (n, d) embeddings of a dataset's photos, extracted where they are missing; NaN without a face."""
    _extract_shared(images, spec, [recogniser], f"extract photos of {spec.dataset.label}", Networks(spec))
    return read_features(feature_table(images, spec, recogniser), images.shards)


def extract_photos(job: Job, names: Sequence[str], networks: Networks) -> None:
    """Extract faces and features of the dataset's photos, which every run on them shares."""
    _extract_shared(job.photo_images(), job.spec, names, f"extract photos of {job.spec.dataset.label}", networks)
    write_photos(job)


def extract_reference_set(job: Job, networks: Networks) -> None:
    """Extract what distances between distributions read of the protocol's reference set, if it has one."""
    if (images := job.reference_set()) is not None:
        _extract_shared(images, job.spec, population_names(job), "extract the reference set", networks)


def _extract_shared(images: ImageList, spec: RunSpec, names: Sequence[str], what: str, networks: Networks) -> None:
    with locked(images.folder):
        sweep(images.folder)
        if (images.folder / NOTE).exists():
            _empty(images.folder)
        check_tables(images)
        with measured() as cost:
            made = extract(images, spec, names, what, networks)
        add_stage(images.folder / STAGES, spec, "extract", made, cost)


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
    for name in ("tables", "samples", FOLDER, "scores", "report", LOG):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / NOTE).unlink(missing_ok=True)


def _as_begun(job: Job) -> Job:
    """Return the job with the shard size that the run was begun with: shards of another size would not fit."""
    size = read_json(job.folder / RUN)["shard_size"]
    return job.with_shard_size(size)


def _record_error(job: Job, error: Exception) -> None:
    lines = [] if isinstance(error, UserError) else traceback.format_exception(error)
    write_json(job.folder / "error.json", {"error": f"{type(error).__name__}: {error}", "traceback": lines})
