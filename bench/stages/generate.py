"""Generate: references and seeds become samples, a batch at a time, each committed while the next one is made."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from baselines.protocol import Collection, Method, Output, Reference, Request
from bench import registry
from bench.conditions.cells import ConditionFiles
from bench.conditions.kinds import ConditionKind
from bench.data.photos import PhotoStatus
from bench.execution.engine import Stage
from bench.execution.faults import is_machine_fault
from bench.execution.work import Advance, Task, Work
from bench.hashing import sha256_bytes
from bench.images import ChangedImageError, Image, encode_png, read_known_image
from bench.runtime import Runtime
from bench.sample_files import Png, changed, gathered, table_of, tar_file, write_files, write_tar
from bench.spec import recognisers_needed
from bench.stages.face_finder import face_of_row
from bench.stages.log import LOG, log_traceback
from bench.stages.plan import Job, accepted, reference_rows
from bench.stages.seeds import sample_seed
from bench.stages.tables import feature_table, read_faces, read_features
from bench.status import SampleStatus
from bench.store import ShardTable, shard_table

AI_GENERATED = {"Comment": "AI-generated", "Software": "idbench"}
LONGEST = 1000
"""Characters of a reason or a note that a row keeps."""
TIMING_COLUMNS = ["seconds", "note"]
"""Columns of the table `timings`: how a sample was made, which changes nothing in it."""


def generation(stage: Stage, job: Job) -> Task:
    """Return the task that makes every sample that is not there yet."""
    bounds = job.bounds

    def items(shard: int) -> list[str]:
        return [str(item) for item in job.samples["item"].iloc[bounds[shard] : bounds[shard + 1]].unique()]

    sizes = [end - begin for begin, end in pairwise(bounds)]
    return Task(stage, partial(_setup, job), [shard_table(job.folder, "samples")], sizes, items)


def _setup(job: Job) -> Work:
    execution = job.spec.execution
    spec = job.spec.method
    runtime = Runtime(execution.device, execution.threads, tuple(job.spec.protocol.texts.values()), job.folder / LOG)
    method = registry.get("methods", spec.name)(spec.options, runtime)
    return Work(partial(_shard, job, method, Asked(job)), close=getattr(method, "close", None))


def batch_size(job: Job) -> int:
    """Return how many samples the method is asked for, and are committed, at a time."""
    return getattr(job.spec.method.options, "batch", None) or job.spec.protocol.samples_per_item


def _shard(job: Job, method: Method, asked: Asked, shard: int, _: None, advance: Advance) -> None:
    """Make the samples of a shard; while the method makes a batch, the one before is encoded and written."""
    samples = shard_table(job.folder, "samples")
    rows = job.samples.iloc[job.bounds[shard] : job.bounds[shard + 1]]
    size = batch_size(job)
    starts = range(0, len(rows), size)
    with ThreadPoolExecutor(1) as writer:
        written: list[Future[None]] = []
        for number, start in enumerate(starts):
            batch = rows.iloc[start : start + size].to_dict("records")
            if not _is_kept(job, samples, shard, number, batch):
                made = _make(job, method, asked, batch)
                # Before the next batch is asked for, the one before this is on the disk.
                for before in written:
                    before.result()
                written = [writer.submit(_keep, job, made, samples, shard, number)]
            advance(len(batch))
        for last in written:
            last.result()
    made_rows = pd.concat([samples.read_batch(shard, number) for number in range(len(starts))], ignore_index=True)
    made_rows = gathered(job.folder, made_rows, tar_file(job.folder, shard), job.keys)
    shard_table(job.folder, "timings").write(shard, made_rows[["row", "item", "subject", "index", *TIMING_COLUMNS]])
    samples.write(shard, made_rows.drop(columns=TIMING_COLUMNS))


def batch_tar(samples: ShardTable, shard: int, number: int) -> Path:
    """Return the tar of a batch of an unfinished shard."""
    return samples.batch(shard, number).with_suffix(".tar")


def _is_kept(job: Job, samples: ShardTable, shard: int, number: int, planned: Sequence[Mapping[Any, Any]]) -> bool:
    """Return whether a batch is committed and its images are what was made."""
    if not samples.has_batch(shard, number, [row["row"] for row in planned]):
        return False
    return not changed(job.folder, samples.read_batch(shard, number), "batch").any()


class _Made(NamedTuple):
    """A batch as the method made it.

    Attributes:
        rows: of all samples, without what came out.
        places: in `rows` of those that the method was asked for.
        requests: what it was asked for.
        outputs: what it gave.
        seconds: that each took.
    """

    rows: list[dict[str, Any]]
    places: list[int]
    requests: list[Request]
    outputs: list[Output]
    seconds: float


def _make(job: Job, method: Method, asked: Asked, planned: Sequence[Mapping[Any, Any]]) -> _Made:
    """Ask the method for one batch."""
    rows = [_row(job, asked.fault(row), row) for row in planned]
    places = [place for place, row in enumerate(rows) if row["status"] == SampleStatus.OK]
    requests = [asked.request(planned[place], rows[place]["seed"]) for place in places]
    started = time.perf_counter()
    outputs = ask(method, requests, job.folder)
    return _Made(rows, places, requests, outputs, (time.perf_counter() - started) / max(len(requests), 1))


def _keep(job: Job, made: _Made, samples: ShardTable, shard: int, number: int) -> None:
    """Commit one batch: PNGs first, then the rows that vouch for them."""
    samples.keep_batch(shard, number, _written(job, made, batch_tar(samples, shard, number)))


def _written(job: Job, made: _Made, tar: Path) -> pd.DataFrame:
    """Write the images of a batch, into `tar` or a file each, and return its rows."""
    rows = [dict(row) for row in made.rows]
    images: dict[int, Png] = {}
    for place, request, output in zip(made.places, made.requests, made.outputs, strict=True):
        fields, data = _encoded(job, output)
        rows[place].update(fields, seconds=made.seconds, note=output.note[:LONGEST])
        if data is not None:
            images[place] = Png(request.reference.key, request.index, data)
    for place, where in zip(images, _stored(job, tar, list(images.values())), strict=True):
        rows[place].update(where)
    return table_of(rows)


def _stored(job: Job, tar: Path, images: Sequence[Png]) -> list[dict[str, Any]]:
    if images and job.spec.execution.samples == "tar":
        return write_tar(job.folder, tar, images)
    return write_files(job.folder, images)


def _row(job: Job, fault: str | None, planned: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the row of a sample before it is made.

    Args:
        job: of the run.
        fault: why the photos that it is made from cannot be used; None where they can.
        planned: the sample's row of the plan.
    """
    protocol = job.spec.protocol
    text = protocol.texts[planned["prompt_id"]]
    return {
        **{name: planned[name] for name in ("row", "item", "subject", "index", "prompt_id")},
        "seed": sample_seed(protocol.seed, job.spec.dataset.label, planned["seed_key"], planned["seed_index"], text),
        "path": "",
        "sha256": "",
        "width": 0,
        "height": 0,
        "status": str(SampleStatus.OK if fault is None else SampleStatus.REFERENCE_FAILED),
        "reason": "" if fault is None else f"reference: {fault}",
        "seconds": 0.0,
        "note": "",
    }


