"""Verification accuracy as LFW defines it: pairs, ten folds by position, and what may be said about the difference.

A pair is two images; its score is the cosine of their embeddings, its distance 2 - 2 cosine as in insightface's code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from bench.errors import UserError
from bench.metrics.functional.cosine import Floats, unit

FOLDS = 10
CUTS = np.arange(0, 4, 0.01)
"""The thresholds on the squared Euclidean distance that are tried."""
PAIRS_PER_ERROR = 10
"""A rate of false matches is honest with at least this many times 1/rate impostor pairs."""
_RESAMPLES = 2000

Flags = NDArray[np.bool_]


def distances(features: NDArray[np.floating]) -> Floats:
    """Return the squared Euclidean distance of each pair, (n,), in [0, 4].

    Args:
        features: (2n, d) embeddings, raw; rows 2k and 2k + 1 form pair k.

    Raises:
        UserError: the number of rows is odd, or an embedding is zero or not finite.
    """
    if len(features) % 2:
        raise UserError(f"{len(features)} embeddings do not form pairs")
    rows = unit(features)
    if not np.isfinite(rows).all():
        raise UserError(f"embedding {int(np.flatnonzero(~np.isfinite(rows).all(1))[0])} is zero or not finite")
    return np.asarray(np.square(rows[::2] - rows[1::2]).sum(1))


@dataclass(frozen=True, eq=False)
class Verification:
    """The ten-fold accuracy on one set of pairs.

    Attributes:
        folds: (k,) the accuracy on each fold, at the threshold that is best on all other folds.
        right: (n,) whether each pair was decided rightly.
    """

    folds: Floats
    right: Flags

    @property
    def accuracy(self) -> float:
        """Mean over the folds."""
        return float(self.folds.mean())

    @property
    def deviation(self) -> float:
        """Standard deviation over the folds, with k as the divisor, as insightface prints it."""
        return float(self.folds.std())

    @property
    def error(self) -> float:
        """Standard error of the mean over the folds."""
        return float(self.folds.std(ddof=1) / np.sqrt(len(self.folds)))


def verify(distance: Floats, same: Flags, folds: int = FOLDS) -> Verification:
    """Return the accuracy by the protocol of LFW: folds are blocks of neighbouring pairs, never shuffled.

    Of several thresholds that are best on the other folds the smallest is taken; a pair is accepted below it.

    Args:
        distance: (n,) squared distance of each pair.
        same: (n,) whether the pair shows one person.
        folds: number of folds; the first ones have a pair more where n is not a multiple.

    Raises:
        UserError: there are fewer pairs than folds.
    """
    if len(distance) < folds:
        raise UserError(f"{len(distance)} pairs cannot be split into {folds} folds")
    correct = (distance < CUTS[:, None]) == same
    total = correct.sum(1)
    right = np.empty(len(same), bool)
    places = np.array_split(np.arange(len(same)), folds)
    for place in places:
        best = (total - correct[:, place].sum(1)).argmax()
        right[place] = correct[best, place]
    return Verification(np.array([right[place].mean() for place in places]), right)


def rates(distance: Floats, same: Flags, folds: int = FOLDS) -> tuple[Floats, Floats]:
    """Return the true and the false accept rate at each of `CUTS`, (400,) each, averaged over the folds.

    A fold without a pair of one kind counts as rate 0, as in insightface's code.
    """
    accepted = distance < CUTS[:, None]
    tar, far = np.zeros((2, len(CUTS)))
    for place in np.array_split(np.arange(len(same)), folds):
        genuine = same[place]
        tar += accepted[:, place[genuine]].sum(1) / max(genuine.sum(), 1) / folds
        far += accepted[:, place[~genuine]].sum(1) / max((~genuine).sum(), 1) / folds
    return tar, far


@dataclass(frozen=True)
class TarAtFar:
    """The true accept rate at a false accept rate, over all folds together.

    Attributes:
        far: the rate that was asked for.
        threshold: on the cosine; scores above it are accepted.
        tar: share of the genuine pairs above it.
        achieved: share of the impostor pairs above it; never more than `far`.
        honest: whether there are enough impostor pairs for this rate.
    """

    far: float
    threshold: float
    tar: float
    achieved: float
    honest: bool


def tar_at_far(distance: Floats, same: Flags, far: float) -> TarAtFar:
    """Return the true accept rate at the threshold that lets at most `far` of the impostor pairs pass.

    The threshold is the impostor score with (0-based) index floor(far * n) in descending order; equal scores are
    rejected.

    Raises:
        UserError: genuine or impostor pairs are missing.
    """
    scores = 1 - distance / 2
    genuine, impostors = scores[same], np.sort(scores[~same])[::-1]
    if not len(genuine) or not len(impostors):
        raise UserError("the pairs show one person only, or two people only; both kinds are needed")
    cut = impostors[min(int(np.floor(far * len(impostors))), len(impostors) - 1)]
    honest = len(impostors) * far >= PAIRS_PER_ERROR
    return TarAtFar(far, float(cut), float((genuine > cut).mean()), float((impostors > cut).mean()), honest)


def pair_bootstrap(right: Flags, seed: int, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of the share of right decisions over resampled pairs.

    The thresholds stay those of the folds; the number of right decisions in a resample is binomial.
    """
    rng = np.random.default_rng(seed)
    shares = rng.binomial(len(right), right.mean(), _RESAMPLES) / len(right)
    low, high = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class McNemar:
    """Two recognisers' decisions on the same pairs.

    Attributes:
        only_first: pairs that only the first decided rightly.
        only_second: pairs that only the second decided rightly.
        p_value: of the exact two-sided test; 1 where they never differ.
    """

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first: Flags, second: Flags) -> McNemar:
    """Compare two recognisers pair by pair.

    Args:
        first: (n,) whether each decision of the first was right.
        second: likewise, in the same order.

    Raises:
        UserError: the two were tested on different numbers of pairs.

    >>> mcnemar(np.array([True] * 5 + [False]), np.array([False] * 5 + [False]))
    McNemar(only_first=5, only_second=0, p_value=0.0625)
    """
    if len(first) != len(second):
        raise UserError(f"one recogniser has {len(first)} decisions, the other {len(second)}: not the same pairs")
    b, c = int((first & ~second).sum()), int((~first & second).sum())
    p_value = min(1.0, 2 * float(binom.cdf(min(b, c), b + c, 0.5)))
    return McNemar(b, c, p_value)
