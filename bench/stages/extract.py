"""Extract: each picture is decoded once, its face found once, each view cut once, for all networks that miss it.

Works alike on a run's samples and on a dataset's photos (`Pictures`). A shard is made whole: first the views of all
its pictures (decoding and warping in threads, detection meanwhile), then every missing network over the shard's
crops, at its declared batch, the last one padded; membership of a batch depends on the list alone. While the networks
run over one shard, the views of the next are cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import combinations, islice
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench import registry
from bench.execution.local import Advance, Work, run_shards
from bench.faces.face import Face
from bench.faces.views import View, absent, cut, cut_again, mask
from bench.images import ImageError, read_image
from bench.runtime import Runtime
from bench.spec import FLAME_VIEWS, Part, RunSpec, detector_id, feature_id, landmarks_id
from bench.stages.plan import Pictures
from bench.store import Table

KEYS = ["row", "item", "subject", "index"]
AHEAD = 4  # pictures decoded before they are needed
NOT_READ = "not_read"
"""Status, in a feature or landmark table, of a picture that no metric reads there."""


def faces_table(pictures: Pictures, spec: RunSpec) -> Table:
    """What the detector found in each picture."""
    return pictures.table(f"faces-{detector_id(spec)[:8]}")


def landmarks_table(pictures: Pictures, spec: RunSpec) -> Table | None:
    """68 landmarks of each picture's face, where a landmark network is configured."""
    identity = landmarks_id(spec)
    return None if identity is None else pictures.table(f"landmarks-{identity[:8]}")


def feature_table(pictures: Pictures, spec: RunSpec, name: str) -> Table:
    """The features of one extractor (or, of a pair extractor, its distances)."""
    part = parts(spec)[name]
    kind = "pairs" if is_pairwise(part) else "features"
    return pictures.table(f"{kind}/{name}-{feature_id(spec, name, view_of(part))[:8]}")


def parts(spec: RunSpec) -> dict[str, Part]:
    """All networks of the evaluator that read views, by name."""
    return {**spec.evaluator.recognisers, **spec.evaluator.extractors}


def view_of(part: Part) -> str:
    """Name of the view that a network reads."""
    return str(part.options.view)  # type: ignore[attr-defined]


def reads_targets(spec: RunSpec, name: str) -> bool:
    """Whether metrics compare samples with targets by this network, and not with references alone: recognisers."""
    return name in spec.evaluator.recognisers


def is_pairwise(part: Part) -> bool:
    """Whether a network answers with distances between pictures of one item."""
    return hasattr(registry.get("extractors", part.name), "distances")


def read_faces(pictures: Pictures, spec: RunSpec) -> pd.DataFrame:
    """The faces table, a row per picture."""
    return faces_table(pictures, spec).read(pictures.shards)


def read_features(table: Table, shards: int) -> NDArray[np.float32]:
    """(n, d) float32 features in the order of the pictures; a row without a feature (or one not read) is NaN."""
    column = table.read(shards)["feature"]
    found = [f for f in column if f is not None]
    width = len(found[0]) if found else 1
    out = np.full((len(column), width), np.nan, np.float32)
    for row, feature in enumerate(column):
        if feature is not None:
            out[row] = feature
    return out


def extract(
    pictures: Pictures,
    spec: RunSpec,
    names: Sequence[str],
    what: str,
    networks: Networks,
    references: Pictures | None = None,
) -> None:
    """Finds the faces of all pictures and runs the networks `names` where their results are missing.

    Args:
        pictures: a run's samples or a dataset's photos.
        spec: protocol, evaluator and execution.
        names: extractors; a pair extractor needs `references`.
        what: the progress bar's label.
        networks: of the spec's evaluator; those that were loaded before are not loaded again.
        references: the dataset's photos, extracted before: a pair extractor also compares each sample with its item's.
    """
    tables = [faces_table(pictures, spec), *(feature_table(pictures, spec, name) for name in names)]
    if any(view_of(parts(spec)[name]) != "arcface112" for name in names):
        tables += [t for t in [landmarks_table(pictures, spec)] if t is not None]
    todo = [s for s in range(pictures.shards) if not all(t.has(s) for t in tables)]
    setup = partial(_setup, networks, pictures, spec, tuple(names), references)
    run_shards(setup, todo, pictures.sizes(), spec.execution, what)


