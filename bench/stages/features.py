"""The features of many images: held in memory where they are few, else read from their shards where they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from bench.store import ANEW, ShardTable, read_arrow
from bench.threads import computed

if TYPE_CHECKING:
    import pyarrow as pa

HELD = 7 * 10**8
"""Bytes of one run's features that the score stage holds in memory; what does not fit is read where it is needed."""
STATUS = "status"
"""Column of every feature table: what came of the image under the network."""
_SHARDS = 2
"""Shards of a table that stay in memory: what goes forwards and steps back a little reads most of them once."""


def vectors(column: pa.ChunkedArray, width: int = 0) -> NDArray[np.float32]:
    """Return (n, d) float32 rows of a column of vectors or of numbers; a row without one is NaN.

    Args:
        column: of lists of d numbers each, or of numbers, where d is 1.
        width: d, where no row has a vector; 1 if it is not known.

    >>> import pyarrow as pa
    >>> vectors(pa.chunked_array([[[1.0, 2.0]], [None]])).tolist()
    [[1.0, 2.0], [nan, nan]]
    """
    values = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if len(values) and not values.null_count:
        return _numbers(values).reshape(len(values), -1)
    some = np.asarray(values.is_valid())
    numbers = _numbers(values.drop_null())
    rows = numbers.reshape(int(some.sum()), -1) if some.any() else np.empty((0, width or 1), np.float32)
    out = np.full((len(some), rows.shape[1]), np.nan, np.float32)
    out[some] = rows
    return out


def _numbers(values: pa.Array) -> NDArray[np.float32]:
    """Return the numbers of an array of lists, or of numbers, one after the other."""
    import pyarrow as pa

    flat = values.flatten() if pa.types.is_nested(values.type) else values
    return cast(NDArray[np.float32], flat.cast(pa.float32()).to_numpy(zero_copy_only=False))


class Shard(NamedTuple):
    """What one shard of a feature table says of its images.

    Attributes:
        features: (n, d) float32; NaN where an image has none.
        status: (n,) what came of each image under the network.
    """

    features: NDArray[np.float32]
    status: NDArray[np.object_]


@dataclass(frozen=True)
class FeatureColumn:
    """One column of a feature table.

    Attributes:
        table: in shards.
        name: of the column; a table that does not have it has no feature of any image.
    """

    table: ShardTable
    name: str

    def exists(self, shards: int) -> bool:
        """Return whether some shard has the column: one of which no image was read lacks it."""
        import pyarrow.parquet as pq

        return any(self.name in pq.read_schema(self.table.path(number)).names for number in range(shards))

    def shard(self, number: int, width: int = 0) -> Shard:
        """Return one shard.

        Args:
            number: of the shard.
            width: d, where the shard has no feature.

        Raises:
            UserError: it has no statuses.
        """
        path = self.table.path(number)
        found = read_arrow(path, [self.name, STATUS])
        if STATUS not in found.column_names:
            raise UserError(f"{path} has no column {STATUS}; {ANEW}")
        status = np.array(found[STATUS].to_pylist(), dtype=object)
        if self.name not in found.column_names:
            return Shard(np.full((len(status), width or 1), np.nan, np.float32), status)
        return Shard(vectors(found[self.name], width), status)

    def width(self, shards: int) -> int:
        """Return d; 1 where no image has a feature."""
        for number in range(shards):
            rows = self.shard(number).features
            if rows.shape[1] > 1 or np.isfinite(rows).any():
                return int(rows.shape[1])
        return 1


