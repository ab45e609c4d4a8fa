"""The crops of images: each image is decoded once, each view cut once, in threads, for all networks that read it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.execution.faults import is_machine_fault
from bench.execution.work import Advance, share_of_cores
from bench.faces.face import Face
from bench.faces.search import Detection, detect
from bench.faces.views import FFHQ512, Crop, View, ViewOptions, absent, cut, cut_again, mask
from bench.images import ImageError, read_known_image
from bench.sample_files import PLACE, image_at
from bench.spec import RunSpec, view_of
from bench.stages.face_finder import FaceFinder
from bench.stages.networks import Networks
from bench.stages.plan import ImageList
from bench.stages.tables import by_row, faces_table, landmarks_table, read_by
from bench.status import SampleStatus, ViewStatus
from bench.threads import pool

AHEAD = 2
"""Images that are decoded before they are needed, for each thread."""

CropsByView = dict[View, list[Crop]]
"""View -> its crops of a list of images, in the order of the list."""


def wanted_views(spec: RunSpec, names: Sequence[str], rows: pd.DataFrame) -> list[frozenset[View]]:
    """Return for each image the views that some of the extractors `names` must read of it."""
    readers = [(view_of(spec.evaluator.all_extractors[name]), read_by(spec, name, rows)) for name in names]
    return [frozenset(view for view, reads in readers if reads[k]) for k in range(len(rows))]


def needs_landmarks(spec: RunSpec, views: Iterable[View]) -> bool:
    """Return whether landmarks are looked for in an image of which `views` are cut."""
    return spec.evaluator.landmarker is not None and any(view.uses_landmarks for view in views)


def cut_all(
    networks: Networks,
    spec: RunSpec,
    rows: pd.DataFrame,
    finder: FaceFinder,
    wanted: Sequence[Collection[View]],
    advance: Advance,
) -> CropsByView:
    """Cut the wanted views of all images; a crop is blank, "not_read", where its view is not wanted of an image.

    Args:
        networks: of the spec's evaluator.
        spec: protocol and evaluator.
        rows: a row per image.
        finder: finds the faces, or knows them.
        wanted: for each image its views.
        advance: called after each image with the number 1, and with 0 between further steps; it may end the work.
    """
    options, count = spec.protocol.views, share_of_cores(spec.execution)
    with pool(count) as threads:
        cuts = []
        decoded = _decoded(threads, rows, AHEAD * count)
        for (_, row), image, views in zip(rows.iterrows(), decoded, wanted, strict=True):
            found, face = finder.find(row, image, needs_landmarks(spec, views))
            of_image = face or SampleStatus(found["status"])
            cuts.append(threads.submit(_cut, image, of_image, _cut_first(views, options), options))
            advance(1)
        crops = [future.result() for future in cuts]
    return {
        view: _finished(networks, spec, view, crops, advance) for view in sorted(set().union(*wanted), key=_by_name)
    }


def _by_name(view: View) -> str:
    return view.name


def _cut_first(views: Iterable[View], options: ViewOptions) -> set[View]:
    """Return what is cut while the image is at hand: the aligned crop for a view whose landmarks are found in it."""
    return {FFHQ512 if view.needs_landmarks_again(options) else view for view in views}


def _finished(
    networks: Networks, spec: RunSpec, view: View, crops: Sequence[Mapping[View, Crop]], advance: Advance
) -> list[Crop]:
    """Return a view of all images, given what was cut of each while it was at hand."""

    def of_each(one: View) -> list[Crop]:
        return [found.get(one) or absent(one, ViewStatus.NOT_READ) for found in crops]

    if view.needs_landmarks_again(spec.protocol.views):
        return _cut_again(networks, spec, view, of_each(FFHQ512), advance)
    return _masked(networks, spec, of_each(view), advance) if view.masked else of_each(view)


def _cut_again(networks: Networks, spec: RunSpec, view: View, aligned: Sequence[Crop], advance: Advance) -> list[Crop]:
    """Cut a view of each aligned crop, by a detection and landmarks of its own."""
    assert spec.evaluator.landmarker is not None
    detector = networks.part("detectors", spec.evaluator.detector)
    landmarker = networks.part("landmarkers", spec.evaluator.landmarker)

    def landmarks(crop: Crop) -> NDArray[np.float32] | None:
        advance(0)
        found = detect(detector, crop.pixels, spec.protocol.faces) if crop.status == ViewStatus.OK else Detection([])
        points = landmarker.landmarks(crop.pixels, found.faces[:1])[0] if found.faces else None
        return points if points is not None and np.isfinite(points).all() else None

    return [cut_again(view, crop, landmarks(crop)) for crop in aligned]


def _decoded(threads: ThreadPoolExecutor, rows: pd.DataFrame, count: int) -> Iterator[NDArray[np.uint8] | str]:
    """Yield the images in order, `count` of them decoded ahead; in place of one that cannot be had, the reason."""
    columns = rows.reindex(columns=["status", "sha256", *PLACE])
    waiting = iter(columns.itertuples(index=False, name=None))
    ahead = [threads.submit(_read, *row) for row in islice(waiting, count)]
    while ahead:
        image = ahead.pop(0).result()
        ahead += [threads.submit(_read, *row) for row in islice(waiting, 1)]
        yield image


def _read(status: str, sha256: str, path: str, offset: Any, length: Any) -> NDArray[np.uint8] | str:
    if status != SampleStatus.OK:
        return ""
    try:
        return read_known_image(image_at(Path(path), offset, length), sha256)
    except ImageError as error:
        if is_machine_fault(error):
            raise
        return str(error)


def _cut(
    image: NDArray[np.uint8] | str, face: Face | SampleStatus, wanted: Collection[View], options: ViewOptions
) -> dict[View, Crop]:
    if isinstance(image, str):
        status = SampleStatus.UNDECODABLE if isinstance(face, Face) else face
        return {view: absent(view, status) for view in wanted}
    return cut(image, face, wanted, options)


def _masked(networks: Networks, spec: RunSpec, crops: Sequence[Crop], advance: Advance) -> list[Crop]:
    assert spec.evaluator.parser is not None
    parser = networks.part("parsers", spec.evaluator.parser)
    batch = spec.evaluator.parser.options.batch  # type: ignore[attr-defined]

    def of_batch(full: NDArray[np.uint8]) -> NDArray[np.uint8]:
        advance(0)
        return parser.labels(full)

    def labels(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.concatenate([of_batch(full)[:count] for full, count in batches(pixels, batch)])

    return mask(crops, labels, spec.protocol.views)


class ReferenceCrops:
    """Crops of the references, for what compares samples with them; cut where they are needed, never stored."""

    def __init__(self, networks: Networks, references: ImageList, spec: RunSpec) -> None:
        self._networks = networks
        self._spec = spec
        self._faces = by_row(faces_table(references, spec), range(references.shards))
        self._landmarks = by_row(landmarks_table(references, spec), range(references.shards))
        self._rows = references.frame[references.frame["role"] == "reference"].set_index("item", drop=False)

    def of(self, items: Sequence[str], view: View) -> dict[str, Crop]:
        """Return item -> one view of its reference."""
        finder = FaceFinder(self._networks, self._spec, self._faces, self._landmarks)
        rows = self._rows.loc[list(items)]
        crops = cut_all(self._networks, self._spec, rows, finder, [(view,)] * len(rows), lambda n: None)
        return dict(zip(items, crops[view], strict=True))


def batches(crops: NDArray[Any], batch: int) -> Iterator[tuple[NDArray[Any], int]]:
    """Yield crops in full batches, the last one padded with black, each with the number of crops that count."""
    for start in range(0, len(crops), batch):
        chunk = crops[start : start + batch]
        full = np.zeros((batch, *crops.shape[1:]), crops.dtype)
        full[: len(chunk)] = chunk
        yield full, len(chunk)
