"""Generate: references and seeds become samples, a batch at a time, each committed when it is whole."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from baselines.protocol import Collection, Method, Output, Reference, Request
from bench import registry
from bench.execution.local import Advance, Work, run_shards
from bench.hashing import sha256_bytes
from bench.images import encode_png, read_image
from bench.runtime import Runtime
from bench.spec import recognisers_needed
from bench.stages.face_finder import face_of_row
from bench.stages.log import LOG, log_traceback
from bench.stages.plan import Job
from bench.stages.seeds import sample_seed
from bench.stages.tables import feature_table, read_faces, read_features
from bench.status import SampleStatus
from bench.store import shard_table, write_atomic

AI_GENERATED = {"Comment": "AI-generated", "Software": "idbench"}
TIMING_COLUMNS = ["seconds", "note"]
"""Columns of the table `timings`: how a sample was made, which changes nothing in it."""


def generate(job: Job) -> int:
    """Make every sample that is not there yet; return how many shards missed some."""
    samples = shard_table(job.folder, "samples")
    todo = [s for s in range(job.shards) if not samples.has(s)]
    sizes = [len(_requests_of(job, s)) for s in range(job.shards)]
    run_shards(partial(_setup, job), todo, sizes, job.spec.execution, f"generate {job.folder.name}")
    return len(todo)


def _requests_of(job: Job, shard: int) -> list[tuple[int, int]]:
    """Return (position of the item in the list, index of the sample) for every sample of a shard."""
    size = job.spec.execution.shard_size
    items = range(shard * size, min((shard + 1) * size, len(job.items)))
    return [(item, index) for item in items for index in range(job.spec.protocol.samples_per_item)]


def _setup(job: Job) -> Work:
    execution = job.spec.execution
    spec = job.spec.method
    runtime = Runtime(execution.device, execution.threads, (job.spec.protocol.prompt,), job.folder / LOG)
    method = registry.get("methods", spec.name)(spec.options, runtime)
    references = References(job)
    return Work(partial(_shard, job, method, references))


def batch_size(job: Job) -> int:
    """Return how many samples the method is asked for, and are committed, at a time."""
    return getattr(job.spec.method.options, "batch", None) or job.spec.protocol.samples_per_item


def _shard(job: Job, method: Method, references: References, shard: int, _: None, advance: Advance) -> None:
    samples = shard_table(job.folder, "samples")
    places = _requests_of(job, shard)
    size = batch_size(job)
    batches = []
    for number, start in enumerate(range(0, len(places), size)):
        batch = places[start : start + size]
        batches.append(samples.batch(shard, number, partial(_batch, job, method, references, batch)))
        advance(len(batch))
    rows = pd.concat(batches, ignore_index=True)
    shard_table(job.folder, "timings").write(shard, rows[["row", "item", "subject", "index", *TIMING_COLUMNS]])
    samples.write(shard, rows.drop(columns=TIMING_COLUMNS))


def _batch(job: Job, method: Method, references: References, places: Sequence[tuple[int, int]]) -> pd.DataFrame:
    """Make one batch: PNGs first, then (by the caller) the rows that vouch for them."""
    rows = [_row(job, references, item, index) for item, index in places]
    asked = [row for row in rows if row["status"] == SampleStatus.OK]
    requests = [
        Request(references[row["position"]], row["index"], row["seed"], job.spec.protocol.prompt) for row in asked
    ]
    started = time.perf_counter()
    outputs = ask(method, requests, job.folder)
    seconds = (time.perf_counter() - started) / max(len(asked), 1)
    for row, output in zip(asked, outputs, strict=True):
        row.update(_commit(job, row, output), seconds=seconds, note=output.note)
    return pd.DataFrame(rows).drop(columns=["position", "key"])


def _row(job: Job, references: References, item: int, index: int) -> dict[str, Any]:
    spec = job.spec
    photo = job.items.iloc[item]
    eligible = references.status[item] == SampleStatus.OK
    seed = sample_seed(spec.protocol.seed, spec.dataset.label, photo["item"], index, spec.protocol.prompt)
    return {
        "row": item * spec.protocol.samples_per_item + index,
        "item": photo["item"],
        "subject": photo["subject"],
        "index": index,
        "prompt_id": spec.protocol.prompt_id,
        "seed": seed,
        "path": "",
        "sha256": "",
        "width": 0,
        "height": 0,
        "status": str(SampleStatus.OK if eligible else SampleStatus.REFERENCE_FAILED),
        "reason": "" if eligible else f"reference: {references.reason[item]}",
        "seconds": 0.0,
        "note": "",
        "position": item,
        "key": photo["key"],
    }


def ask(method: Method, requests: Sequence[Request], folder: Path) -> list[Output]:
    """Return the method's outputs; what it raises is logged and is the reason of every sample of the batch."""
    if not requests:
        return []
    try:
        outputs = method.generate(requests)
    # A method may fail in any way: each sample keeps the reason.
    except Exception as error:  # noqa: BLE001
        log_traceback(folder, f"{requests[0].reference.item}, sample {requests[0].index} and its batch", error)
        return [Output(error=f"{type(error).__name__}: {error}")] * len(requests)
    if len(outputs) != len(requests):
        return [Output(error=f"the method gave {len(outputs)} outputs for {len(requests)} requests")] * len(requests)
    return outputs


