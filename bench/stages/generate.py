"""Generate: references and seeds become samples, a batch at a time, each committed when it is whole."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from baselines.protocol import Gallery, Method, Output, Reference, Request
from bench import registry
from bench.execution.local import Advance, Work, run_shards
from bench.faces.face import Face
from bench.hashing import sha256_bytes
from bench.images import encode_png, read_image
from bench.runtime import Runtime
from bench.seeds import sample_seed
from bench.stages.extract import feature_table, read_faces, read_features
from bench.stages.plan import Job
from bench.store import table, write_atomic

AI_GENERATED = {"Comment": "AI-generated", "Software": "idbench"}
RECORDED = ["seconds", "note"]
"""Columns of the table `timings`: how a sample was made, which changes nothing in it."""


def generate(job: Job) -> None:
    """Makes every sample that is not there yet."""
    samples = table(job.folder, "samples")
    todo = [s for s in range(job.shards) if not samples.has(s)]
    sizes = [len(_requests_of(job, s)) for s in range(job.shards)]
    run_shards(partial(_setup, job), todo, sizes, job.spec.execution, f"generate {job.folder.name}")


def _requests_of(job: Job, shard: int) -> list[tuple[int, int]]:
    """(position of the item in the list, index of the sample) for every sample of a shard."""
    size = job.spec.execution.shard_size
    items = range(shard * size, min((shard + 1) * size, len(job.items)))
    return [(item, index) for item in items for index in range(job.spec.protocol.samples_per_item)]


def _setup(job: Job) -> Work:
    execution, spec = job.spec.execution, job.spec.method
    runtime = Runtime(execution.device, execution.threads, (job.spec.protocol.prompt,))
    method = registry.get("methods", spec.name)(spec.options, runtime)
    references = References(job)
    return Work(partial(_shard, job, method, references))


def _shard(job: Job, method: Method, references: References, shard: int, _: None, advance: Advance) -> None:
    samples, places = table(job.folder, "samples"), _requests_of(job, shard)
    size = getattr(job.spec.method.options, "batch", None) or job.spec.protocol.samples_per_item
    parts = []
    for number, start in enumerate(range(0, len(places), size)):
        batch = places[start : start + size]
        parts.append(samples.batch(shard, number, partial(_batch, job, method, references, batch)))
        advance(len(batch))
    rows = pd.concat(parts, ignore_index=True)
    table(job.folder, "timings").write(shard, rows[["row", "item", "subject", "index", *RECORDED]])
    samples.write(shard, rows.drop(columns=RECORDED))


def _batch(job: Job, method: Method, references: References, places: Sequence[tuple[int, int]]) -> pd.DataFrame:
    """Makes one batch: PNGs first, then (by the caller) the rows that vouch for them."""
    rows = [_row(job, references, item, index) for item, index in places]
    asked = [row for row in rows if row["status"] == "ok"]
    requests = [
        Request(references[row["position"]], row["index"], row["seed"], job.spec.protocol.prompt) for row in asked
    ]
    started = time.perf_counter()
    outputs = ask(method, requests)
    seconds = (time.perf_counter() - started) / max(len(asked), 1)
    for row, output in zip(asked, outputs, strict=True):
        row.update(_commit(job, row, output), seconds=seconds, note=output.note)
    return pd.DataFrame(rows).drop(columns=["position", "key"])


def _row(job: Job, references: References, item: int, index: int) -> dict[str, Any]:
    spec, photo, k = job.spec, job.items.iloc[item], job.spec.protocol.samples_per_item
    status = "ok" if references.status[item] == "ok" else "reference_failed"
    seed = sample_seed(spec.protocol.seed, spec.dataset.label, photo["item"], index, spec.protocol.prompt)
    return {
        "row": item * k + index, "item": photo["item"], "subject": photo["subject"], "index": index,
        "prompt_id": spec.protocol.prompt_id, "seed": seed, "path": "", "sha256": "", "width": 0, "height": 0,
        "status": status, "reason": "" if status == "ok" else f"reference: {references.status[item]}",
        "seconds": 0.0, "note": "", "position": item, "key": photo["key"],
    }  # fmt: skip


def ask(method: Method, requests: Sequence[Request]) -> list[Output]:
    """The method's outputs; whatever it raises becomes the reason of every sample of the batch."""
    if not requests:
        return []
    try:
        outputs = method.generate(requests)
    except Exception as error:  # noqa: BLE001  a method may fail in any way: each sample keeps the reason
        return [Output(error=f"{type(error).__name__}: {error}")] * len(requests)
    if len(outputs) != len(requests):
        return [Output(error=f"the method gave {len(outputs)} outputs for {len(requests)} requests")] * len(requests)
    return outputs


