"""Find the nearest vectors of a bank: exact products in blocks, and the best k so far.

No index and no approximation: a bank of 21 million vectors is one pass of matrix products. A product in float32 only
chooses candidates, with a margin above its rounding error. Their cosines are computed again in float64 and rounded, so
neither the size of the blocks nor their order changes a result, and equal cosines go to the lower position.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.metrics.functional.cosine import DECIMALS, Floats, blocks, cosines
from bench.metrics.shared.eligibility import Rows, nonzero

BLOCK = 8192
"""Rows of a bank that are read and multiplied at once."""
_QUERIES = 512


class Block(NamedTuple):
    """Consecutive rows of a bank.

    Attributes:
        start: position of the first row in the bank.
        vectors: (n, d) float16 or float32, of any length; a row of zeros or NaN is nobody's neighbour.
        subjects: (n,) the subject of each row, comparable with the queries' subjects; None where nothing is excluded.
    """

    start: int
    vectors: NDArray[Any]
    subjects: NDArray[Any] | None = None


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The best k of what was searched so far, best first.

    Attributes:
        position: (q, k) int64 row in the bank; -1 where the bank has fewer than k, or the query has no vector.
        cosine: (q, k) float64, rounded to `DECIMALS`; NaN where there is none.
    """

    position: Rows
    cosine: Floats


def nothing(queries: int, k: int) -> Neighbours:
    """Return the result of a search in an empty bank.

    >>> nothing(1, 2)
    Neighbours(position=array([[-1, -1]]), cosine=array([[nan, nan]]))
    """
    return Neighbours(np.full((queries, k), -1, dtype=np.int64), np.full((queries, k), np.nan))


def nearest(
    queries: NDArray[Any], bank: Iterable[Block], best: Neighbours, *, subjects: NDArray[Any] | None = None
) -> Neighbours:
    """Return the nearest vectors of `bank` and of the blocks that `best` comes from.

    Args:
        queries: (q, d) raw or normalised; a row of zeros or NaN has no neighbours.
        bank: blocks of rows whose positions `best` does not hold yet.
        best: `nothing(q, k)`, or the result of a search in other blocks.
        subjects: (q,) the subject of each query; neighbours of the same subject are then left out. Needs the
            subjects of the blocks.

    >>> bank = [Block(0, np.eye(3)), Block(3, np.eye(3))]
    >>> nearest(np.eye(3)[:1], bank, nothing(1, 2)).position
    array([[0, 3]])
    """
    merged = Neighbours(best.position.copy(), best.cosine.copy())
    rows = np.flatnonzero(nonzero(queries))
    directions = _directions(queries[rows])
    for block in bank:
        others = _directions(block.vectors).T
        for part in blocks(len(rows), _QUERIES):
            scores = directions[part] @ others
            if subjects is not None and block.subjects is not None:
                scores[subjects[rows[part]][:, None] == block.subjects] = np.nan
            floor = _floor(merged.cosine[rows[part]], scores, queries.shape[1])
            near, row = np.divmod(np.flatnonzero(scores >= floor), scores.shape[1])
            query = rows[part][near]
            cosine = np.round(cosines(queries, query, block.vectors, row), DECIMALS)
            _insert(merged, query, cosine, block.start + row)
    return merged


def _directions(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """(n, d) float32 rows of length 1; NaN where a row has no direction."""
    rows = vectors.astype(np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def _floor(best: Floats, scores: NDArray[np.float32], dimension: int) -> NDArray[np.float32]:
    """(q, 1) the product below which a row cannot be among the best k; -inf where every row may be.

    The margin is twice the largest error of a product of `dimension` numbers in float32.
    """
    k, width = best.shape[1], scores.shape[1]
    floor = best[:, -1]
    if np.isnan(floor).any() and width >= k:
        floor = np.fmax(floor, -np.partition(-scores, k - 1, axis=1)[:, k - 1])
    margin = (dimension + 8) * 2.0**-23
    return (np.nan_to_num(floor, nan=-np.inf) - margin).astype(np.float32)[:, None]


def _insert(best: Neighbours, query: Rows, cosine: Floats, position: Rows) -> None:
    """Merges candidates into the best k of their queries, in place."""
    k = best.cosine.shape[1]
    touched, owner = np.unique(query, return_inverse=True)
    owners = np.concatenate([np.repeat(np.arange(len(touched)), k), owner])
    values = np.concatenate([best.cosine[touched].ravel(), cosine])
    places = np.concatenate([best.position[touched].ravel(), position])
    order = np.lexsort((places, -values, owners))
    first = np.searchsorted(owners[order], np.arange(len(touched)))
    chosen = order[first[:, None] + np.arange(k)]
    best.cosine[touched] = values[chosen]
    best.position[touched] = places[chosen]
