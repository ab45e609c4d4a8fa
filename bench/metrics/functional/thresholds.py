"""Thresholds of verification: impostor scores, the threshold at a false match rate, and which values pass it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.metrics.functional.arrays import Floats
from bench.metrics.functional.cosine import DECIMALS, blocks
from bench.metrics.functional.similarity import Distance, comparable, table
from bench.threads import computed


def impostor_scores(
    embeddings: NDArray[np.float32], people: NDArray[np.object_], distance: Distance = "cosine"
) -> Floats:
    """Return the (k,) similarities, rounded to `DECIMALS`, of all pairs of rows that belong to different subjects.

    Args:
        embeddings: (n, d), raw or normalised.
        people: (n,) the subject of each row.
        distance: the recogniser's.
    """
    rows = comparable(embeddings, distance)
    codes = pd.factorize(people)[0]

    def scores_of(part: slice) -> Floats:
        scores = table(rows[part], rows[part.start :], distance)
        later = np.arange(scores.shape[1]) > np.arange(len(scores))[:, None]
        return np.round(scores[later & (codes[part][:, None] != codes[part.start :])], DECIMALS)

    return np.concatenate([np.empty(0), *computed(scores_of, blocks(len(rows), 1024))])


def level_name(fmr: float) -> str:
    """Return the name of a false match rate in the tables.

    >>> level_name(0.1), level_name(0.001), level_name(0.025)
    ('1e-1', '1e-3', '2.5e-2')
    """
    digits, exponent = f"{fmr:e}".split("e")
    return f"{float(digits):g}e{int(exponent)}"


def threshold_at(scores: Floats, fmr: float) -> float:
    """Return the smallest float64 t for which the share of `scores` >= t is at most `fmr`.

    It lies just above one of the scores.

    With k the largest whole number for which k / n <= fmr, that is the next float after the (k+1)-th largest score:
    `s >= t` is the same as "larger than the (k+1)-th largest". Equal scores are on the same side.

    Args:
        scores: (n,) impostor scores, n >= 1.
        fmr: below 1.

    >>> scores = np.array([0.1, 0.2, 0.3, 0.4])
    >>> bool(threshold_at(scores, 0.25) > 0.3), bool((scores >= threshold_at(scores, 0.25)).mean() == 0.25)
    (True, True)
    >>> bool((np.array([0.1, 0.4, 0.4, 0.4]) >= threshold_at(np.array([0.1, 0.4, 0.4, 0.4]), 0.5)).any())
    False
    """
    size = len(scores)
    above = max(k for k in (int(fmr * size) + step for step in (-1, 0, 1)) if k == 0 or k / size <= fmr)
    return float(np.nextafter(np.partition(scores, size - 1 - above)[size - 1 - above], np.inf))


def matches(values: Floats, threshold: float) -> NDArray[np.bool_]:
    """Return which similarities verify: rounded to `DECIMALS`, at or above the threshold; NaN (a failure) does not."""
    return np.round(values, DECIMALS) >= threshold
