"""The tables that extraction writes: their names, what they hold, and how they are read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench import registry
from bench.spec import Part, RunSpec, detector_id, feature_id, landmarks_id
from bench.stages.plan import Pictures
from bench.store import Table

KEYS = ["row", "item", "subject", "index"]


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
    return bool(registry.get("extractors", part.name).pairwise)


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


def read_by(spec: RunSpec, name: str, rows: pd.DataFrame) -> NDArray[np.bool_]:
    """Which pictures a network must read."""
    if "role" not in rows or reads_targets(spec, name):
        return np.ones(len(rows), bool)
    return (rows["role"] != "target").to_numpy(bool)


def by_row(table: Table | None, shards: Iterable[int]) -> dict[int, dict[str, Any]]:
    """The committed rows of some shards of a table, by the picture's row; without those that were not read."""
    if table is None:
        return {}
    records = [r for shard in shards if table.has(shard) for r in table.read_shard(shard).to_dict("records")]
    return {int(r["row"]): {str(name): value for name, value in r.items()} for r in records if r["status"] != NOT_READ}
