"""Sums of a function of inner products, by subject, in memory linear in the number of rows: what MMD is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.metrics.functional.arrays import Floats
from bench.metrics.functional.cosine import blocks
from bench.threads import computed

Codes = NDArray[np.int64]
Kernel = Callable[[Floats], Floats]

_ROWS = 512


@dataclass(frozen=True, eq=False)
class SubjectSums:
    """Sums of kernel(x_i . y_j) over all pairs (i, j), told apart by subject.

    Attributes:
        by_x: (S,) over the pairs whose x belongs to a subject.
        by_y: (S,) over the pairs whose y belongs to it.
        same: (S,) over the pairs whose x and y both belong to it.
        together: (G,) over the pairs whose x and y both belong to subjects of a group.
    """

    by_x: Floats
    by_y: Floats
    same: Floats
    together: Floats


def shared_codes(a: NDArray[Any], b: NDArray[Any]) -> tuple[NDArray[Any], Codes, Codes]:
    """The distinct names in both arrays, and the place of each entry among them.

    >>> shared_codes(np.array([7, 9]), np.array([9]))
    (array([7, 9]), array([0, 1]), array([1]))
    """
    codes, unique = pd.factorize(np.concatenate([a, b]))
    return unique, codes[: len(a)].astype(np.int64), codes[len(a) :].astype(np.int64)


def subject_sums(x: Floats, y: Floats, codes_x: Codes, codes_y: Codes, members: Floats, kernel: Kernel) -> SubjectSums:
    """Sums over all pairs of a row of x and a row of y.

    Args:
        x: (n, d) float64.
        y: (m, d) float64.
        codes_x: (n,) subject of each row, 0..S-1.
        codes_y: (m,) likewise.
        members: (S, G) 1 where a subject belongs to a group, else 0; G may be 0.
        kernel: elementwise function of a block of inner products.

    >>> x = np.array([[1.0], [2.0], [3.0]])
    >>> sums = subject_sums(x, x, np.array([0, 0, 1]), np.array([0, 0, 1]), np.ones((2, 1)), lambda t: t)
    >>> sums.by_x, sums.same, sums.together
    (array([18., 18.]), array([9., 9.]), array([36.]))
    """
    by_x, by_y, same, together = _zeros(members)
    x, codes_x = _grouped(x, codes_x)
    y, codes_y = _grouped(y, codes_y)

    def cells(part: slice) -> Cells:
        return _cells(kernel(x[part] @ y.T), codes_x[part], codes_y)

    for found in computed(cells, blocks(len(x), _ROWS)):
        _add((by_x, by_y, same, together), members, found, 1.0)
    return SubjectSums(by_x, by_y, same, together)


def symmetric_sums(x: Floats, codes: Codes, members: Floats, kernel: Kernel) -> SubjectSums:
    """`subject_sums` of x with itself (every row with itself included) at half the work."""
    by, unused, same, together = _zeros(members)
    x, codes = _grouped(x, codes)

    def cells(part: slice) -> tuple[Cells, Cells]:
        table = kernel(x[part] @ x[part.start :].T)
        square, later = table[:, : len(table)], table[:, len(table) :]
        return _cells(square, codes[part], codes[part]), _cells(later, codes[part], codes[part.stop :])

    for square, later in computed(cells, blocks(len(x), _ROWS)):
        _add((by, unused, same, together), members, square, 1.0)
        _add((by, by, same, together), members, later, 2.0)
    return SubjectSums(by, by, same, together)


def _zeros(members: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    size, groups = members.shape
    return np.zeros(size), np.zeros(size), np.zeros(size), np.zeros(groups)


class Cells(NamedTuple):
    """Sums (R, C) over a block of pairs by subject of row and of column, and the codes of these subjects."""

    sums: Floats
    rows: Codes
    columns: Codes


def _cells(table: Floats, rows: Codes, columns: Codes) -> Cells:
    if not table.size:
        return Cells(np.zeros((0, 0)), rows[:0], columns[:0])
    (row_codes, row_starts), (column_codes, column_starts) = _runs(rows), _runs(columns)
    sums = np.add.reduceat(np.add.reduceat(table, row_starts, axis=0), column_starts, axis=1)
    return Cells(sums, row_codes, column_codes)


def _add(sums: tuple[Floats, Floats, Floats, Floats], members: Floats, found: Cells, times: float) -> None:
    """Adds a block's sums per row subject, per column subject and (`times`) per subject and group that is both."""
    cells, row_codes, column_codes = found
    sums[0][row_codes] += cells.sum(axis=1)
    sums[1][column_codes] += cells.sum(axis=0)
    _, i, j = np.intersect1d(row_codes, column_codes, return_indices=True)
    sums[2][row_codes[i]] += times * cells[i, j]
    sums[3][:] += times * ((cells @ members[column_codes]) * members[row_codes]).sum(axis=0)


def _grouped(x: Floats, codes: Codes) -> tuple[Floats, Codes]:
    """Rows with equal codes next to each other (as they already are in the order of a dataset's list)."""
    if (np.diff(codes) >= 0).all():
        return x, codes
    order = np.argsort(codes, kind="stable")
    return x[order], codes[order]


def _runs(codes: Codes) -> tuple[Codes, Codes]:
    """The distinct codes of a sorted array and where each begins."""
    starts = np.flatnonzero(np.r_[True, np.diff(codes) != 0])
    return codes[starts], starts
