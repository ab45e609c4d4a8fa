"""Extract: each image is decoded once, its face found once, each view cut once, for all networks that miss it.

Works alike on a run's samples and on a dataset's photos (`ImageList`). A shard is made in pieces of about `IMAGES`
images: first a piece's crops (decoding and warping in threads, detection meanwhile), then every missing network over
them, at its declared batch, the last one of the shard padded; membership of a batch depends on the list alone. While
the networks run over one piece, the crops of the next are cut, whether it is of the same shard or of the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from math import lcm
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.execution.engine import Stage
from bench.execution.work import Advance, Task, Work, begun_ahead
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

IMAGES = 128
"""Images, about, whose crops are in memory at a time; as many are cut meanwhile, and the first of the next shard."""


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


@dataclass(frozen=True, eq=False)
class _Begun:
    """A shard whose first images are cut.

    Attributes:
        missing: extractors whose tables it lacks.
        pieces: parts of its images, each of whole batches.
        cut: number of a piece -> its crops; to be called in order.
    """

    missing: list[str]
    pieces: list[slice]
    cut: Callable[[int, Advance], CropsByView]


def _begin(
    networks: Networks, images: ImageList, spec: RunSpec, names: Sequence[str], shard: int, advance: Advance
) -> _Begun:
    """Return the extractors that a shard misses, and the crops that they read: those of the first piece are cut."""
    missing = [name for name in names if not feature_table(images, spec, name).has(shard)]
    rows, pieces = images.shard(shard), _pieces(spec, len(images.shard(shard)))
    faces, landmarks = faces_table(images, spec), landmarks_table(images, spec)
    finder = FaceFinder(networks, spec, by_row(faces, [shard]), by_row(landmarks, [shard]))
    wanted = wanted_views(spec, missing, rows)

    def cut(number: int, step: Advance) -> CropsByView:
        piece = pieces[number]
        crops = cut_all(networks, spec, rows.iloc[piece], finder, wanted[piece], step)
        if number == len(pieces) - 1:
            finder.commit(shard, faces, landmarks if any(needs_landmarks(spec, views) for views in wanted) else None)
        return crops

    first = cut(0, advance)
    return _Begun(missing, pieces, lambda number, step: first if number == 0 else cut(number, step))


def _pieces(spec: RunSpec, count: int) -> list[slice]:
    """Return parts of a shard's images, about `IMAGES` each: whole batches of every network, so that none changes."""
    evaluator = spec.evaluator
    parts = [*evaluator.all_extractors.values(), *([evaluator.parser] if evaluator.parser else [])]
    common = lcm(*(getattr(part.options, "batch", None) or 1 for part in parts))
    step = common * max(1, IMAGES // common)
    return [slice(start, start + step) for start in range(0, max(count, 1), step)]


def _finish(
    networks: Networks,
    images: ImageList,
    spec: RunSpec,
    references: ReferenceCrops | None,
    shard: int,
    begun: _Begun,
    advance: Advance,
) -> None:
    rows = images.shard(shard)
    readers = {name: _reader(networks, spec, name, rows, references) for name in begun.missing}
    for number, crops in begun_ahead(begun.cut, range(len(begun.pieces)), advance):
        for name, reader in readers.items():
            reader.read(begun.pieces[number], crops.result()[view_of(spec.evaluator.all_extractors[name])])
    for name, reader in readers.items():
        if isinstance(reader.network, ReadsPrompts) and "prompt_id" in rows:
            texts_table(images, spec, name).write(shard, _texts(reader.network, spec, rows))
        feature_table(images, spec, name).write(shard, reader.table())


def _reader(
    networks: Networks, spec: RunSpec, name: str, rows: pd.DataFrame, references: ReferenceCrops | None
) -> _Features | _Pairs:
    extractor = spec.evaluator.all_extractors[name]
    network = networks.part("extractors", extractor)
    if not is_pairwise(extractor):
        return _Features(network, extractor, rows, read_by(spec, name, rows))
    assert references is not None
    return _Pairs(network, rows, references.of([str(item) for item in rows["item"].unique()], view_of(extractor)))


class _Features:
    """What a network answers of a shard's crops, piece by piece."""

    def __init__(self, network: Any, extractor: Part, rows: pd.DataFrame, read: NDArray[np.bool_]) -> None:
        """Keep what is the shard's.

        Args:
            network: that reads.
            extractor: its part of the spec.
            rows: of the shard's images.
            read: (n,) images that are shown to the network; the others have the status "not_read".
        """
        self.network = network
        self._extractor = extractor
        self._rows = rows
        self._read = read
        self._crops: list[Crop] = []
        self._columns: list[dict[str, NDArray[Any]]] = []

    def read(self, piece: slice, crops: Sequence[Crop]) -> None:
        """Show a piece's crops to the network."""
        shown = [crop for crop, is_read in zip(crops, self._read[piece], strict=True) if is_read]
        if shown:
            self._columns.append(_columns(self.network, self._extractor, shown))
        self._crops += [replace(crop, pixels=_NO_PIXELS) for crop in crops]

    def table(self) -> pd.DataFrame:
        """Return the feature table: keys, status, what the crop recorded, and the network's columns."""
        table = _keys(self._rows, self._crops)
        table["status"] = table["status"].where(self._read, str(ViewStatus.NOT_READ))
        shown = [int(k) for k in np.flatnonzero(self._read)]
        columns = _joined(self._columns)
        finite = np.isfinite(columns[FEATURE]).all(axis=1)
        broken = [k for k, fine in zip(shown, finite, strict=True) if not fine and table["status"][k] == ViewStatus.OK]
        table.loc[broken, "status"] = str(ViewStatus.NOT_FINITE)
        good = (table["status"] == ViewStatus.OK).to_numpy()
        for name, values in columns.items():
            answers = dict(zip(shown, values, strict=True))
            table[name] = [answers[k] if ok else None for k, ok in enumerate(good)]
        return table


_NO_PIXELS = np.empty((0, 0, 3), np.uint8)


def _joined(pieces: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Return the columns of all pieces; an empty feature where no image was read."""
    if not pieces:
        return {FEATURE: np.empty((0, 1), np.float32)}
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def _columns(network: Any, extractor: Part, crops: Sequence[Crop]) -> dict[str, NDArray[Any]]:
    """Return the network's answers for some crops, by name.

    The column that metrics compare is "feature", (n, d), whatever the network calls it and if it is a single number.
    """
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


class _Pairs:
    """Distances between the samples of an item, and to its reference: an item as soon as all of its crops are there."""

    def __init__(self, network: Any, rows: pd.DataFrame, references: Mapping[str, Crop]) -> None:
        """Keep what is the shard's.

        Args:
            network: that compares.
            rows: of the shard's images, those of an item one after the other.
            references: item -> crop of its reference.
        """
        self.network = network
        self._references = references
        groups = rows[KEYS].reset_index(drop=True).groupby("item", sort=False)
        self._waiting = [(str(item), group.to_dict("records")) for item, group in groups]
        self._crops: list[Crop] = []
        self._table: list[dict[str, Any]] = []

    def read(self, _: slice, crops: Sequence[Crop]) -> None:
        """Compare the items that are complete with a piece's crops."""
        self._crops += crops
        while self._waiting and len(self._crops) >= len(self._waiting[0][1]):
            item, keys = self._waiting.pop(0)
            members = [*self._crops[: len(keys)], self._references[item]]
            del self._crops[: len(keys)]
            distances = self.network.distances(np.stack([crop.pixels for crop in members]))
            keys = [*keys, {"index": -1}]
            self._table += [
                _pair(keys[a], keys[b], members[a], members[b], distances[a, b])
                for a, b in combinations(range(len(members)), 2)
            ]

    def table(self) -> pd.DataFrame:
        """Return a row per pair of an item's samples, and per sample and reference (j = -1).

        `value` is None where one of the two is missing; `foreground_i` and `foreground_j` are the shares of the two
        crops that their masks kept.
        """
        return pd.DataFrame(self._table)


def _pair(first: Mapping[Any, Any], second: Mapping[Any, Any], one: Crop, other: Crop, value: float) -> dict[str, Any]:
    status = next((crop.status for crop in (one, other) if crop.status != ViewStatus.OK), ViewStatus.OK)
    return {
        "row": first["row"], "item": first["item"], "subject": first["subject"], "i": first["index"],
        "j": second["index"], "status": str(status), "value": float(value) if status == ViewStatus.OK else None,
        "foreground_i": one.foreground, "foreground_j": other.foreground,
    }  # fmt: skip
