"""The Frechet distance between two sets of features, exact in float64, with its delete-group jackknife.

FD = |m_x - m_y|^2 + tr S_x + tr S_y - 2 tr sqrt(S_x S_y). The last trace is the sum of the singular values of
X_c Y_c^T / sqrt((n-1)(m-1)), with X_c and Y_c the centred features: no matrix square root, no complex numbers, nothing
added to a diagonal, and right also where the covariances are singular. Where both sets have more rows than columns, it
is the sum of the square roots of the eigenvalues of L^T S_x L with S_y = L L^T.

The sets are read once, in their order. Where they are large (`EXACT_FOLDS_UP_TO`), the trace of most folds is taken
from an expansion at the whole (`_Expansion`). What that lacks is measured on `MEASURED_FOLDS` exact folds, and grows
with the number of rows that a fold drops.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dsygst

from bench.metrics.functional.arrays import Floats, Rows
from bench.metrics.functional.cosine import blocks
from bench.threads import computed

ALWAYS, NEVER = -1, -2
"""Codes of rows that are in every fold of the jackknife, and of rows that are not part of the set at all."""
EXACT_FOLDS_UP_TO = 20_000
"""Rows of both sets together up to which every fold is computed exactly; above, most are by an expansion."""
EXACT_FOLDS_BELOW = 8
"""Rows of the smaller set for each dimension below which every fold is computed exactly, whatever the size."""
MEASURED_FOLDS = 2
"""Folds at least that are computed exactly where the others are by an expansion."""
_CURVED = 256
"""Eigenvalues of which the expansion has the second order."""
_PIECE = 1_024
"""Rows of a group that are multiplied at once."""
_SMALL_SHARE = 0.25
"""Parts of both sides, added, above which leaving a group out changes much: such folds are exact."""
_NEAR_ZERO = 1e-13
"""Eigenvalues of L^T S_x L below this part of the largest are rounding, and have no derivative."""
_SVD_UP_TO, _SVD_FOLDS_UP_TO = 1_000, 64  # rows of the smaller set; beyond, a Gram matrix is faster and good to 1e-8
_CROSS_UP_TO = 2**21  # entries of X Y^T, or 4 d^2 if that is more: beyond, d x d covariances are faster
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
    small, large = (_side(rows, groups, moments=not crossed) for rows, groups in sets)
    n_groups = 1 + max((int(codes.max()) for codes in (groups_x, groups_y) if len(codes)), default=ALWAYS)
    trace_sqrt = _by_cross(small, large) if crossed else _by_covariance(small, large)
    if not crossed and _expansion_pays(small.whole.count, large.whole.count, x.shape[1]):
        trace_sqrt = _by_expansion(small, large, n_groups, trace_sqrt)
    with ThreadPoolExecutor(2) as pool:  # each fold is computed alone: threads change no digit
        replicates = list(pool.map(lambda group: _distance(small, large, group, trace_sqrt), range(n_groups)))
    return _distance(small, large, NEVER, trace_sqrt), np.array(replicates, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class _Totals:
    """Number, sum, sum of squares and second moment of rows, relative to a point near their mean (no digits are lost).

    The second moment is a lower triangle in one line, empty where it is not needed. Those of groups are only taken
    away from the whole, and float32 does for them: it moves a fold by less than 1e-7 of itself.
    """

    count: int
    total: Floats
    squares: float
    moment: NDArray[Any]

    def add(self, part: _Totals) -> _Totals:
        """Return the totals with more rows, which are added to this second moment in place."""
        np.add(self.moment, part.moment, out=self.moment)
        return _Totals(self.count + part.count, self.total + part.total, self.squares + part.squares, self.moment)

    def minus(self, part: _Totals | None) -> _Totals:
        if part is None:
            return self
        return _Totals(
            self.count - part.count, self.total - part.total, self.squares - part.squares, self.moment - part.moment
        )

    @property
    def mean(self) -> Floats:
        return self.total / max(self.count, 1)

    @property
    def trace(self) -> float:
        """Of the covariance."""
        return (self.squares - self.count * float(self.mean @ self.mean)) / max(self.count - 1, 1)

    def covariance(self) -> Floats:
        """(d (d + 1) / 2,) lower triangle in one line."""
        of_means = np.outer(self.count * self.mean, self.mean)[_lower(len(self.mean))]
        return (self.moment - of_means) / (self.count - 1)


@dataclass(frozen=True, eq=False)
class _Side:
    """One set: its rows, their groups, a point near their mean, and the totals of each group and of all."""

    rows: NDArray[Any]
    groups: Rows
    centre: Floats
    parts: dict[int, _Totals]
    whole: _Totals

    def left(self, group: int) -> int:
        """The number of rows without a group's."""
        return self.whole.count - (self.parts[group].count if group in self.parts else 0)

    def fold(self, group: int) -> _Totals:
        """The totals of the rows without a group's."""
        return self.whole.minus(self.parts.get(group))


