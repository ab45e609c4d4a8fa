"""The Frechet distance between two sets of features, exact in float64, with its delete-group jackknife.

FD = |m_x - m_y|^2 + tr S_x + tr S_y - 2 tr sqrt(S_x S_y). The last trace is the sum of the singular values of
X_c Y_c^T / sqrt((n-1)(m-1)), with X_c and Y_c the centred features: no matrix square root, no complex numbers, nothing
added to a diagonal, and right also where the covariances are singular. Where both sets have more rows than columns, it
is the sum of the square roots of the eigenvalues of L^T S_x L with S_y = L L^T.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dtrmm

from bench.metrics.cosine import Floats, blocks
from bench.metrics.standing import Rows

ALWAYS, NEVER = -1, -2
"""Codes of rows that are in every fold of the jackknife, and of rows that are not part of the set at all."""
_SVD_UP_TO = 1_000  # rows of the smaller set; above it the eigenvalues of the Gram matrix are much faster
_CROSS_UP_TO = 30_000_000  # entries of X Y^T: 240 MB
_SMALL = 512  # the exact form costs next to nothing for so few rows, whatever the dimension

TraceSqrt = Callable[[int], float]


def frechet_distance(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Frechet distance between the Gaussians with the means and covariances (n - 1 in the denominator) of two sets.

    Args:
        x: (n, d) features, n >= 2.
        y: (m, d) features, m >= 2.

    >>> frechet_distance(np.array([[0.0], [2.0]]), np.array([[1.0], [7.0]]))  # (1-4)^2 + (sqrt 2 - sqrt 18)^2
    17.0
    """
    return frechet(x, y, np.full(len(x), ALWAYS), np.full(len(y), ALWAYS))[0]