def _setup(
    networks: Networks, pictures: Pictures, spec: RunSpec, names: tuple[str, ...], references: Pictures | None
) -> Work:
    portraits = Portraits(networks, references, spec) if references is not None else None
    begin = partial(_begin, networks, pictures, spec, names)
    return Work(partial(_finish, networks, pictures, spec, portraits), begin)


class Networks:
    """The evaluator's networks, each loaded when it is first needed; in another process, once more."""

    def __init__(self, spec: RunSpec) -> None:
        self._spec, self._loaded = spec, {}  # type: ignore[var-annotated]
        self._runtime, self._loading = Runtime(spec.execution.device, spec.execution.threads), Lock()

    def __reduce__(self) -> tuple[type[Networks], tuple[RunSpec]]:
        return Networks, (self._spec,)

    def part(self, group: str, part: Part) -> Any:
        """The network of a part."""
        key = (group, part.name, part.options.model_dump_json())
        with self._loading:
            if key not in self._loaded:
                self._loaded[key] = self.load(group, part)
            return self._loaded[key]

    def load(self, group: str, part: Part) -> Any:
        """A network of its own, from its files."""
        return registry.get(group, part.name)(part.options, self._runtime)


Views = dict[str, list[View]]


def _begin(
    networks: Networks, pictures: Pictures, spec: RunSpec, names: Sequence[str], shard: int, advance: Advance
) -> tuple[list[str], Views]:
    """The extractors that a shard misses, and all views that they read."""
    missing = [name for name in names if not feature_table(pictures, spec, name).has(shard)]
    return missing, _views(networks, pictures, spec, shard, missing, advance)


def _finish(
    networks: Networks,
    pictures: Pictures,
    spec: RunSpec,
    portraits: Portraits | None,
    shard: int,
    begun: tuple[list[str], Views],
    _: Advance,
) -> None:
    rows = pictures.shard(shard)
    for name in begun[0]:
        part = parts(spec)[name]
        network, crops = networks.part("extractors", part), begun[1][view_of(part)]
        if is_pairwise(part):
            assert portraits is not None
            found = _pairs(
                network, rows, crops, portraits.of([str(item) for item in rows["item"].unique()], view_of(part))
            )
        else:
            found = _features(network, part, rows, crops, _read_by(spec, name, rows))
        feature_table(pictures, spec, name).write(shard, found)


def _views(
    networks: Networks, pictures: Pictures, spec: RunSpec, shard: int, names: Sequence[str], advance: Advance
) -> Views:
    """All views of a shard's pictures that the networks `names` read; commits its faces and landmarks on the way."""
    rows, found = pictures.shard(shard), (faces_table(pictures, spec), landmarks_table(pictures, spec))
    finder = FaceFinder(networks, spec, *(_by_row(table, [shard]) for table in found))
    wanted = _wanted(spec, names, rows)
    views = _cut_all(networks, spec, rows, finder, wanted, advance)
    finder.commit(shard, found[0], found[1] if any(_needs_landmarks(spec, each) for each in wanted) else None)
    return views


def _read_by(spec: RunSpec, name: str, rows: pd.DataFrame) -> NDArray[np.bool_]:
    """Which pictures a network must read."""
    if "role" not in rows or reads_targets(spec, name):
        return np.ones(len(rows), bool)
    return (rows["role"] != "target").to_numpy(bool)


def _wanted(spec: RunSpec, names: Sequence[str], rows: pd.DataFrame) -> list[tuple[str, ...]]:
    """For each picture the views that some network must read of it."""
    masks = [(view_of(parts(spec)[name]), _read_by(spec, name, rows)) for name in names]
    return [tuple(sorted({view for view, mask in masks if mask[k]})) for k in range(len(rows))]


def _needs_landmarks(spec: RunSpec, views: Iterable[str]) -> bool:
    return spec.evaluator.landmarker is not None and any(view != "arcface112" for view in views)


