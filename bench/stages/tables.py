"""The tables that extraction writes: their names, what they hold, and how they are read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench import registry
from bench.extractors.protocol import FEATURE, ReadsPrompts
from bench.spec import Part, RunSpec, detector_id, feature_id, landmarks_id
from bench.stages.features import FeatureColumn
from bench.stages.plan import ImageList
from bench.status import ViewStatus
from bench.store import ShardTable

KEYS = ["row", "item", "subject", "index"]
"""Columns of every table that say which image a row is of."""

FACE = ["n_faces", "score", "box", "keypoints", "roll", "det_size", "det_border", "det_configured"]
FACE += ["scales_read", "scales_agree", "disagreement"]
"""Columns of the faces table that say what was found in an image, and how."""


def faces_table(images: ImageList, spec: RunSpec) -> ShardTable:
    """Return the table of what the detector found in each image."""
    return images.table(f"faces-{detector_id(spec)[:8]}")


def landmarks_table(images: ImageList, spec: RunSpec) -> ShardTable | None:
    """Return the table of 68 landmarks of each image's face; None where no landmark network is configured."""
    identity = landmarks_id(spec)
    return None if identity is None else images.table(f"landmarks-{identity[:8]}")


def feature_table(images: ImageList, spec: RunSpec, name: str) -> ShardTable:
    """Return the table of one extractor's features (or, of a pair extractor, its distances)."""
    kind = "pairs" if is_pairwise(spec.evaluator.all_extractors[name]) else "features"
    return images.table(f"{kind}/{name}-{feature_id(spec, name)[:8]}")


def texts_table(images: ImageList, spec: RunSpec, name: str) -> ShardTable:
    """Return the table of the prompts' embeddings by one extractor, each shard's prompts: prompt_id, feature."""
    return images.table(f"texts/{name}-{feature_id(spec, name)[:8]}")


def role_of(extractor: Part) -> str:
    """Return what metrics ask a network for, as its class declares."""
    return str(registry.get("extractors", extractor.name).role)


def is_pairwise(extractor: Part) -> bool:
    """Return whether a network answers with distances between images of one item."""
    return bool(registry.get("extractors", extractor.name).pairwise)


def embeds_texts(extractor: Part) -> bool:
    """Return whether a network has texts and images in one space, so that prompts are embedded by it."""
    return issubclass(registry.get("extractors", extractor.name), ReadsPrompts)


def reads_targets(spec: RunSpec, name: str) -> bool:
    """Return whether a network reads all photos, targets and further references too, and not the items' own alone."""
    return name in spec.evaluator.recognisers


def read_by(spec: RunSpec, name: str, rows: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which images a network must read: (n,), True where it must."""
    if "role" not in rows or reads_targets(spec, name):
        return np.ones(len(rows), bool)
    return (rows["role"] == "reference").to_numpy(bool)


def read_faces(images: ImageList, spec: RunSpec) -> pd.DataFrame:
    """Return the faces table, a row per image."""
    return faces_table(images, spec).read(images.shards)


def read_features(table: ShardTable, shards: int) -> NDArray[np.float32]:
    """Return (n, d) float32 features in the order of the images; a row without a feature (or not read) is NaN."""
    table.check(range(shards))
    column = FeatureColumn(table, FEATURE)
    width = column.width(shards)
    return np.concatenate([column.shard(shard, width).features for shard in range(shards)])


def by_row(table: ShardTable | None, shards: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Return the committed rows of some shards of a table by the image's row, without those that were not read."""
    if table is None:
        return {}
    records = [r for shard in shards if table.has(shard) for r in table.read_shard(shard).to_dict("records")]
    read = [record for record in records if record["status"] != ViewStatus.NOT_READ]
    return {int(record["row"]): {str(name): value for name, value in record.items()} for record in read}
