"""`run.json`: what defines a run, what was declared of it last, and how each stage was made.

`id`, `content`, `shard_size` and `begun` are those of the first command. `spec`, `label`, `weights`, `warnings`,
`unused` (files that the run does not use; names of people may be among them, so that it is never exported),
`environment` and `command` are those of the latest one; but while scores exist and the latest command did not score,
what measured them (evaluator and protocol) stays as it was when they were made; `planned` is then the latest spec as
a whole, which workers go by. `stages` is a list with an entry per
command and stage that made something.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from bench import provenance, registry
from bench.console import say
from bench.data.photos import PhotoStatus
from bench.hashing import sha256_path
from bench.identity import weights
from bench.spec import Part, RunSpec
from bench.stages.plan import FIELDS, Job, warnings
from bench.stages.tables import faces_table, read_faces
from bench.store import read_json, read_record, write_record, write_table

RUN = "run.json"
PHOTOS = "photos.parquet"
STAGES = "stages.json"
"""Next to the features of a dataset's photos, which many runs share: how they were made."""
SCORES = Path("scores") / "scores.json"
MEASURING = ("evaluator", "protocol")
"""Parts of a spec that decide scores and not samples (what of them decides samples is part of the run's id)."""
REPEATED = ("score", "report")
"""Stages whose results a later command replaces as a whole."""


def begin(job: Job, stages: Sequence[str]) -> None:
    """Write what this command declares; an existing run keeps what it was begun with."""
    path = job.folder / RUN
    before = read_record(path, FIELDS) if path.exists() else {}
    if "score" in stages:
        # Until the new ones are there, the run has no scores rather than those of another evaluator.
        (job.folder / SCORES).unlink(missing_ok=True)
    new = record(job, before, measured_before=(job.folder / SCORES).exists())
    write_record(path, new)
    write_photos(job)
    for warning in (*new["warnings"], *new["unused"]):
        say(f"warning: {warning}")


def record(job: Job, before: Mapping[str, Any], measured_before: bool = False) -> dict[str, Any]:
    """Return `run.json`.

    Args:
        job: as planned for the latest command.
        before: the present `run.json`; empty where there is none.
        measured_before: whether scores exist that the latest command leaves as they are.
    """
    spec = job.spec
    new = {
        "id": job.id,
        "method": spec.method.name,
        "label": spec.method.shown,
        "dataset": spec.dataset.label,
        "content": job.content,
        "conditions": job.conditions,
        "gallery": job.photos_folder.name,
        "items": len(job.items),
        "shards": before.get("shards", job.shards),
        "shard_size": before.get("shard_size", spec.execution.shard_size),
        "begun": before.get("begun", time.time()),
        "warnings": [*warnings(job), *dict.fromkeys(edited(spec, before.get("stages", [])))],
        "unused": remarks(job),
        "spec": provenance.masked(spec.model_dump(mode="json")),
        "weights": weights(spec),
        "environment": provenance.environment(),
        "command": provenance.command(sys.argv),
        "stages": before.get("stages", []),
    }
    return _with_measuring(new, before) if measured_before else new


def add_headline(path: Path, numbers: Mapping[str, float]) -> None:
    """Add the numbers on top of the page to `run.json`, where lists of runs find them."""
    write_record(path, read_json(path) | {"headline": dict(numbers)})


def remarks(job: Job) -> list[str]:
    """Return what method and dataset say of files that the run does not use."""
    spec = job.spec
    dataset = registry.get("datasets", spec.dataset.name)(spec.dataset.options)
    method = registry.get("methods", spec.method.name)
    items = job.items[["item", "subject", "key"]]
    of_dataset = dataset.remarks() if hasattr(dataset, "remarks") else []
    of_method = method.remarks(spec.method.options, items, job.samples_per_item) if hasattr(method, "remarks") else []
    return [*of_dataset, *of_method]


