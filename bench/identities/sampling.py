"""New identities: vectors drawn from the principal components, of which the distinct ones are kept."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from bench.errors import UserError
from bench.identities.pca import Pca, components
from bench.metrics.functional.cosine import Floats, blocks, unit

Rule = Literal["greedy", "literal"]
"""`greedy` compares a vector with those that were kept before it, `literal` with all that came before it.

DCFace's words describe the first, its equation 12 and Vec2Face's code the second; the first keeps several times as
many at a low threshold."""

_BLOCK = 2048


def draw(pca: Pca, noise: Floats, kept: int | None = None) -> Floats:
    """Return unit vectors with the mean and the covariance of the fitted embeddings.

    Args:
        pca: of embeddings.
        noise: (n, d) standard normal numbers; the first `kept` of each row are read.
        kept: number of components; all where it is None.

    Returns:
        (n, d) float64 of length 1.
    """
    return unit(raw(pca, noise, kept))


def raw(pca: Pca, noise: Floats, kept: int | None = None) -> Floats:
    """Return the vectors of `draw` before they are divided by their length."""
    basis = components(pca, pca.width if kept is None else kept)
    deviations = np.sqrt(pca.variances[: len(basis)])
    return np.asarray(pca.mean + (noise[:, : len(basis)] * deviations) @ basis)


def distinct(vectors: Floats, threshold: float, rule: Rule = "greedy", limit: int | None = None) -> list[int]:
    """Return the rows that are not too similar to earlier ones, in order.

    Args:
        vectors: (n, d) unit vectors.
        threshold: a row is dropped where its cosine to a row that it is compared with exceeds this.
        rule: which rows it is compared with.
        limit: stop once so many are kept.

    Raises:
        UserError: `rule` is neither of the two.

    >>> line = unit(np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]))
    >>> distinct(line, 0.5), distinct(line, 0.5, "literal")
    ([0, 2], [0])
    """
    if rule not in get_args(Rule):
        raise UserError(f"rule {rule!r}; allowed are {', '.join(get_args(Rule))}")
    kept: list[int] = []
    for part in blocks(len(vectors), _BLOCK):
        earlier = vectors[kept] if rule == "greedy" else vectors[: part.start]
        free = ~_near_any(vectors[part], earlier, threshold)
        kept += [part.start + row for row in _within(vectors[part], free, threshold, rule)]
        if limit is not None and len(kept) >= limit:
            return kept[:limit]
    return kept


def _near_any(rows: Floats, others: Floats, threshold: float) -> np.ndarray:
    near = np.zeros(len(rows), bool)
    for part in blocks(len(others), _BLOCK):
        near |= (rows @ others[part].T > threshold).any(1)
    return near


def _within(rows: Floats, free: np.ndarray, threshold: float, rule: Rule) -> list[int]:
    """The rows of one block that are kept, given which of them are near to no row before the block."""
    near = np.tril(rows @ rows.T > threshold, -1)
    if rule == "literal":
        return np.flatnonzero(free & ~near.any(1)).tolist()
    keep = np.zeros(len(rows), bool)
    for row in np.flatnonzero(free):
        keep[row] = not (near[row] & keep).any()
    return np.flatnonzero(keep).tolist()