def ask(method: Method, requests: Sequence[Request], folder: Path) -> list[Output]:
    """Return the method's outputs; what it raises is logged and is the reason of every sample of the batch.

    Raises:
        Exception: the machine's fault, which is nothing that a sample may be blamed for.
    """
    if not requests:
        return []
    try:
        outputs = method.generate(requests)
    except ChangedImageError:
        raise
    # A method may fail in any way: each sample keeps the reason.
    except Exception as error:
        log_traceback(folder, f"{requests[0].reference.item}, sample {requests[0].index} and its batch", error)
        if is_machine_fault(error):
            raise
        return [Output(error=f"{type(error).__name__}: {error}")] * len(requests)
    if len(outputs) != len(requests):
        return [Output(error=f"the method gave {len(outputs)} outputs for {len(requests)} requests")] * len(requests)
    return outputs


def _encoded(job: Job, output: Output) -> tuple[dict[str, Any], bytes | None]:
    """Return the fields of the row that say what came out, and the PNG where an image did."""
    if output.unavailable:
        return {"status": str(SampleStatus.UNAVAILABLE), "reason": (output.error or "")[:LONGEST]}, None
    image = output.image
    wrong = output.error
    if wrong is None and not is_image(image):
        wrong = f"the method gave no (H, W, 3) uint8 image but {_describe(image)}"
    if wrong is not None or image is None:
        return {"status": str(SampleStatus.GENERATION_ERROR), "reason": str(wrong)[:LONGEST]}, None
    generates = getattr(registry.get("methods", job.spec.method.name), "generates", True)
    data = encode_png(image, AI_GENERATED if generates else {})
    height, width = image.shape[:2]
    return {"sha256": sha256_bytes(data), "width": width, "height": height}, data


