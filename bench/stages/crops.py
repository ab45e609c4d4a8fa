"""The views of images: each image is decoded once, each view cut once, in threads, for all networks that read it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.execution.local import Advance
from bench.faces.face import Face
from bench.faces.views import View, absent, cut, cut_again, mask
from bench.images import ImageError, read_image
from bench.spec import FLAME_VIEWS, RunSpec
from bench.stages.face_finder import FaceFinder
from bench.stages.networks import Networks
from bench.stages.plan import Pictures
from bench.stages.tables import NOT_READ, by_row, faces_table, landmarks_table, parts, read_by, view_of

AHEAD = 4  # pictures decoded before they are needed


Views = dict[str, list[View]]


def wanted_views(spec: RunSpec, names: Sequence[str], rows: pd.DataFrame) -> list[tuple[str, ...]]:
    """For each picture the views that some network must read of it."""
    masks = [(view_of(parts(spec)[name]), read_by(spec, name, rows)) for name in names]
    return [tuple(sorted({view for view, mask in masks if mask[k]})) for k in range(len(rows))]


def needs_landmarks(spec: RunSpec, views: Iterable[str]) -> bool:
    """Return whether some view is cut by landmarks that a network finds."""
    return spec.evaluator.landmarker is not None and any(view != "arcface112" for view in views)


def cut_all(
    networks: Networks,
    spec: RunSpec,
    rows: pd.DataFrame,
    finder: FaceFinder,
    wanted: Sequence[tuple[str, ...]],
    advance: Advance,
) -> Views:
    """View -> its crops of all pictures; blank, with the status `NOT_READ`, where it is not wanted of a picture."""
    every = sorted({view for each in wanted for view in each})
    again = [name for name in every if name in FLAME_VIEWS and spec.protocol.views.flame_landmarks == "again"]
    with ThreadPoolExecutor(2) as pool:
        cuts = []
        for (_, row), image, own in zip(rows.iterrows(), _decoded(pool, rows), wanted, strict=True):
            found, face = finder.find(row, image, needs_landmarks(spec, own))
            first = {"ffhq512" if view in again else view for view in own}
            cuts.append(pool.submit(_cut, image, found["status"], face, sorted(first), spec))
            advance(1)
        views = [future.result() for future in cuts]

    def column(name: str) -> list[View]:
        return [view.get(name) or absent(name, NOT_READ) for view in views]

    return {name: _cut_again(networks, spec, name, column("ffhq512")) for name in again} | {
        name: _masked(networks, spec, name, column(name)) for name in every if name not in again
    }


def _cut_again(networks: Networks, spec: RunSpec, name: str, portraits: Sequence[View]) -> list[View]:
    """A FLAME view of each aligned crop, by a detection and landmarks of its own."""
    assert spec.evaluator.landmarker is not None
    detector = networks.part("detectors", spec.evaluator.detector)
    landmarker = networks.part("landmarkers", spec.evaluator.landmarker)

    def points(portrait: View) -> NDArray[np.float32] | None:
        faces = detector.detect(portrait.crop).faces if portrait.status == "ok" else []
        found = landmarker.landmarks(portrait.crop, faces[:1])[0] if faces else None
        return found if found is not None and np.isfinite(found).all() else None

    return [cut_again(name, portrait, points(portrait)) for portrait in portraits]


def _decoded(pool: ThreadPoolExecutor, rows: pd.DataFrame) -> Iterator[NDArray[np.uint8] | str]:
    """Pictures in order, decoded a few ahead; in place of one that cannot be had, the reason."""
    waiting = iter(rows[["status", "path"]].itertuples(index=False, name=None))
    ahead = [pool.submit(_read, *row) for row in islice(waiting, AHEAD)]
    while ahead:
        image = ahead.pop(0).result()
        ahead += [pool.submit(_read, *row) for row in islice(waiting, 1)]
        yield image


def _read(status: str, path: str) -> NDArray[np.uint8] | str:
    if status != "ok":
        return ""
    try:
        return read_image(Path(path))
    except ImageError as error:
        return str(error)


def _cut(
    image: NDArray[np.uint8] | str, status: str, face: Face | None, wanted: Sequence[str], spec: RunSpec
) -> dict[str, View]:
    if isinstance(image, str) or face is None:
        return {view: absent(view, status) for view in wanted}
    return cut(image, face, wanted, spec.protocol.views)


def _masked(networks: Networks, spec: RunSpec, view: str, views: list[View]) -> list[View]:
    if view != "ffhq512_masked" or spec.evaluator.parser is None:
        return views
    parser = networks.part("parsers", spec.evaluator.parser)
    batch = spec.evaluator.parser.options.batch  # type: ignore[attr-defined]

    def labels(crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.concatenate([parser.labels(full)[:count] for full, count in batches(crops, batch)])

    return mask(views, labels, spec.protocol.views)


class Portraits:
    """Views of the references, for what compares samples with them; cut again where they are needed, never stored."""

    def __init__(self, networks: Networks, references: Pictures, spec: RunSpec) -> None:
        self._networks, self._spec = networks, spec
        tables = (faces_table(references, spec), landmarks_table(references, spec))
        self._known = [by_row(table, range(references.shards)) for table in tables]
        self._rows = references.frame[references.frame["role"] == "reference"].set_index("item", drop=False)

    def of(self, items: Sequence[str], view: str) -> dict[str, View]:
        """Item -> one view of its reference."""
        finder = FaceFinder(self._networks, self._spec, *self._known)
        rows = self._rows.loc[list(items)]
        views = cut_all(self._networks, self._spec, rows, finder, [(view,)] * len(rows), lambda n: None)
        return dict(zip(items, views[view], strict=True))


def batches(crops: NDArray[Any], batch: int) -> Iterator[tuple[NDArray[Any], int]]:
    """Crops in full batches, the last one padded with black, each with the number of crops that count."""
    for start in range(0, len(crops), batch):
        chunk = crops[start : start + batch]
        full = np.zeros((batch, *crops.shape[1:]), crops.dtype)
        full[: len(chunk)] = chunk
        yield full, len(chunk)
