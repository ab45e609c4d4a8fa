"""Extract: each image is decoded once, its face found once, each view cut once, for all networks that miss it.

Works alike on a run's samples and on a dataset's photos (`ImageList`). A shard is made whole: first the crops of all
its images (decoding and warping in threads, detection meanwhile), then every missing network over the shard's
crops, at its declared batch, the last one padded; membership of a batch depends on the list alone. While the networks
run over one shard, the crops of the next are cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.execution.engine import Stage
from bench.execution.work import Advance, Task, Work
from bench.extractors.protocol import FEATURE, ReadsKeypoints, ReadsPrompts, columns_of
from bench.faces.views import Crop
from bench.spec import Part, RunSpec, view_of
from bench.stages.crops import CropsByView, ReferenceCrops, batches, cut_all, needs_landmarks, wanted_views
from bench.stages.face_finder import FaceFinder
from bench.stages.networks import Networks
from bench.stages.plan import ImageList
from bench.stages.tables import (
    KEYS,
    by_row,
    faces_table,
    feature_table,
    is_pairwise,
    landmarks_table,
    read_by,
    texts_table,
)
from bench.status import ViewStatus


def extraction(
    stage: Stage,
    images: ImageList,
    spec: RunSpec,
    names: Sequence[str],
    networks: Networks,
    references: ImageList | None = None,
) -> Task:
    """Return the task that finds the faces of all images and runs the networks `names` where their results are missing.

    Args:
        stage: what the task is called.
        images: a run's samples or a dataset's photos.
        spec: protocol, evaluator and execution.
        names: extractors; a pair extractor needs `references`.
        networks: of the spec's evaluator; those that were loaded before are not loaded again.
        references: the dataset's photos, extracted before: a pair extractor also compares each sample with its item's.
    """
    tables = [faces_table(images, spec), *(feature_table(images, spec, name) for name in names)]
    landmarks = landmarks_table(images, spec)
    views = [view_of(spec.evaluator.all_extractors[name]) for name in names]
    if landmarks is not None and needs_landmarks(spec, views):
        tables.append(landmarks)
    setup = partial(_setup, networks, images, spec, tuple(names), references)
    return Task(stage, setup, tables, images.sizes(), images.items)


def _setup(
    networks: Networks, images: ImageList, spec: RunSpec, names: tuple[str, ...], references: ImageList | None
) -> Work:
    reference_crops = ReferenceCrops(networks, references, spec) if references is not None else None
    begin = partial(_begin, networks, images, spec, names)
    return Work(partial(_finish, networks, images, spec, reference_crops), begin)


def _begin(
    networks: Networks, images: ImageList, spec: RunSpec, names: Sequence[str], shard: int, advance: Advance
) -> tuple[list[str], CropsByView]:
    """Return the extractors that a shard misses, and all crops that they read."""
    missing = [name for name in names if not feature_table(images, spec, name).has(shard)]
    return missing, _crops(networks, images, spec, shard, missing, advance)


def _finish(
    networks: Networks,
    images: ImageList,
    spec: RunSpec,
    references: ReferenceCrops | None,
    shard: int,
    begun: tuple[list[str], CropsByView],
    _: Advance,
) -> None:
    rows = images.shard(shard)
    missing, crops = begun
    for name in missing:
        extractor = spec.evaluator.all_extractors[name]
        network = networks.part("extractors", extractor)
        view = view_of(extractor)
        if isinstance(network, ReadsPrompts) and "prompt_id" in rows:
            texts_table(images, spec, name).write(shard, _texts(network, spec, rows))
        if is_pairwise(extractor):
            assert references is not None
            of_references = references.of([str(item) for item in rows["item"].unique()], view)
            found = _pairs(network, rows, crops[view], of_references)
        else:
            found = _features(network, extractor, rows, crops[view], read_by(spec, name, rows))
        feature_table(images, spec, name).write(shard, found)


def _crops(
    networks: Networks, images: ImageList, spec: RunSpec, shard: int, names: Sequence[str], advance: Advance
) -> CropsByView:
    """Return all crops of a shard's images that the networks `names` read; commit its faces and landmarks."""
    rows = images.shard(shard)
    faces = faces_table(images, spec)
    landmarks = landmarks_table(images, spec)
    finder = FaceFinder(networks, spec, by_row(faces, [shard]), by_row(landmarks, [shard]))
    wanted = wanted_views(spec, names, rows)
    crops = cut_all(networks, spec, rows, finder, wanted, advance)
    finder.commit(shard, faces, landmarks if any(needs_landmarks(spec, views) for views in wanted) else None)
    return crops