def is_image(image: Any) -> bool:
    """Return whether something is an image as the project passes them on: (H, W, 3) uint8."""
    return isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


def _describe(image: Any) -> str:
    return f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__


class Asked:
    """What the method is asked for: each sample's request, made when its turn comes."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._many = ConditionKind.REFERENCES in accepted(job.spec)
        self._conditions = ConditionFiles(job.folder)
        self._row = {str(name): row for row, name in enumerate(job.photos["image"])}
        self._rows = reference_rows(job.photos)
        self._sha256 = dict(zip(job.photos["path"], job.photos["sha256"], strict=True))
        self._read_tables()
        self._collection = self._make_collection() if "collection" in job.needs else None
        self._reference = lru_cache(maxsize=64)(self._read)

    def fault(self, planned: Mapping[Any, Any]) -> str | None:
        """Return why a sample's photos cannot be used, its item's own or all that it names; None where they can."""
        own = self._rows[planned["item"]][0]
        if self._is_absent[own]:
            # The plan has checked that the condition holds all that the method needs.
            return None
        if not self._has_face[own]:
            return self._reasons[own]
        return None if self._good(planned) else self._reasons[self._named(planned)[0]]

    def request(self, planned: Mapping[Any, Any], seed: int) -> Request:
        """Return the request of a row of the plan whose photos can be used."""
        return Request(
            reference=self._reference(self._rows[planned["item"]][0]),
            index=planned["index"],
            seed=seed,
            prompt=self._job.spec.protocol.texts[planned["prompt_id"]],
            prompt_id=planned["prompt_id"],
            references=tuple(map(self._reference, self._good(planned))),
            condition=self._conditions.condition(planned),
        )

    def _named(self, planned: Mapping[Any, Any]) -> Sequence[int]:
        """Return the photos of a sample: those that its condition names, else the item's; its own where one is read."""
        names = planned.get(ConditionKind.REFERENCES)
        if names is not None:
            return [self._row[str(name)] for name in names]
        rows = self._rows[planned["item"]]
        return rows if self._many else rows[:1]

    def _good(self, planned: Mapping[Any, Any]) -> list[int]:
        """Return the photos of a sample that have a face."""
        return [row for row in self._named(planned) if self._has_face[row]]

    def _read_tables(self) -> None:
        job, images = self._job, self._job.photo_images()
        self._faces = read_faces(images, job.spec)
        self._has_face = (self._faces["status"] == SampleStatus.OK).to_numpy()
        self._is_absent = (job.photos["status"] == PhotoStatus.ABSENT).to_numpy()
        self._reasons = self._faces["reason"].tolist()
        self._embeddings = {
            name: read_features(feature_table(images, job.spec, name), images.shards)
            for name in recognisers_needed(job.needs)
        }

    def _read(self, row: int) -> Reference:
        needs = self._job.needs
        photo = self._job.photos.iloc[row]
        path = Path(photo["path"])
        return Reference(
            item=photo["item"],
            subject=photo["subject"],
            key=photo["key"],
            photo=photo["image"],
            path=path if "image" in needs else None,
            image=self._image(path) if "image" in needs else None,
            face=face_of_row(self._faces.iloc[row]) if "face" in needs else None,
            embeddings={name: features[row] for name, features in self._embeddings.items()},
            collection=self._collection,
        )

    def _image(self, path: Path) -> Image:
        """Return one of the dataset's photos."""
        return read_known_image(path, self._sha256[str(path)])

    def _make_collection(self) -> Collection:
        job = self._job
        photos = job.photos
        # A target that is damaged or shows no face is nobody's failure: there is nothing to show.
        targets = photos[(photos["role"] == "target") & self._has_face]
        rows = job.items[[bool(self._has_face[self._rows[item][0]]) for item in job.items["item"]]]
        return Collection(
            references=[
                (item, subject, Path(path))
                for item, subject, path in zip(rows["item"], rows["subject"], rows["path"], strict=True)
            ],
            targets={str(s): [Path(p) for p in group["path"]] for s, group in targets.groupby("subject")},
            read=self._image,
            seed=job.spec.protocol.seed,
            samples_per_item=job.samples_per_item,
        )