def _cut_all(
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
            found, face = finder.find(row, image, _needs_landmarks(spec, own))
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
        self._known = [_by_row(table, range(references.shards)) for table in tables]
        self._rows = references.frame[references.frame["role"] == "reference"].set_index("item", drop=False)

    def of(self, items: Sequence[str], view: str) -> dict[str, View]:
        """Item -> one view of its reference."""
        finder = FaceFinder(self._networks, self._spec, *self._known)
        rows = self._rows.loc[list(items)]
        views = _cut_all(self._networks, self._spec, rows, finder, [(view,)] * len(rows), lambda n: None)
        return dict(zip(items, views[view], strict=True))


class FaceFinder:
    """Detection and landmarks: read where they are known, else found."""

    def __init__(
        self, networks: Networks, spec: RunSpec, faces: dict[int, dict[str, Any]], marks: dict[int, dict[str, Any]]
    ) -> None:
        self._networks, self._spec, self._known = networks, spec, (faces, marks)
        self._faces: list[dict[str, Any]] = []
        self._marks: list[dict[str, Any]] = []

    def find(self, row: pd.Series, image: NDArray[np.uint8] | str, marks: bool) -> tuple[dict[str, Any], Face | None]:
        """The row of the faces table, and the face (with landmarks if `marks`)."""
        found = self._known[0].get(int(row["row"])) or self._detect(row, image)
        self._faces.append(found)
        face = _face(found)
        if not marks:
            self._marks.append(_mark_row(found, NOT_READ))
            return found, face
        known = self._known[1].get(int(row["row"])) or self._landmarks(found, image, face)
        self._marks.append(known)
        if face is not None and known["landmarks"] is not None:
            points = np.asarray(known["landmarks"], np.float32).reshape(68, 2)
            face = Face(face.box, face.score, face.keypoints, points)
        return found, face

    def _detect(self, row: pd.Series, image: NDArray[np.uint8] | str) -> dict[str, Any]:
        if isinstance(image, str):
            undecodable = row["status"] == "ok"
            status, reason = ("undecodable", image) if undecodable else (row["status"], row["reason"])
            return _face_row(row, status, reason)
        detection = self._networks.part("detectors", self._spec.evaluator.detector).detect(image)
        if not detection.faces:
            return _face_row(row, "no_face", "no face found")
        return _face_row(row, "ok", "", detection.faces, detection.size)

    def _landmarks(self, found: dict[str, Any], image: NDArray[np.uint8] | str, face: Face | None) -> dict[str, Any]:
        assert self._spec.evaluator.landmarker is not None
        if face is None or isinstance(image, str):
            return _mark_row(found, found["status"])
        points = self._networks.part("landmarkers", self._spec.evaluator.landmarker).landmarks(image, [face])[0]
        good = bool(np.isfinite(points).all())
        return _mark_row(found, "ok", points) if good else _mark_row(found, "no_landmarks")

    def commit(self, shard: int, faces: Table, marks: Table | None) -> None:
        """Writes what was found in a shard's pictures, where it was not known."""
        for table, found in ((faces, self._faces), (marks, self._marks)):
            if table is not None and not table.has(shard):
                table.write(shard, pd.DataFrame(found))


def _by_row(table: Table | None, shards: Iterable[int]) -> dict[int, dict[str, Any]]:
    """The committed rows of some shards of a table, by the picture's row; without those that were not read."""
    if table is None:
        return {}
    records = [r for shard in shards if table.has(shard) for r in table.read_shard(shard).to_dict("records")]
    return {int(r["row"]): {str(name): value for name, value in r.items()} for r in records if r["status"] != NOT_READ}


def _mark_row(found: Mapping[str, Any], status: str, points: NDArray[Any] | None = None) -> dict[str, Any]:
    landmarks = None if points is None else np.asarray(points, np.float32).ravel()
    return {**{key: found[key] for key in KEYS}, "status": status, "landmarks": landmarks}


def _face_row(row: pd.Series, status: str, reason: str, faces: Sequence[Face] = (), size: int = 0) -> dict[str, Any]:
    largest = faces[0] if faces else None
    return {
        **{key: row[key] for key in KEYS},
        "status": status,
        "reason": reason,
        "n_faces": len(faces),
        "score": largest.score if largest else 0.0,
        "box": np.asarray(largest.box, np.float32) if largest else None,
        "keypoints": np.asarray(largest.keypoints, np.float32).ravel() if largest else None,
        "det_size": size,
    }


def _face(found: Mapping[str, Any]) -> Face | None:
    if found["status"] != "ok":
        return None
    keypoints = np.asarray(found["keypoints"], np.float32).reshape(5, 2)
    return Face(np.asarray(found["box"], np.float32), float(found["score"]), keypoints)


def batches(crops: NDArray[Any], batch: int) -> Iterator[tuple[NDArray[Any], int]]:
    """Crops in full batches, the last one padded with black, each with the number of crops that count."""
    for start in range(0, len(crops), batch):
        chunk = crops[start : start + batch]
        full = np.zeros((batch, *crops.shape[1:]), crops.dtype)
        full[: len(chunk)] = chunk
        yield full, len(chunk)


def _features(
    network: Any, part: Part, rows: pd.DataFrame, views: Sequence[View], read: NDArray[np.bool_]
) -> pd.DataFrame:
    """The feature table of a shard: keys, status, what the view recorded, and the network's columns.

    Pictures outside `read` are not shown to the network; they have the status `NOT_READ`.
    """
    table, shown = _keys(rows, views), [int(k) for k in np.flatnonzero(read)]
    table["status"] = table["status"].where(read, NOT_READ)
    columns = _columns(network, part, [views[k].crop for k in shown])
    finite = np.isfinite(columns["feature"]).all(axis=1)
    broken = [k for k, fine in zip(shown, finite, strict=True) if not fine and table["status"][k] == "ok"]
    table.loc[broken, "status"] = "not_finite"
    good = (table["status"] == "ok").to_numpy()
    for name, values in columns.items():
        answers = dict(zip(shown, values, strict=True))
        table[name] = [answers[k] if ok else None for k, ok in enumerate(good)]
    return table


def _columns(network: Any, part: Part, crops: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The network's answers for all crops, by name; an empty "feature" where there is no crop."""
    if not crops:
        return {"feature": np.empty((0, 1), np.float32)}
    found: dict[str, list[NDArray[Any]]] = {}
    for full, count in batches(np.stack(crops), part.options.batch):  # type: ignore[attr-defined]
        for name, values in network.extract(full).items():
            found.setdefault(name, []).append(np.asarray(values)[:count])
    return {name: np.concatenate(values) for name, values in found.items()}


def _keys(rows: pd.DataFrame, views: Sequence[View]) -> pd.DataFrame:
    return (
        rows[KEYS]
        .reset_index(drop=True)
        .assign(
            status=[view.status for view in views],
            padded=[view.padded for view in views],
            foreground=[view.foreground for view in views],
        )
    )


def _pairs(network: Any, rows: pd.DataFrame, views: Sequence[View], portraits: Mapping[str, View]) -> pd.DataFrame:
    """The pair table of a shard: a row per pair of an item's samples, and per sample and reference (j = -1).

    `value` is None where one of the two is missing; `foreground_i` and `foreground_j` are the shares of the two crops
    that their masks kept.
    """
    table: list[dict[str, Any]] = []
    for item, group in rows[KEYS].reset_index(drop=True).groupby("item", sort=False):
        members = [*(views[i] for i in group.index), portraits[str(item)]]
        distances = network.distances(np.stack([view.crop for view in members]))
        keys: list[dict[Any, Any]] = [*group.to_dict("records"), {"index": -1}]
        table += [
            _pair(keys[a], keys[b], members[a], members[b], distances[a, b])
            for a, b in combinations(range(len(members)), 2)
        ]
    return pd.DataFrame(table)


def _pair(first: Mapping[Any, Any], second: Mapping[Any, Any], one: View, other: View, value: float) -> dict[str, Any]:
    bad = next((view.status for view in (one, other) if view.status != "ok"), None)
    return {
        "row": first["row"], "item": first["item"], "subject": first["subject"], "i": first["index"],
        "j": second["index"], "status": bad or "ok", "value": None if bad else float(value),
        "foreground_i": one.foreground, "foreground_j": other.foreground,
    }  # fmt: skip
