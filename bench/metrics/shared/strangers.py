"""References of different subjects that look like one person, or have been one photo: they spoil a threshold."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.metrics.functional.arrays import Floats
from bench.metrics.functional.cosine import blocks, unit
from bench.metrics.functional.thresholds import impostor_scores
from bench.metrics.protocol import Evaluation
from bench.metrics.shared.cache import cached
from bench.metrics.shared.eligibility import nonzero, subjects, usable_references
from bench.metrics.shared.scores import notes
from bench.metrics.shared.subset import chosen
from bench.metrics.shared.thresholds import REFERENCE_LIMIT
from bench.threads import computed

FAR = 8.0
"""Robust standard deviations (1.4826 times the median distance from the median) above the median of all pairs of
strangers from which a pair is doubtful."""
FEWEST = 45
"""Pairs below which nothing is said: 10 people."""
SHOWN = 5
"""Pairs that a note names."""

Pair = tuple[str, str, float]
"""Two items and their similarity."""


def far_above(scores: Floats) -> float:
    """Return the similarity from which a pair of strangers is far above the rest.

    Args:
        scores: (k,) similarities of pairs of different subjects; infinity is the answer below `FEWEST`.

    >>> round(far_above(np.linspace(-0.1, 0.1, 101)), 3)
    0.593
    """
    if len(scores) < FEWEST:
        return float("inf")
    median = np.median(scores)
    return float(median + FAR * 1.4826 * np.median(np.abs(scores - median)))


def doubtful_pairs(references: pd.DataFrame, embeddings: NDArray[np.float32], scores: Floats) -> list[Pair]:
    """Return the pairs of references of different subjects that are far above the rest, the most similar first.

    Args:
        references: item and subject of each row of `embeddings`.
        embeddings: (n, d).
        scores: (k,) similarities of all pairs of different subjects.
    """
    cut, items = far_above(scores), references["item"].tolist()
    rows, codes = unit(embeddings), pd.factorize(references["subject"])[0]

    def doubtful(part: slice) -> list[Pair]:
        table = rows[part] @ rows[part.start :].T
        first, second = np.nonzero(table > cut)
        first, second = first + part.start, second + part.start
        strangers = (codes[first] != codes[second]) & (first < second)
        return [
            (items[i], items[j], float(table[i - part.start, j - part.start]))
            for i, j in zip(first[strangers], second[strangers], strict=True)
        ]

    pairs = [pair for found in computed(doubtful, blocks(len(rows), 1024)) for pair in found]
    return sorted(pairs, key=lambda pair: -pair[2])


def note(pairs: list[Pair]) -> str:
    """Return what a reader of a threshold must know of doubtful pairs.

    >>> note([("ann", "bob", 0.971)])
    'references of different people that are far more similar than others, 1: ann and bob (0.97)'
    """
    if not pairs:
        return ""
    named = ", ".join(f"{a} and {b} ({similarity:.2f})" for a, b, similarity in pairs[:SHOWN])
    more = ", …" if len(pairs) > SHOWN else ""
    return f"references of different people that are far more similar than others, {len(pairs)}: {named}{more}"


@cached
def doubts(evaluation: Evaluation, recogniser: str) -> str:
    """Return what a reader of a recogniser's thresholds must know of the references that set them; "" for nothing."""
    features = evaluation.features[recogniser]
    rows = np.flatnonzero(usable_references(evaluation, features, nonzero))
    rows = rows[chosen(subjects(evaluation.references)[rows], REFERENCE_LIMIT, evaluation.seed)]
    references, embeddings = evaluation.references.iloc[rows], features.references[rows]
    scores = impostor_scores(embeddings, subjects(references))
    return notes(same_photo_note(evaluation.references), note(doubtful_pairs(references, embeddings, scores)))


def same_photo_note(references: pd.DataFrame) -> str:
    """Return which references have the name of another person because the two share a photo, byte for byte.

    >>> same_photo_note(pd.DataFrame({"subject": ["ann", "ann"], "listed_subject": ["ann", "bob"]}))
    'subjects that share a photo count as one person: bob is ann'
    """
    if "listed_subject" not in references:
        return ""
    renamed = references[references["listed_subject"] != references["subject"]]
    pairs = dict(zip(renamed["listed_subject"], renamed["subject"], strict=True))
    named = ", ".join(f"{name} is {person}" for name, person in list(pairs.items())[:SHOWN])
    more = ", …" if len(pairs) > SHOWN else ""
    return f"subjects that share a photo count as one person: {named}{more}" if pairs else ""
