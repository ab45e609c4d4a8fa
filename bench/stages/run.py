"""The stages put together, and the record of a run."""

from __future__ import annotations

import shutil
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.console import say
from bench.data.removal import NOTE
from bench.errors import UserError
from bench.identity import weights
from bench.provenance import environment
from bench.report.run import write_report
from bench.spec import RunSpec, recognisers_needed
from bench.stages.extract import extract
from bench.stages.generate import generate
from bench.stages.networks import Networks
from bench.stages.plan import ImageList, Job, plan, warnings
from bench.stages.score import population_names, score
from bench.stages.tables import is_pairwise
from bench.store import locked, read_json, sweep, write_json, write_table


def run_stages(spec: RunSpec, stages: Sequence[str]) -> Job:
    """Run stages of one run; what is already there is not made again (`execution.on_existing`).

    Raises:
        UserError: see the stages; whatever ends a stage is also written to the run's `error.json`.
    """
    job = plan(spec)
    for warning in warnings(spec):
        say(f"warning: {warning}")
    with locked(job.folder):
        sweep(job.folder)
        if not _begin(job):
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


def _stages(job: Job, stages: Sequence[str]) -> None:
    work: dict[str, Callable[[Job], None]] = {
        "generate": _generate, "extract": _extract, "score": score, "report": lambda j: write_report(j.folder),
    }  # fmt: skip
    for stage in stages:
        work[stage](job)


def _generate(job: Job) -> None:
    extract_photos(job, recognisers_needed(job.needs), Networks(job.spec))
    generate(job)


def _extract(job: Job) -> None:
    extractors = job.spec.evaluator.all_extractors
    networks = Networks(job.spec)
    extract_photos(job, [name for name, part in extractors.items() if not is_pairwise(part)], networks)
    extract_reference_set(job, networks)
    what = f"extract {job.folder.name}"
    extract(job.sample_images(), job.spec, list(extractors), what, networks, job.photo_images())


def extract_photos(job: Job, names: Sequence[str], networks: Networks) -> None:
    """Extract faces and features of the dataset's photos, which every run on them shares."""
    _extract_shared(job.photo_images(), job.spec, names, f"extract photos of {job.spec.dataset.label}", networks)


def extract_reference_set(job: Job, networks: Networks) -> None:
    """Extract what distances between distributions read of the protocol's reference set, if it has one."""
    if (images := job.reference_set()) is not None:
        _extract_shared(images, job.spec, population_names(job.spec), "extract the reference set", networks)


def _extract_shared(images: ImageList, spec: RunSpec, names: Sequence[str], what: str, networks: Networks) -> None:
    with locked(images.folder):
        sweep(images.folder)
        if (images.folder / NOTE).exists():
            _empty(images.folder)
        extract(images, spec, names, what, networks)


def _begin(job: Job) -> bool:
    """Write `run.json` of a new run; return False where an existing one is to be left alone."""
    path = job.folder / "run.json"
    policy = job.spec.execution.on_existing
    if path.exists() and policy == "never":
        say(f"{job.folder} exists and is left as it is (execution.on_existing=never)")
        return False
    if policy == "always" or (job.folder / NOTE).exists():
        _empty(job.folder)
    if not path.exists():
        write_table(job.folder / "photos.parquet", job.photos)
        write_json(path, record(job))
    return True


def _empty(folder: Path) -> None:
    """Delete all results; `run.json` goes first, so that a half-emptied folder is not taken for a run."""
    for name in ("run.json", "photos.parquet", "error.json"):
        (folder / name).unlink(missing_ok=True)
    for name in ("tables", "samples", "scores", "report"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / NOTE).unlink(missing_ok=True)


def record(job: Job) -> dict[str, Any]:
    """Return `run.json`: the spec as it was given, what it was worked out to, and where the run was begun."""
    spec = job.spec
    return {
        "id": job.id,
        "method": spec.method.name,
        "dataset": spec.dataset.label,
        "content": job.content,
        "gallery": job.photos_folder.name,
        "items": len(job.items),
        "shards": job.shards,
        "shard_size": spec.execution.shard_size,
        "begun": time.time(),
        "warnings": warnings(spec),
        "spec": spec.model_dump(mode="json"),
        "weights": weights(spec),
        "environment": environment(),
        "command": sys.argv,
    }


def _as_begun(job: Job) -> Job:
    """Return the job with the shard size that the run was begun with: shards of another size would not fit."""
    size = read_json(job.folder / "run.json")["shard_size"]
    return job.with_shard_size(size)


def _record_error(job: Job, error: Exception) -> None:
    lines = [] if isinstance(error, UserError) else traceback.format_exception(error)
    write_json(job.folder / "error.json", {"error": f"{type(error).__name__}: {error}", "traceback": lines})