def _features(
    network: Any, extractor: Part, rows: pd.DataFrame, crops: Sequence[Crop], read: NDArray[np.bool_]
) -> pd.DataFrame:
    """Return the feature table of a shard: keys, status, what the crop recorded, and the network's columns.

    Images outside `read` are not shown to the network; they have the status "not_read".
    """
    table = _keys(rows, crops)
    table["status"] = table["status"].where(read, str(ViewStatus.NOT_READ))
    shown = [int(k) for k in np.flatnonzero(read)]
    columns = _columns(network, extractor, [crops[k] for k in shown])
    finite = np.isfinite(columns[FEATURE]).all(axis=1)
    broken = [k for k, fine in zip(shown, finite, strict=True) if not fine and table["status"][k] == ViewStatus.OK]
    table.loc[broken, "status"] = str(ViewStatus.NOT_FINITE)
    good = (table["status"] == ViewStatus.OK).to_numpy()
    for name, values in columns.items():
        answers = dict(zip(shown, values, strict=True))
        table[name] = [answers[k] if ok else None for k, ok in enumerate(good)]
    return table


def _columns(network: Any, extractor: Part, crops: Sequence[Crop]) -> dict[str, NDArray[Any]]:
    """Return the network's answers for all crops, by name; an empty feature where there is no crop.

    The column that metrics compare is "feature", (n, d), whatever the network calls it and if it is a single number.
    """
    if not crops:
        return {FEATURE: np.empty((0, 1), np.float32)}
    found: dict[str, list[NDArray[Any]]] = {}
    for answer, count in _answers(network, crops, extractor.options.batch):  # type: ignore[attr-defined]
        for name, values in answer.items():
            found.setdefault(name, []).append(np.asarray(values)[:count])
    columns = {name: np.concatenate(values) for name, values in found.items()}
    feature = columns.pop(next(iter(columns_of(network))))
    return {FEATURE: feature.reshape(len(crops), -1), **columns}


def _answers(network: Any, crops: Sequence[Crop], batch: int) -> Iterator[tuple[Mapping[str, NDArray[Any]], int]]:
    """Yield the network's answer to each batch, with the number of its rows that count."""
    full_batches = batches(np.stack([crop.pixels for crop in crops]), batch)
    if not isinstance(network, ReadsKeypoints):
        yield from ((network.extract(full), count) for full, count in full_batches)
        return
    points = np.stack([np.zeros((5, 2)) if crop.keypoints is None else crop.keypoints for crop in crops])
    for (full, count), (full_points, _) in zip(full_batches, batches(points, batch), strict=True):
        yield network.embed(full, full_points), count


def _texts(network: ReadsPrompts, spec: RunSpec, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the embeddings of the prompts that a shard's samples were made from: prompt_id, feature."""
    texts = spec.protocol.texts
    names = [str(name) for name in rows["prompt_id"].unique()]
    return pd.DataFrame({"prompt_id": names, FEATURE: list(network.texts([texts[name] for name in names]))})


def _keys(rows: pd.DataFrame, crops: Sequence[Crop]) -> pd.DataFrame:
    return (
        rows[KEYS]
        .reset_index(drop=True)
        .assign(
            status=[str(crop.status) for crop in crops],
            padded=[crop.padded for crop in crops],
            foreground=[crop.foreground for crop in crops],
        )
    )


def _pairs(network: Any, rows: pd.DataFrame, crops: Sequence[Crop], references: Mapping[str, Crop]) -> pd.DataFrame:
    """Return the pair table of a shard: a row per pair of an item's samples, and per sample and reference (j = -1).

    `value` is None where one of the two is missing; `foreground_i` and `foreground_j` are the shares of the two crops
    that their masks kept.
    """
    table: list[dict[str, Any]] = []
    for item, group in rows[KEYS].reset_index(drop=True).groupby("item", sort=False):
        members = [*(crops[i] for i in group.index), references[str(item)]]
        distances = network.distances(np.stack([crop.pixels for crop in members]))
        keys: list[dict[Any, Any]] = [*group.to_dict("records"), {"index": -1}]
        table += [
            _pair(keys[a], keys[b], members[a], members[b], distances[a, b])
            for a, b in combinations(range(len(members)), 2)
        ]
    return pd.DataFrame(table)


def _pair(first: Mapping[Any, Any], second: Mapping[Any, Any], one: Crop, other: Crop, value: float) -> dict[str, Any]:
    status = next((crop.status for crop in (one, other) if crop.status != ViewStatus.OK), ViewStatus.OK)
    return {
        "row": first["row"], "item": first["item"], "subject": first["subject"], "i": first["index"],
        "j": second["index"], "status": str(status), "value": float(value) if status == ViewStatus.OK else None,
        "foreground_i": one.foreground, "foreground_j": other.foreground,
    }  # fmt: skip