def _side(rows: NDArray[Any], groups: Rows, *, moments: bool) -> _Side:
    some, size = rows[np.flatnonzero(groups != NEVER)[:4096]], rows.shape[1]
    centre = some.mean(axis=0, dtype=np.float64) if len(some) else np.zeros(size)
    codes = [int(code) for code in np.unique(groups) if code != NEVER]
    # One block: freed one by one, with what is kept between them, they would leave gaps too small for a matrix.
    sums = np.zeros((len(codes), size * (size + 1) // 2 if moments else 0))
    parts = {code: _Totals(0, np.zeros(size), 0.0, line) for code, line in zip(codes, sums, strict=True)}
    for code, piece in computed(partial(_totals, moments=moments), _pieces(rows, groups, centre)):
        parts[code] = parts[code].add(piece)
    whole = _Totals(0, np.zeros(size), 0.0, np.zeros(sums.shape[1]))
    for part in parts.values():
        whole = whole.add(part)
    moments_32 = sums.astype(np.float32)
    parts = {code: replace(part, moment=line) for (code, part), line in zip(parts.items(), moments_32, strict=True)}
    return _Side(rows, groups, centre, parts, whole)


def _totals(given: tuple[int, Floats], *, moments: bool) -> tuple[int, _Totals]:
    """Return the group of a piece with the piece's totals."""
    code, piece = given
    # NumPy takes BLAS's dsyrk and, unlike SciPy, lets other threads run meanwhile.
    moment = (piece.T @ piece)[_lower(piece.shape[1])] if moments else np.zeros(0)
    return code, _Totals(len(piece), piece.sum(axis=0), float(np.vdot(piece, piece)), moment)


@lru_cache(maxsize=1)
def _lower(size: int) -> NDArray[np.bool_]:
    """(size, size) mask of the lower triangle, the diagonal included."""
    return np.tri(size, dtype=bool)


def _size(groups: Rows) -> int:
    return int((groups != NEVER).sum())


def _pieces(rows: NDArray[Any], groups: Rows, centre: Floats) -> Iterator[tuple[int, Floats]]:
    """Yield each group's rows relative to the centre, in float64, `_PIECE` at a time, in one pass over all rows."""
    waiting: dict[int, list[NDArray[Any]]] = defaultdict(list)
    for part in blocks(len(groups), _PIECE):
        block, codes = rows[part], groups[part]
        for code in np.unique(codes[codes != NEVER]).tolist():
            waiting[code].append(block[codes == code])
            if sum(map(len, waiting[code])) >= _PIECE:
                several = np.concatenate(waiting.pop(code))
                waiting[code].append(several[_PIECE:])
                yield code, several[:_PIECE] - centre
    for code, left in sorted(waiting.items()):
        yield code, np.concatenate(left) - centre


def _distance(small: _Side, large: _Side, group: int, trace_sqrt: TraceSqrt) -> float:
    x, y = small.fold(group), large.fold(group)
    if min(x.count, y.count) < 2:
        return float("nan")
    shift = small.centre + x.mean - large.centre - y.mean
    return max(0.0, float(shift @ shift) + x.trace + y.trace - 2 * trace_sqrt(group))


def _cross_pays(small: int, large: int, dimension: int) -> bool:
    return small <= max(dimension, _SMALL) and small * large <= max(4 * dimension**2, _CROSS_UP_TO)


def _expansion_pays(small: int, large: int, dimension: int) -> bool:
    return small + large > EXACT_FOLDS_UP_TO and small >= EXACT_FOLDS_BELOW * dimension


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
    """tr sqrt(S_x S_y) of a fold from the d x d covariances, as the eigenvalues of L^T S_x L with S_y = L L^T."""

    def trace_sqrt(group: int) -> float:
        root = _lower_root(_square(large.fold(group).covariance()))
        x = _square(small.fold(group).covariance())
        # LAPACK's columns are our rows: our lower triangles are its upper ones, and nothing is copied
        return _sqrt_sum(dsygst(x.T, root.T, itype=2, lower=0, overwrite_a=1)[0].T)

    return trace_sqrt


def _by_expansion(small: _Side, large: _Side, n_groups: int, exact: TraceSqrt) -> TraceSqrt:
    """tr sqrt(S_x S_y) of a fold by its expansion at the whole, and by what that lacks in the folds that drop most."""
    sides, whole = (small, large), [side.whole.covariance() for side in (small, large)]
    folds = [group for group in range(n_groups) if min(side.left(group) for side in sides) >= 2]
    share = {group: _share(small, group) + _share(large, group) for group in folds}
    if not any(share.values()):
        return exact
    largest = sorted(share, key=lambda group: -share[group])
    known = largest[: max(MEASURED_FOLDS, sum(part > _SMALL_SHARE for part in share.values()))]
    with ThreadPoolExecutor(2) as pool:
        expanding = pool.submit(_expansion, *whole)
        traces = dict(zip([NEVER, *known], pool.map(exact, [NEVER, *known]), strict=True))
    expansion = expanding.result()

    def expanded(group: int) -> float:
        changes = [side.fold(group).covariance() - line for side, line in zip(sides, whole, strict=True)]
        return traces[NEVER] + expansion.change(*changes)

    measured = known[-MEASURED_FOLDS:]
    rest = sum(traces[group] - expanded(group) for group in measured) / sum(share[group] for group in measured)

    def trace_sqrt(group: int) -> float:
        return traces[group] if group in traces else expanded(group) + rest * share[group]

    return trace_sqrt


@dataclass(frozen=True, eq=False)
class _Expansion:
    """tr sqrt(S_x S_y) near a pair of covariances.

    With A^T S_x A = B^T S_y B = diag(root), where B^T A = 1: the change is (tr A^T dS_x A + tr B^T dS_y B) / 2, less
    the sum over i, j of (A^T dS_x A - B^T dS_y B)_ij^2 / (root_i + root_j) / 4.

    Attributes:
        root: (k,) the largest eigenvalues of sqrt(S_x S_y).
        axes: (d, k) the columns of A and of B that belong to them, as float32: the second order is small.
        slopes: (d (d + 1) / 2,) lower triangles of A A^T and B B^T in one line, doubled below the diagonal.
    """

    root: Floats
    axes: tuple[NDArray[np.float32], NDArray[np.float32]]
    slopes: tuple[Floats, Floats]

    def change(self, *changes: Floats) -> float:
        """Return the change of the trace, of the second order what concerns the largest eigenvalues.

        Args:
            changes: (d (d + 1) / 2,) lower triangles of dS_x and dS_y in one line.
        """
        first = sum(float(np.vdot(slope, change)) for slope, change in zip(self.slopes, changes, strict=True)) / 2
        of_x, of_y = (_congruent(*pair) for pair in zip(self.axes, changes, strict=True))
        return first - float((np.square(of_x - of_y) / np.add.outer(self.root, self.root)).sum()) / 4


def _expansion(of_x: Floats, of_y: Floats) -> _Expansion:
    """Return the expansion at two covariances, given as lower triangles in one line."""
    values, axes = _joint_axes(of_x, of_y)
    x = _square(of_x)
    x += np.tril(x, -1).T
    b = x @ axes
    b /= values**0.75
    axes /= values**0.25
    slopes = (_slope(axes), _slope(b))
    largest = (axes[:, -_CURVED:].astype(np.float32), b[:, -_CURVED:].astype(np.float32))
    return _Expansion(np.sqrt(values[-_CURVED:]), largest, slopes)


def _joint_axes(of_x: Floats, of_y: Floats) -> tuple[Floats, Floats]:
    """Return the eigenvalues of L^T S_x L that are not 0, with S_y = L L^T, and the columns of L times its vectors."""
    root = _lower_root(_square(of_y))
    values, vectors = np.linalg.eigh(dsygst(_square(of_x).T, root.T, itype=2, lower=0, overwrite_a=1)[0].T)
    some = values > _NEAR_ZERO * values[-1]
    return values[some], root @ vectors[:, some]


def _slope(axes: Floats) -> Floats:
    """Return the lower triangle of A A^T in one line, doubled below the diagonal."""
    product = axes @ axes.T
    product *= 2
    product[np.diag_indices_from(product)] /= 2
    return product[_lower(len(product))]


def _square(line: NDArray[Any]) -> NDArray[Any]:
    """Return (d, d) the matrix of a lower triangle in one line, 0 above."""
    size = isqrt(2 * len(line))
    matrix = np.zeros((size, size), line.dtype)
    matrix[_lower(size)] = line
    return matrix


def _congruent(axes: NDArray[np.float32], line: Floats) -> Floats:
    """Return A^T S A of a symmetric S, given as its lower triangle in one line."""
    lower = _square(line.astype(np.float32))
    lower[np.diag_indices_from(lower)] /= 2
    half = (axes.T @ (lower @ axes)).astype(np.float64)
    return half + half.T


def _share(side: _Side, group: int) -> float:
    """Return the number of rows that a fold leaves out, over the number of all rows of the side."""
    return 1 - side.left(group) / side.whole.count


def _lower_root(covariance: Floats) -> Floats:
    """Lower triangular L with L L^T = covariance (of which the lower triangle is read), also where that is singular."""
    try:
        return np.asarray(np.linalg.cholesky(covariance), np.float64)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        return np.asarray(np.linalg.qr((vectors * np.sqrt(np.clip(values, 0, None))).T, mode="r"), np.float64).T


def _sqrt_sum(symmetric: Floats) -> float:
    """Sum of the square roots of the eigenvalues (the lower triangle is read), those below 0 by rounding taken as 0."""
    return float(np.sqrt(np.clip(np.linalg.eigvalsh(symmetric), 0, None)).sum())
