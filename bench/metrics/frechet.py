"""The Frechet distance between two sets of features, exact in float64, with its delete-group jackknife.

FD = |m_x - m_y|^2 + tr S_x + tr S_y - 2 tr sqrt(S_x S_y). The last trace is the sum of the singular values of
X_c Y_c^T / sqrt((n-1)(m-1)), with X_c and Y_c the centred features: no matrix square root, no complex numbers, nothing
added to a diagonal, and right also where the covariances are singular. Where both sets have more rows than columns, it
is the sum of the square roots of the eigenvalues of L^T S_x L with S_y = L L^T.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dsygst

from bench.metrics.cosine import Floats, blocks
from bench.metrics.standing import Rows

ALWAYS, NEVER = -1, -2
"""Codes of rows that are in every fold of the jackknife, and of rows that are not part of the set at all."""
_SVD_UP_TO, _SVD_FOLDS_UP_TO = 1_000, 64  # rows of the smaller set; beyond, a Gram matrix is faster and good to 1e-8
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
    sets = sorted(((x, groups_x), (y, groups_y)), key=lambda rows: _size(rows[1]))
    crossed = _cross_pays(_size(sets[0][1]), _size(sets[1][1]), x.shape[1])
    small, large = (_side(rows, groups, moment=not crossed) for rows, groups in sets)
    n_groups = 1 + max((int(codes.max()) for codes in (groups_x, groups_y) if len(codes)), default=ALWAYS)
    trace_sqrt = _by_cross(small, large) if crossed else _by_covariance(small, large)
    replicates = [_distance(small, large, group, trace_sqrt) for group in range(n_groups)]
    return _distance(small, large, NEVER, trace_sqrt), np.array(replicates, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class _Side:
    """One set: its rows, where they belong, and number, sum and sum of squares of each group's rows.

    The sums are of differences to `centre`, a point near the mean, so that they lose no digits.
    """

    rows: NDArray[Any]
    groups: Rows
    centre: Floats
    totals: dict[int, tuple[int, Floats, float]] = field(default_factory=dict)
    moment: Floats | None = None

    def fold(self, group: int) -> tuple[int, Floats, float]:
        """Number, mean (relative to the centre) and trace of the covariance of the rows without a group's."""
        kept = [totals for code, totals in self.totals.items() if code != group]
        n, squares = sum(count for count, _, _ in kept), sum(square for _, _, square in kept)
        offset = sum((total for _, total, _ in kept), np.zeros_like(self.centre)) / max(n, 1)
        return n, offset, (squares - n * float(offset @ offset)) / max(n - 1, 1)


def _side(rows: NDArray[Any], groups: Rows, *, moment: bool) -> _Side:
    some, size = rows[np.flatnonzero(groups != NEVER)[:4096]], rows.shape[1]
    centre = some.mean(axis=0, dtype=np.float64) if len(some) else np.zeros(size)
    side = _Side(rows, groups, centre, moment=np.zeros((size, size)) if moment else None)
    return replace(side, totals={int(code): _totals(side, code) for code in np.unique(groups) if code != NEVER})


def _totals(side: _Side, group: int) -> tuple[int, Floats, float]:
    """Number, sum and sum of squares of a group's rows; their second moment is added to that of the set."""
    count, total, squares = 0, np.zeros_like(side.centre), 0.0
    for piece in _pieces(side, group):
        count, total, squares = count + len(piece), total + piece.sum(axis=0), squares + float(np.vdot(piece, piece))
        if side.moment is not None:
            np.add(side.moment, piece.T @ piece, out=side.moment)
    return count, total, squares


def _size(groups: Rows) -> int:
    return int((groups != NEVER).sum())


def _pieces(side: _Side, group: int) -> Iterator[Floats]:
    """The rows of a group relative to the centre, in float64, a few thousand at a time."""
    index = np.flatnonzero(side.groups == group)
    for part in blocks(len(index)):
        yield side.rows[index[part]] - side.centre


def _distance(small: _Side, large: _Side, group: int, trace_sqrt: TraceSqrt) -> float:
    (n, a, trace_a), (m, b, trace_b) = small.fold(group), large.fold(group)
    if n < 2 or m < 2:
        return float("nan")
    shift = small.centre + a - large.centre - b
    return max(0.0, float(shift @ shift) + trace_a + trace_b - 2 * trace_sqrt(group))


def _cross_pays(small: int, large: int, dimension: int) -> bool:
    return small <= max(dimension, _SMALL) and small * large <= _CROSS_UP_TO


def _by_cross(small: _Side, large: _Side) -> TraceSqrt:
    """tr sqrt(S_x S_y) of a fold as the nuclear norm of the doubly centred block of X Y^T."""
    where_x, where_y = (np.flatnonzero(side.groups != NEVER) for side in (small, large))
    x, cross = small.rows[where_x] - small.centre, np.empty((len(where_x), len(where_y)))
    for part in blocks(len(where_y)):
        cross[:, part] = x @ (large.rows[where_y[part]] - large.centre).T
    of_x, of_y = small.groups[where_x], large.groups[where_y]

    def trace_sqrt(group: int) -> float:
        kept_x, kept_y = (of_x != group).astype(np.float64), (of_y != group).astype(np.float64)
        n, m = kept_x.sum(), kept_y.sum()
        block = cross - kept_x @ cross / n
        block -= (block @ kept_y / m)[:, None]
        block *= kept_x[:, None]
        block *= kept_y  # rows and columns of zeros add nothing to the norm
        exact = len(block) <= (_SVD_UP_TO if group == NEVER else _SVD_FOLDS_UP_TO)
        norm = np.linalg.svd(block, compute_uv=False).sum() if exact else _sqrt_sum(block @ block.T)
        return float(norm / np.sqrt((n - 1) * (m - 1)))

    return trace_sqrt


def _by_covariance(small: _Side, large: _Side) -> TraceSqrt:
    """tr sqrt(S_x S_y) of a fold from the d x d covariances; a group's share is computed again when it is left out."""

    def trace_sqrt(group: int) -> float:
        root = _lower_root(_covariance(large, group))
        return _sqrt_sum(dsygst(_covariance(small, group), root, itype=2, lower=1)[0])  # L^T S L

    return trace_sqrt


def _covariance(side: _Side, group: int) -> Floats:
    """(d, d) covariance of the rows without a group's."""
    n, offset, _ = side.fold(group)
    kept = np.array(side.moment)
    for piece in _pieces(side, group) if group in side.totals else ():
        kept -= piece.T @ piece
    return (kept - n * np.outer(offset, offset)) / (n - 1)


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
