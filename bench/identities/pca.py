"""Principal components of embeddings, from sums that are gathered in one pass and merged over shards."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from bench.metrics.functional.cosine import Floats, unit

ROWS_PER_COMPONENT = 10
"""A fit on fewer vectors than this many times their length says little about the last components."""


@dataclass(frozen=True, eq=False)
class Moments:
    """The sums that a mean and a covariance need, of some vectors; those of two sets are added.

    Attributes:
        n: number of vectors.
        total: (d,) their sum.
        products: (d, d) the sum of their outer products.
    """

    n: int
    total: Floats
    products: Floats

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.n + other.n, self.total + other.total, self.products + other.products)

    @property
    def mean(self) -> Floats:
        """(d,) the mean vector."""
        return self.total / self.n

    @property
    def covariance(self) -> Floats:
        """(d, d) about the mean, with n - 1 as the divisor."""
        return np.asarray((self.products - np.outer(self.total, self.mean)) / (self.n - 1))


def moments(rows: NDArray[np.floating]) -> Moments:
    """Return the sums of (n, d) vectors, in float64.

    >>> both = moments(np.array([[1.0, 0.0]])) + moments(np.array([[3.0, 2.0]]))
    >>> both.mean.tolist(), both.covariance.tolist()
    ([2.0, 1.0], [[2.0, 2.0], [2.0, 2.0]])
    """
    values = np.asarray(rows, np.float64)
    return Moments(len(values), values.sum(0), values.T @ values)


def gather(blocks: Iterable[NDArray[np.floating]]) -> Moments:
    """Return the sums over all blocks of vectors; memory doesn't grow with their number.

    Raises:
        UserError: there are fewer than two vectors, or blocks of different width.
    """
    parts = (moments(block) for block in blocks if len(block))
    try:
        found = reduce(Moments.__add__, parts)
    except TypeError as error:
        raise UserError("no embedding to fit on") from error
    except ValueError as error:
        raise UserError(f"embeddings of different lengths cannot be fitted together: {error}") from error
    if found.n < 2:
        raise UserError("one embedding has no principal components; give at least two")
    return found


@dataclass(frozen=True, eq=False)
class Pca:
    """Principal components of embeddings.

    Attributes:
        mean: (d,) float64.
        components: (d, d) float64, one unit vector a row, the largest variance first; the entry of largest magnitude
            of each is positive.
        variances: (d,) float64 along the components, with n - 1 as the divisor.
        n: number of vectors it was fitted on.
    """

    mean: Floats
    components: Floats
    variances: Floats
    n: int

    @property
    def width(self) -> int:
        """Length of an embedding."""
        return len(self.mean)

    @property
    def cumulative(self) -> Floats:
        """(d,) the share of the variance that the first 1, 2, ... components explain (the paper's Fig. 8c)."""
        return np.cumsum(self.variances) / self.variances.sum()

    @property
    def complete(self) -> bool:
        """Whether the fit saw enough vectors for its last components."""
        return self.n >= ROWS_PER_COMPONENT * self.width

    def needed(self, share: float) -> int:
        """Return how many components explain at least `share` of the variance."""
        return min(int(np.searchsorted(self.cumulative, share - 1e-12)) + 1, self.width)


def fit(sums: Moments) -> Pca:
    """Return the principal components of the vectors behind `sums`, by the eigenvectors of their covariance."""
    variances, vectors = np.linalg.eigh(sums.covariance)
    components = vectors.T[::-1]
    largest = np.abs(components).argmax(1)
    signs = np.sign(components[np.arange(len(components)), largest])
    return Pca(sums.mean, components * signs[:, None], np.maximum(variances[::-1], 0.0), sums.n)


def reconstruct(pca: Pca, rows: NDArray[np.floating], kept: int) -> Floats:
    """Return (n, d) embeddings rebuilt from their first `kept` components and the mean, not normalised.

    Raises:
        UserError: `kept` is not between 1 and the length of an embedding.
    """
    basis = components(pca, kept)
    return np.asarray(pca.mean + (np.asarray(rows, np.float64) - pca.mean) @ basis.T @ basis)


def components(pca: Pca, kept: int) -> Floats:
    """Return the first `kept` components.

    Raises:
        UserError: `kept` is not between 1 and the length of an embedding.
    """
    if not 1 <= kept <= pca.width:
        raise UserError(f"{kept} components; allowed are 1 to {pca.width}")
    return pca.components[:kept]


def reconstruction(pca: Pca, rows: NDArray[np.floating], kept: int) -> dict[str, float]:
    """Return how well `kept` components rebuild (n, d) embeddings (the numbers under the paper's Fig. 8d).

    Returns:
        `mean`, `median`, `q05` and `min` of the cosine between an embedding and its reconstruction, and `mse`, the
        mean squared distance between the two.
    """
    rebuilt, given = reconstruct(pca, rows, kept), np.asarray(rows, np.float64)
    cosine = (unit(rebuilt) * unit(given)).sum(1)
    return {
        "mean": float(cosine.mean()),
        "median": float(np.median(cosine)),
        "q05": float(np.quantile(cosine, 0.05)),
        "min": float(cosine.min()),
        "mse": float(np.square(rebuilt - given).sum(1).mean()),
    }
