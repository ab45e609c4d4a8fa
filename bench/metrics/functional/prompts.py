"""How well images follow their prompts: cosines of CLIP's two halves, and what the field makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.metrics.functional.cosine import Floats, unit


def similarities(images: NDArray[Any], texts: NDArray[Any]) -> Floats:
    """Return the cosines (n, p) of image embeddings (n, d) and prompt embeddings (p, d).

    >>> similarities(np.array([[2.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 3.0]]))
    array([[1., 0.]])
    """
    return unit(images) @ unit(texts).T


def own_and_others(table: Floats, prompt: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return each image's cosine with its own prompt (n,), and its mean cosine with all other prompts (n,).

    The second is the floor: what an image scores that pays no heed to its prompt. With one prompt there is none (NaN).

    Args:
        table: (n, p) cosines.
        prompt: (n,) index of each image's own prompt.

    >>> own, others = own_and_others(np.array([[0.3, 0.1, 0.2]]), np.array([0]))
    >>> own.tolist(), others.round(6).tolist()
    ([0.3], [0.15])
    """
    own = np.take_along_axis(table, prompt[:, None], axis=1)[:, 0]
    count = table.shape[1] - 1
    others = (table.sum(1) - own) / count if count else np.full(len(table), np.nan)
    return own, others


def clip_score(cosine: NDArray[Any]) -> Floats:
    """Return torchmetrics' CLIPScore: 100 times the cosine, not below 0.

    >>> clip_score(np.array([0.25, -0.1])).tolist()
    [25.0, 0.0]
    """
    return 100 * np.maximum(np.asarray(cosine, np.float64), 0)


def clip_score_hessel(cosine: NDArray[Any]) -> Floats:
    """Return the CLIPScore of Hessel et al. (EMNLP 2021): 2.5 times the cosine, not below 0.

    >>> clip_score_hessel(np.array([0.4, -0.1])).tolist()
    [1.0, 0.0]
    """
    return 2.5 * np.maximum(np.asarray(cosine, np.float64), 0)