def _with_measuring(new: dict[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with what measures as it was: the scores are of that."""
    measuring = tuple(f"{part}." for part in MEASURING)
    of_method = {name: sha for name, sha in new["weights"].items() if not name.startswith(measuring)}
    of_measuring = {name: sha for name, sha in before["weights"].items() if name.startswith(measuring)}
    spec = new["spec"] | {part: before["spec"][part] for part in MEASURING}
    kept = {name: before[name] for name in ("warnings", "headline") if name in before}
    return new | {"spec": spec, "planned": new["spec"], "weights": of_method | of_measuring, **kept}


def write_photos(job: Job) -> None:
    """Write the dataset's table with the names and groups of its list, and what was found in each photo so far."""
    write_table(job.folder / PHOTOS, photos_found(job))


def photos_found(job: Job) -> pd.DataFrame:
    """Return the dataset's table; a photo whose file is fine has the status and the reason that extraction found."""
    images = job.photo_images()
    table = faces_table(images, job.spec)
    if not all(table.has(shard) for shard in range(images.shards)):
        return job.photos
    photos = job.photos.reset_index(drop=True)
    # By row, not by position: the table lacks the rows of people who were removed.
    found = read_faces(images, job.spec).set_index("row").reindex(photos.index)
    is_read = (photos["status"] == PhotoStatus.OK) & found["status"].notna()
    return photos.assign(**{name: photos[name].where(~is_read, found[name]) for name in ("status", "reason")})


def add_stage(
    path: Path, spec: RunSpec, stage: str, made: int, cost: provenance.Cost, device: Mapping[str, Any]
) -> None:
    """Add how a stage was made to the record of a folder.

    Args:
        path: `run.json` of a run, or `stages.json` of a dataset's photos.
        spec: of the run that made it.
        stage: its name.
        made: shards that it made; where it found everything there, no entry is added.
        cost: time and memory.
        device: that made it (`bench.provenance.device`).
    """
    if not made and stage not in REPEATED:
        return
    current = read_json(path) if path.exists() else {"stages": []}
    kept = [old for old in current["stages"] if stage not in REPEATED or old["stage"] != stage]
    write_record(path, current | {"stages": [*kept, _entry(spec, stage, made, cost, device)]})


def _entry(spec: RunSpec, stage: str, made: int, cost: provenance.Cost, device: Mapping[str, Any]) -> dict[str, Any]:
    execution = spec.execution
    return {
        "stage": stage,
        "made": made,
        "parts": {name: _part(group, part) for name, (group, part) in parts_of(spec, stage).items()},
        **provenance.how(cost, execution.workers, execution.threads, device),
    }


def parts_of(spec: RunSpec, stage: str) -> dict[str, tuple[str, Part]]:
    """Return the parts that work in a stage, by their place in the spec: the registry's group, and the part."""
    evaluator = spec.evaluator
    found = {"detector": ("detectors", evaluator.detector)}
    if stage == "generate":
        return {"method": ("methods", spec.method), "conditions": ("conditions", spec.conditions), **found}
    if stage != "extract":
        return {}
    for name, part in (("landmarker", evaluator.landmarker), ("parser", evaluator.parser)):
        if part is not None:
            found[name] = (f"{name}s", part)
    return found | {name: ("extractors", part) for name, part in evaluator.all_extractors.items()}


def _part(group: str, part: Part) -> dict[str, Any]:
    """Return what a record says of a part: where it is from, its options (dtype, batch, …), its code's hash."""
    entry = registry.entries(group)[part.name]
    return {
        "name": part.name,
        "version": part.version,
        "package": asdict(entry.package) if entry.package else None,
        "options": provenance.masked(part.options.model_dump(mode="json")),
        "code_sha256": code_sha256(entry.target),
    }


@lru_cache(maxsize=256)
def code_sha256(target: str) -> str | None:
    """Return the sha256 of the module file of a registered "module:attribute"; None where it has no file."""
    found = find_spec(target.partition(":")[0])
    return sha256_path(Path(found.origin)) if found is not None and found.origin else None


def edited(spec: RunSpec, stages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a warning for each part of another package whose code changed since a stage that it made."""
    return [
        f"the code of {part.name} ({registry.entries(group)[part.name]}) was edited since it made the stage "
        f"{entry['stage']} of this run: execution.on_existing=always makes everything again"
        for entry in stages
        for place, (group, part) in parts_of(spec, entry["stage"]).items()
        if registry.entries(group)[part.name].package
        and (known := entry["parts"].get(place, {})).get("name") == part.name
        and known["code_sha256"] != _part(group, part)["code_sha256"]
    ]