class Stored:
    """An array (n, d) of float32 in the shards of a table.

    It is used as an array. An index by rows reads their shards alone; whatever else is asked of it reads it whole.
    """

    ndim = 2
    dtype = np.dtype(np.float32)

    def __init__(self, column: FeatureColumn, bounds: Sequence[int], width: int) -> None:
        """Keep where the rows are.

        Args:
            column: of a table in shards.
            bounds: the row at which each shard begins, and the number of all rows.
            width: d.
        """
        self.shape = (bounds[-1], width)
        self._bounds = np.asarray(bounds)
        self._status: dict[int, NDArray[np.object_]] = {}
        # Without a reference to this object, which would live on until garbage is collected, and its shards with it.
        read = partial(_read, column, self._bounds, width, self._status)
        self._shard = lru_cache(maxsize=_SHARDS)(read)

    def status(self) -> NDArray[np.object_]:
        """Return (n,) the status of each image; shards of which some feature was read are not read again."""
        shards = len(self._bounds) - 1
        for _ in computed(self._shard, [number for number in range(shards) if number not in self._status]):
            pass
        return np.concatenate([np.empty(0, object), *(self._status[number] for number in range(shards))])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple):
            return np.asarray(self)[key]
        if isinstance(key, (int, np.integer)):
            return self[np.array([key])][0]
        if isinstance(key, slice):
            return self._rows(np.arange(*key.indices(len(self))))
        places = np.asarray(key)
        rows = np.flatnonzero(places) if places.dtype == bool else places
        return self._rows(np.where(rows < 0, rows + len(self), rows))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        rows = self._rows(np.arange(len(self)))
        self._shard.cache_clear()
        return rows if dtype is None else rows.astype(dtype)

    def __getattr__(self, name: str) -> Any:
        # Reached for what is not defined here: methods and properties of arrays.
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(np.asarray(self), name)

    def _rows(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        out = np.empty((len(rows), self.shape[1]), np.float32)
        shards = np.searchsorted(self._bounds, rows, side="right") - 1
        order = np.argsort(shards, kind="stable")
        starts = np.flatnonzero(np.diff(shards[order], prepend=-2)).tolist()
        parts = ((int(shards[order[a]]), order[a:b]) for a, b in pairwise([*starts, len(order)]))
        # The threads that read a shard also copy it: the caller's thread would wait for them at every copy.
        for _ in computed(partial(self._copy, rows, out), parts):
            pass
        return out

    def _copy(self, rows: NDArray[np.int64], out: NDArray[np.float32], part: tuple[int, NDArray[np.int64]]) -> None:
        """Copy what is asked of one shard: its number, and which of the rows it has."""
        number, mine = part
        places, features = rows[mine] - self._bounds[number], self._shard(number)
        if _is_run(mine) and _is_run(places):
            # A slice is copied faster than an index by rows.
            out[mine[0] : mine[-1] + 1] = features[places[0] : places[-1] + 1]
        else:
            out[mine] = features[places]


def _read(
    column: FeatureColumn,
    bounds: NDArray[np.int64],
    width: int,
    known: dict[int, NDArray[np.object_]],
    number: int,
) -> NDArray[np.float32]:
    """Return the features of a shard, and remember its statuses."""
    shard, rows = column.shard(number, width), int(bounds[number + 1] - bounds[number])
    if len(shard.features) != rows:
        raise UserError(f"{column.table.path(number)} has {len(shard.features)} rows for {rows} images; {ANEW}")
    known[number] = shard.status
    return shard.features


def _is_run(rows: NDArray[np.int64]) -> bool:
    """Return whether rows follow each other, from the first to the last."""
    return bool((np.diff(rows) == 1).all())


def feature_columns(columns: Sequence[Stored]) -> Iterator[NDArray[np.float32]]:
    """Yield each column as an array: the narrowest, up to `HELD` bytes together, in memory, the others as they are.

    Args:
        columns: of one list of images.
    """
    sizes = np.array([4 * rows * width for rows, width in (column.shape for column in columns)])
    narrow = np.argsort(sizes, kind="stable")
    held = set(narrow[np.cumsum(sizes[narrow]) <= HELD].tolist())
    for place, stored in enumerate(columns):
        yield np.asarray(stored) if place in held else cast(NDArray[np.float32], stored)
