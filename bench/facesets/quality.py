"""The quality of a face set without training: uniqueness, consistency, diversity (DCFace, CVPR 2023), and scores.

Every function works on cosines of one recogniser. The recogniser should not be the one that the generator follows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.identities.sampling import Rule, distinct
from bench.metrics.functional.cosine import Floats, blocks, unit
from bench.metrics.precision_recall import neighbourhoods

THRESHOLD = 0.3
"""DCFace's: AdaFace IR-101 (WebFace4M) accepts one impostor pair in 10,000 of IJB-B at 0.3080."""


def centres(rows: NDArray[np.floating], identities: NDArray[np.int64]) -> Floats:
    """Return the unit centre of each identity: the mean of its unit vectors, made unit.

    Args:
        rows: (n, d) unit vectors.
        identities: (n,) numbers 0 to c - 1, each of which occurs.

    >>> centres(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), np.array([0, 1, 1])).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    totals = np.zeros((int(identities.max()) + 1, rows.shape[1]))
    np.add.at(totals, identities, rows)
    return unit(totals)


def uniqueness(middle: Floats, rule: Rule, threshold: float = THRESHOLD) -> float:
    """Return the share of identities whose centre is distinct from those that it is compared with.

    Args:
        middle: (c, d) unit centres.
        rule: see `bench.identities.sampling.Rule`.
        threshold: cosine above which two centres are the same person.
    """
    return len(distinct(middle, threshold, rule)) / len(middle)


def to_centre(rows: NDArray[np.floating], identities: NDArray[np.int64]) -> Floats:
    """Return the cosine of each image, a unit vector, to the centre of its identity, (n,)."""
    return np.asarray((unit(rows) * centres(rows, identities)[identities]).sum(1))


def consistency(cosines: Floats, threshold: float = THRESHOLD) -> float:
    """Return the share of images that look like their identity: cosine to its centre above the threshold."""
    return float((cosines > threshold).mean())


def diversity(real: Floats, made: Floats) -> float:
    """Return the share of a person's real images that lie among the generated ones (improved recall, k = 3).

    Args:
        real: (n, d) style features of one person's photos, n > 5.
        made: (m, d) those of the images with the same label, m > 3.
    """
    return neighbourhoods(real, made)["recall"]


@dataclass(frozen=True, eq=False)
class PairScores:
    """Cosines of pairs of images of one set.

    Attributes:
        mated: (k,) of two images of one identity.
        nonmated: (l,) of images of two identities.
    """

    mated: Floats
    nonmated: Floats

    @property
    def means(self) -> tuple[float, float]:
        """Mean of the mated and of the non-mated scores."""
        return float(self.mated.mean()), float(self.nonmated.mean())


def pair_scores(features: Floats, identities: NDArray[np.int64], limit: int, seed: int) -> PairScores:
    """Return the cosines of seeded random pairs, at most `limit` of each kind; of all pairs where they are fewer.

    Args:
        features: (n, d).
        identities: (n,) numbers.
        limit: pairs of each kind.
        seed: of the draw.
    """
    rows, rng = unit(features), np.random.default_rng(seed)
    mated = _thinned(_mated_pairs(identities), limit, rng)
    nonmated = _nonmated_pairs(identities, limit, rng)
    return PairScores(_scores(rows, mated), _scores(rows, nonmated))


def _mated_pairs(identities: NDArray[np.int64]) -> NDArray[np.int64]:
    """(k, 2) all pairs of rows with equal numbers."""
    order = np.argsort(identities, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(identities[order])) + 1)
    pairs = [np.stack(np.triu_indices(len(group), 1), 1) for group in groups]
    return np.concatenate([group[pair] for group, pair in zip(groups, pairs, strict=True)])


def _thinned(pairs: NDArray[np.int64], limit: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return pairs if len(pairs) <= limit else pairs[np.sort(rng.choice(len(pairs), limit, replace=False))]


def _nonmated_pairs(identities: NDArray[np.int64], limit: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """All pairs of rows with different numbers where they are few, else distinct random ones."""
    n = len(identities)
    if n * (n - 1) // 2 <= 4 * limit:
        pairs = np.stack(np.triu_indices(n, 1), 1)
    else:
        pairs = np.unique(np.sort(rng.integers(0, n, (2 * limit, 2)), 1), axis=0)
    return _thinned(pairs[identities[pairs[:, 0]] != identities[pairs[:, 1]]], limit, rng)


def _scores(rows: Floats, pairs: NDArray[np.int64]) -> Floats:
    found = np.empty(len(pairs))
    for part in blocks(len(pairs), 4096):
        found[part] = np.vecdot(rows[pairs[part, 0]], rows[pairs[part, 1]])
    return found


def error_rates(scores: PairScores) -> tuple[Floats, Floats, Floats]:
    """Return thresholds with the rates of errors at each: (thresholds, FMR, FNMR); `score >= threshold` accepts.

    Thresholds are all scores that occur, in ascending order, and infinity.
    """
    cuts = np.append(np.unique(np.concatenate([scores.mated, scores.nonmated])), np.inf)
    fmr = 1 - np.searchsorted(np.sort(scores.nonmated), cuts) / len(scores.nonmated)
    fnmr = np.searchsorted(np.sort(scores.mated), cuts) / len(scores.mated)
    return cuts, fmr, fnmr


def equal_error_rate(scores: PairScores) -> float:
    """Return the rate at which FMR and FNMR are equal: the middle of the two where they cross between two scores.

    >>> round(equal_error_rate(PairScores(np.array([0.9, 0.8, 0.4]), np.array([0.1, 0.2, 0.5]))), 6)
    0.333333
    """
    _, fmr, fnmr = error_rates(scores)
    crossing = np.abs(fmr - fnmr).argmin()
    return float((fmr[crossing] + fnmr[crossing]) / 2)