def _commit(job: Job, row: dict[str, Any], output: Output) -> dict[str, Any]:
    """Writes the picture; returns the fields of the row that tell what came out."""
    if output.unavailable:
        return {"status": "unavailable", "reason": output.error or ""}
    image, wrong = output.image, output.error
    if wrong is None and not is_picture(image):
        wrong = f"the method gave no (H, W, 3) uint8 picture but {_describe(image)}"
    if wrong is not None or image is None:
        return {"status": "generation_error", "reason": str(wrong)}
    generates = getattr(registry.get("methods", job.spec.method.name), "generates", True)
    data = encode_png(image, AI_GENERATED if generates else {})
    path = Path("samples") / row["key"] / f"{row['index']}.png"
    write_atomic(job.folder / path, data)
    height, width = image.shape[:2]
    return {"path": path.as_posix(), "sha256": sha256_bytes(data), "width": width, "height": height}


def is_picture(image: Any) -> bool:
    return isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


def _describe(image: Any) -> str:
    return f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__


class References:
    """What the method may see of each item, read when it is asked for."""

    def __init__(self, job: Job) -> None:
        self._job, pictures = job, job.photo_pictures()
        faces = read_faces(pictures, job.spec)
        self._rows = np.flatnonzero((job.photos["role"] == "reference").to_numpy())
        self.status = [str(s) for s in faces["status"].iloc[self._rows]]
        self._faces = faces
        self._embeddings = {
            need.removeprefix("embedding:"): read_features(
                feature_table(pictures, job.spec, need.removeprefix("embedding:")), pictures.shards
            )
            for need in job.needs
            if need.startswith("embedding:")
        }
        self._gallery = self._make_gallery() if "gallery" in job.needs else None
        self._one = lru_cache(maxsize=64)(self._read)

    def __getitem__(self, item: int) -> Reference:
        return self._one(item)

    def _read(self, item: int) -> Reference:
        job, photo, row = self._job, self._job.items.iloc[item], self._rows[item]
        path = Path(photo["path"])
        return Reference(
            item=photo["item"],
            subject=photo["subject"],
            key=photo["key"],
            path=path if "image" in job.needs else None,
            image=read_image(path) if "image" in job.needs else None,
            face=face_of(self._faces.iloc[row]) if "face" in job.needs else None,
            embeddings={name: features[row] for name, features in self._embeddings.items()},
            gallery=self._gallery,
        )

    def _make_gallery(self) -> Gallery:
        job, photos = self._job, self._job.photos
        targets = photos[(photos["role"] == "target") & (photos["status"] == "ok")]
        eligible = [i for i, status in enumerate(self.status) if status == "ok"]
        rows = job.items.iloc[eligible]
        return Gallery(
            references=[
                (item, subject, Path(path))
                for item, subject, path in zip(rows["item"], rows["subject"], rows["path"], strict=True)
            ],
            targets={str(s): [Path(p) for p in group["path"]] for s, group in targets.groupby("subject")},
            read=read_image,
            seed=job.spec.protocol.seed,
            samples_per_item=job.spec.protocol.samples_per_item,
        )


def face_of(row: pd.Series) -> Face:
    """The face of a row of the faces table whose status is ok."""
    return Face(
        box=np.asarray(row["box"], np.float32),
        score=float(row["score"]),
        keypoints=np.asarray(row["keypoints"], np.float32).reshape(5, 2),
    )