def frechet(x: NDArray[Any], y: NDArray[Any], groups_x: Rows, groups_y: Rows) -> tuple[float, Floats]:
    """The Frechet distance, and the distances with the rows of group 0, 1, ... of both sets left out.

    Products of all features are computed once; a fold only drops rows and columns and centres again.

    Args:
        x: (n, d) features of any float type.
        y: (m, d) features.
        groups_x: (n,) group of each row, or `ALWAYS`, or `NEVER`.
        groups_y: (m,) likewise.

    Returns:
        The distance, and one per group (NaN where a fold has fewer than 2 rows on a side).
    """
    small, large = sorted((_side(x, groups_x), _side(y, groups_y)), key=lambda side: side.size)
    n_groups = 1 + max((int(codes.max()) for codes in (groups_x, groups_y) if len(codes)), default=ALWAYS)
    trace_sqrt = _by_cross(small, large) if _cross_pays(small, large) else _by_covariance(small, large)
    replicates = [_distance(small, large, group, trace_sqrt) for group in range(n_groups)]
    return _distance(small, large, NEVER, trace_sqrt), np.array(replicates, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class _Side:
    """One set: its rows, where they belong, and count, sum and sum of squares of each group's centred rows."""

    rows: NDArray[Any]
    groups: Rows
    mean: Floats
    counts: dict[int, int]
    sums: dict[int, Floats]
    squares: dict[int, float]

    @property
    def size(self) -> int:
        return sum(self.counts.values())

    def pieces(self, group: int) -> Iterator[Floats]:
        """The centred rows of a group in float64, a few thousand at a time."""
        for rows in _pieces(self.rows, self.groups, group):
            yield rows - self.mean

    def fold(self, group: int) -> tuple[int, Floats, float]:
        """Number, mean (relative to the mean of all) and trace of the covariance of the rows without a group's."""
        n = self.size - self.counts.get(group, 0)
        offset = -self.sums.get(group, np.zeros_like(self.mean)) / max(n, 1)
        squares = sum(self.squares.values()) - self.squares.get(group, 0.0)
        return n, offset, (squares - n * float(offset @ offset)) / max(n - 1, 1)


def _pieces(rows: NDArray[Any], groups: Rows, group: int) -> Iterator[Floats]:
    index = np.flatnonzero(groups == group)
    for part in blocks(len(index)):
        yield rows[index[part]].astype(np.float64)


def _side(rows: NDArray[Any], groups: Rows) -> _Side:
    codes = [int(code) for code in np.unique(groups) if code != NEVER]
    counts = {code: int((groups == code).sum()) for code in codes}
    total = sum((piece.sum(axis=0) for code in codes for piece in _pieces(rows, groups, code)), np.zeros(rows.shape[1]))
    side = _Side(rows, groups, total / max(sum(counts.values()), 1), counts, {}, {})
    for code in codes:
        side.sums[code], side.squares[code] = np.zeros(rows.shape[1]), 0.0
        for piece in side.pieces(code):
            side.sums[code] += piece.sum(axis=0)
            side.squares[code] += float(np.einsum("ij,ij->", piece, piece))
    return side


def _distance(small: _Side, large: _Side, group: int, trace_sqrt: TraceSqrt) -> float:
    (n, a, trace_a), (m, b, trace_b) = small.fold(group), large.fold(group)
    if n < 2 or m < 2:
        return float("nan")
    shift = small.mean + a - large.mean - b
    return max(0.0, float(shift @ shift) + trace_a + trace_b - 2 * trace_sqrt(group))


def _cross_pays(small: _Side, large: _Side) -> bool:
    exact = small.size <= max(small.rows.shape[1], _SMALL)
    return exact and small.size * large.size <= _CROSS_UP_TO


def _by_cross(small: _Side, large: _Side) -> TraceSqrt:
    """tr sqrt(S_x S_y) of a fold as the nuclear norm of the doubly centred block of X Y^T."""
    where_x, where_y = (np.flatnonzero(side.groups != NEVER) for side in (small, large))
    x, cross = small.rows[where_x] - small.mean, np.empty((len(where_x), len(where_y)))
    for part in blocks(len(where_y)):
        cross[:, part] = x @ (large.rows[where_y[part]] - large.mean).T
    of_x, of_y = small.groups[where_x], large.groups[where_y]

    def trace_sqrt(group: int) -> float:
        kept_x, kept_y = (of_x != group).astype(np.float64), (of_y != group).astype(np.float64)
        n, m = kept_x.sum(), kept_y.sum()
        block = cross - kept_x @ cross / n
        block -= (block @ kept_y / m)[:, None]
        block *= kept_x[:, None]
        block *= kept_y  # rows and columns of zeros add nothing to the norm
        exact = group == NEVER and len(block) <= _SVD_UP_TO
        norm = np.linalg.svd(block, compute_uv=False).sum() if exact else _sqrt_sum(block @ block.T)
        return float(norm / np.sqrt((n - 1) * (m - 1)))

    return trace_sqrt


def _by_covariance(small: _Side, large: _Side) -> TraceSqrt:
    """tr sqrt(S_x S_y) of a fold from the d x d covariances; a group's share is computed again when it is left out."""
    totals = [sum((_second_moment(side, code) for code in side.counts), 0.0) for side in (small, large)]

    def covariance(side: _Side, total: Any, group: int) -> Floats:
        n, offset, _ = side.fold(group)
        kept = total - _second_moment(side, group) if group in side.counts else total
        return np.asarray((kept - n * np.outer(offset, offset)) / (n - 1), dtype=np.float64)

    def trace_sqrt(group: int) -> float:
        root = _lower_root(covariance(large, totals[1], group))
        inner = dtrmm(1.0, root, covariance(small, totals[0], group), lower=1, trans_a=1)
        return _sqrt_sum(dtrmm(1.0, root, inner, side=1, lower=1))

    return trace_sqrt


def _second_moment(side: _Side, group: int) -> Floats:
    total = np.zeros((side.rows.shape[1],) * 2)
    for piece in side.pieces(group):
        total += piece.T @ piece
    return total


def _lower_root(covariance: Floats) -> Floats:
    """Lower triangular L with L L^T = covariance, also where that is singular."""
    try:
        return np.asarray(np.linalg.cholesky(covariance), np.float64)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        return np.asarray(np.linalg.qr((vectors * np.sqrt(np.clip(values, 0, None))).T, mode="r"), np.float64).T


def _sqrt_sum(symmetric: Floats) -> float:
    """Sum of the square roots of the eigenvalues, those below 0 by rounding taken as 0."""
    return float(np.sqrt(np.clip(np.linalg.eigvalsh(symmetric), 0, None)).sum())
