"""Kernel distances between samples and references, with and without the pairs that show the same subject.

The references are the very people whom the samples show. A pair of one subject is no pair of independent draws, and it
pulls each term of a kernel distance its own way. Left out of all three terms, the estimate is unbiased again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.metrics.functional.arrays import Floats
from bench.metrics.functional.block_sums import Kernel, SubjectSums, shared_codes, subject_sums, symmetric_sums
from bench.statistics import Jackknife, jackknife


@dataclass(frozen=True, eq=False)
class Term:
    """A sum of kernel values over pairs, by subject, (S,), and by group of subjects, (G,).

    Attributes:
        total: of the sum over all pairs.
        diagonal: of it, the part of rows paired with themselves (0 between two sets).
        involved: (S,) sum over the pairs of different subjects in which a subject takes part.
        strangers: sum over all pairs of different subjects.
        left: (G,) of it, the part that no subject of a group takes part in.
        n_involved: number of such pairs, likewise.
        n_strangers: likewise.
        n_left: likewise.
        n: number of all pairs.
        n_diagonal: of them, rows paired with themselves.
    """

    total: float
    diagonal: float
    involved: Floats
    strangers: float
    left: Floats
    n_involved: Floats
    n_strangers: float
    n_left: Floats
    n: int
    n_diagonal: int

    def biased(self) -> float:
        """Mean over all pairs, a row with itself included (a V-statistic)."""
        return self.total / self.n

    def plain(self) -> float:
        """Mean over all pairs but those of a row with itself (a U-statistic)."""
        return (self.total - self.diagonal) / (self.n - self.n_diagonal)

    def excluded(self) -> float:
        """Mean over the pairs of different subjects; NaN where there is none."""
        return self.strangers / self.n_strangers if self.n_strangers else float("nan")

    def without_each(self) -> Floats:
        """(S,) the same with one subject left out."""
        return _ratio(self.strangers - self.involved, self.n_strangers - self.n_involved)

    def without_groups(self) -> Floats:
        """(G,) the same with one group of subjects left out."""
        return _ratio(self.left, self.n_left)


@dataclass(frozen=True, eq=False)
class Terms:
    """The three terms of xx + yy - 2 xy."""

    xx: Term
    yy: Term
    xy: Term

    def biased(self) -> float:
        """MMD^2 as a V-statistic: never negative, biased upwards."""
        return self.xx.biased() + self.yy.biased() - 2 * self.xy.biased()

    def plain(self) -> float:
        """MMD^2 as a U-statistic: unbiased for independent sets."""
        return self.xx.plain() + self.yy.plain() - 2 * self.xy.plain()

    def excluded(self) -> float:
        """MMD^2 without pairs of the same subject, in all three terms; NaN where a term has no pair left."""
        return self.xx.excluded() + self.yy.excluded() - 2 * self.xy.excluded()

    def jackknife(self) -> Jackknife | None:
        """Delete-one-subject jackknife of `excluded`; None where leaving one out leaves a term without pairs."""
        replicates = self.xx.without_each() + self.yy.without_each() - 2 * self.xy.without_each()
        return jackknife(self.excluded(), replicates)

    def without_groups(self) -> Floats:
        """(G,) `excluded` with the subjects of one group left out of both sets; NaN where a term has no pair left."""
        return self.xx.without_groups() + self.yy.without_groups() - 2 * self.xy.without_groups()


def terms(
    x: NDArray[Any],
    y: NDArray[Any],
    subjects_x: NDArray[Any],
    subjects_y: NDArray[Any],
    kernel: Kernel,
    groups: Mapping[Any, int] | None = None,
) -> Terms:
    """The kernel sums of two sets, in float64 and in memory linear in their rows.

    Args:
        x: (n, d) features, n >= 2.
        y: (m, d) features, m >= 2.
        subjects_x: (n,) subject of each row.
        subjects_y: (m,) likewise.
        kernel: elementwise function of the inner product of two rows.
        groups: number of the group, from 0, of each subject that some fold of a jackknife leaves out.
    """
    names, codes_x, codes_y = shared_codes(subjects_x, subjects_y)
    size, members = len(names), _members(names, groups or {})
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    n, m = (np.bincount(codes, minlength=size).astype(np.float64) for codes in (codes_x, codes_y))
    return Terms(
        xx=_own(symmetric_sums(a, codes_x, members, kernel), a, n, members, kernel),
        yy=_own(symmetric_sums(b, codes_y, members, kernel), b, m, members, kernel),
        xy=_between(subject_sums(a, b, codes_x, codes_y, members, kernel), n, m, members),
    )


def _ratio(total: Floats, number: Floats) -> Floats:
    """Means of whole numbers of pairs; NaN where there is none, whatever rounding left of their sum."""
    return np.divide(total, number, out=np.full(number.shape, np.nan), where=number > 0)


def _members(names: NDArray[Any], groups: Mapping[Any, int]) -> Floats:
    """(S, G) 1 where a subject belongs to a group, else 0."""
    numbers = np.array([groups.get(name, -1) for name in names], dtype=np.int64)
    return (numbers[:, None] == np.arange(1 + max(groups.values(), default=-1))).astype(np.float64)


def _without(total: float, involved: Floats, together: Floats, members: Floats) -> Floats:
    """(G,) a total over pairs without those of a group's subjects; pairs of two of its subjects were counted twice."""
    return np.asarray(total - involved @ members + together)


def _own(sums: SubjectSums, rows: Floats, n: Floats, members: Floats, kernel: Kernel) -> Term:
    size, apart = len(rows), sums.by_x - sums.same
    strangers, n_apart = float(apart.sum()), n * (size - n)
    together, n_together = sums.together - sums.same @ members, (n @ members) ** 2 - n**2 @ members
    return Term(
        total=float(sums.by_x.sum()),
        diagonal=float(kernel(np.einsum("ij,ij->i", rows, rows)).sum()),
        involved=2 * apart,
        strangers=strangers,
        left=_without(strangers, 2 * apart, together, members),
        n_involved=2 * n_apart,
        n_strangers=float(n_apart.sum()),
        n_left=_without(float(n_apart.sum()), 2 * n_apart, n_together, members),
        n=size**2,
        n_diagonal=size,
    )


def _between(sums: SubjectSums, n: Floats, m: Floats, members: Floats) -> Term:
    apart = sums.by_x - sums.same
    involved, n_involved = apart + sums.by_y - sums.same, n * (m.sum() - m) + m * (n.sum() - n)
    strangers, n_strangers = float(apart.sum()), float((n * (m.sum() - m)).sum())
    together, n_together = sums.together - sums.same @ members, (n @ members) * (m @ members) - (n * m) @ members
    return Term(
        total=float(sums.by_x.sum()),
        diagonal=0.0,
        involved=involved,
        strangers=strangers,
        left=_without(strangers, involved, together, members),
        n_involved=n_involved,
        n_strangers=n_strangers,
        n_left=_without(n_strangers, n_involved, n_together, members),
        n=int(n.sum() * m.sum()),
        n_diagonal=0,
    )
