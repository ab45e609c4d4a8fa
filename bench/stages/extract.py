"""Extract: each picture is decoded once, its face found once, each view cut once, for all networks that miss it.

Works alike on a run's samples and on a dataset's photos (`Pictures`). A shard is made whole: first the views of all
its pictures (decoding and warping in threads, detection meanwhile), then every missing network over the shard's
crops, at its declared batch, the last one padded; membership of a batch depends on the list alone. While the networks
run over one shard, the views of the next are cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.execution.local import Advance, Work, run_shards
from bench.faces.views import View
from bench.spec import Part, RunSpec
from bench.stages.crops import Portraits, Views, batches, cut_all, needs_landmarks, wanted_views
from bench.stages.face_finder import FaceFinder
from bench.stages.networks import Networks
from bench.stages.plan import Pictures
from bench.stages.tables import (
    KEYS,
    NOT_READ,
    by_row,
    faces_table,
    feature_table,
    is_pairwise,
    landmarks_table,
    parts,
    read_by,
    view_of,
)


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
            found = _features(network, part, rows, crops, read_by(spec, name, rows))
        feature_table(pictures, spec, name).write(shard, found)


def _views(
    networks: Networks, pictures: Pictures, spec: RunSpec, shard: int, names: Sequence[str], advance: Advance
) -> Views:
    """All views of a shard's pictures that the networks `names` read; commits its faces and landmarks on the way."""
    rows, found = pictures.shard(shard), (faces_table(pictures, spec), landmarks_table(pictures, spec))
    finder = FaceFinder(networks, spec, *(by_row(table, [shard]) for table in found))
    wanted = wanted_views(spec, names, rows)
    views = cut_all(networks, spec, rows, finder, wanted, advance)
    finder.commit(shard, found[0], found[1] if any(needs_landmarks(spec, each) for each in wanted) else None)
    return views


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