def _commit(job: Job, row: dict[str, Any], output: Output) -> dict[str, Any]:
    """Write the image; return the fields of the row that say what came out."""
    if output.unavailable:
        return {"status": str(SampleStatus.UNAVAILABLE), "reason": output.error or ""}
    image = output.image
    wrong = output.error
    if wrong is None and not is_image(image):
        wrong = f"the method gave no (H, W, 3) uint8 image but {_describe(image)}"
    if wrong is not None or image is None:
        return {"status": str(SampleStatus.GENERATION_ERROR), "reason": str(wrong)}
    generates = getattr(registry.get("methods", job.spec.method.name), "generates", True)
    data = encode_png(image, AI_GENERATED if generates else {})
    path = Path("samples") / row["key"] / f"{row['index']}.png"
    write_atomic(job.folder / path, data)
    height, width = image.shape[:2]
    return {"path": path.as_posix(), "sha256": sha256_bytes(data), "width": width, "height": height}


def is_image(image: Any) -> bool:
    """Return whether something is an image as the project passes them on: (H, W, 3) uint8."""
    return isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


def _describe(image: Any) -> str:
    return f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__


class References:
    """The references as the method may see them, each read when it is asked for."""

    def __init__(self, job: Job) -> None:
        images = job.photo_images()
        self._job = job
        self._rows = np.flatnonzero((job.photos["role"] == "reference").to_numpy())
        self._faces = read_faces(images, job.spec)
        self.status = [SampleStatus(status) for status in self._faces["status"].iloc[self._rows]]
        self.reason = self._faces["reason"].iloc[self._rows].tolist()
        self._embeddings = {
            name: read_features(feature_table(images, job.spec, name), images.shards)
            for name in recognisers_needed(job.needs)
        }
        self._collection = self._make_collection() if "collection" in job.needs else None
        self._one = lru_cache(maxsize=64)(self._read)

    def __getitem__(self, item: int) -> Reference:
        return self._one(item)

    def _read(self, item: int) -> Reference:
        job = self._job
        photo = job.items.iloc[item]
        row = self._rows[item]
        path = Path(photo["path"])
        return Reference(
            item=photo["item"],
            subject=photo["subject"],
            key=photo["key"],
            path=path if "image" in job.needs else None,
            image=read_image(path) if "image" in job.needs else None,
            face=face_of_row(self._faces.iloc[row]) if "face" in job.needs else None,
            embeddings={name: features[row] for name, features in self._embeddings.items()},
            collection=self._collection,
        )

    def _make_collection(self) -> Collection:
        job = self._job
        photos = job.photos
        # A target that is damaged or shows no face is nobody's failure: there is nothing to show.
        has_face = (self._faces["status"] == SampleStatus.OK).to_numpy()
        targets = photos[(photos["role"] == "target") & has_face]
        eligible = [i for i, status in enumerate(self.status) if status == SampleStatus.OK]
        rows = job.items.iloc[eligible]
        return Collection(
            references=[
                (item, subject, Path(path))
                for item, subject, path in zip(rows["item"], rows["subject"], rows["path"], strict=True)
            ],
            targets={str(s): [Path(p) for p in group["path"]] for s, group in targets.groupby("subject")},
            read=read_image,
            seed=job.spec.protocol.seed,
            samples_per_item=job.spec.protocol.samples_per_item,
        )
