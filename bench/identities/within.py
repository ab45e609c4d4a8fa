"""Variation within one identity: how the vectors of a person's images differ from the person's vector."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.errors import UserError
from bench.identity import IDENTITY, Spec
from bench.metrics.functional.cosine import Floats, unit


class Within(Spec):
    """How the images of one identity vary.

    Attributes:
        law: `none`: all images have the person's vector. `gaussian`: a vector of length `amount` in a random direction
            is added to the unit vector. `angular`: the vector is turned by `amount` degrees in a random direction.
            `covariance`: noise with `amount` squared times the covariance of the fitted people's images is added.
        amount: see `law`; not read for `none`.
    """

    law: Annotated[Literal["none", "gaussian", "angular", "covariance"], IDENTITY] = "none"
    amount: Annotated[float, Field(ge=0), IDENTITY] = 0.0


def vary(centre: Floats, noise: Floats, within: Within, root: Floats | None = None) -> Floats:
    """Return the unit vectors of a person's images.

    Args:
        centre: (d,) the person's unit vector.
        noise: (n, d) standard normal numbers, one row an image.
        within: the law.
        root: (d, d) with root.T @ root the covariance within people; only `covariance` reads it.

    Raises:
        UserError: the law is `covariance` and `root` is missing.

    >>> turned = vary(np.array([1.0, 0.0]), np.array([[5.0, 2.0]]), Within(law="angular", amount=60))
    >>> turned.round(6).tolist()
    [[0.5, 0.866025]]
    """
    if within.law == "none":
        return np.repeat(centre[None], len(noise), 0)
    if within.law == "angular":
        return _turned(centre, noise, np.radians(within.amount))
    if within.law == "gaussian":
        return unit(centre + within.amount * unit(noise))
    if root is None:
        raise UserError("within.law=covariance needs a fit with several images a subject; fit on such a dataset")
    return unit(centre + within.amount * (noise @ root))


def _turned(centre: Floats, noise: Floats, angle: float) -> Floats:
    sideways = unit(noise - np.outer(noise @ centre, centre))
    return np.asarray(np.cos(angle) * centre + np.sin(angle) * sideways)


def covariance_root(covariance: Floats) -> Floats:
    """Return r with r.T @ r the covariance; directions without variance give zeros.

    >>> covariance_root(np.diag([4.0, 0.0])).tolist()
    [[0.0, 0.0], [2.0, 0.0]]
    """
    variances, vectors = np.linalg.eigh(covariance)
    return np.sqrt(np.maximum(variances, 0.0))[:, None] * vectors.T


def deviations(rows: NDArray[np.floating], subjects: NDArray[np.int64]) -> tuple[Floats, int]:
    """Return how embeddings differ from the mean of their subject.

    Args:
        rows: (n, d) embeddings.
        subjects: (n,) who is in each image, 0 to the number of subjects less 1.

    Returns:
        (n, d) differences, and their degrees of freedom: n less the number of subjects that occur.
    """
    values = np.asarray(rows, np.float64)
    totals = np.zeros((int(subjects.max()) + 1, values.shape[1]))
    np.add.at(totals, subjects, values)
    counts = np.bincount(subjects, minlength=len(totals))
    means = totals / np.maximum(counts, 1)[:, None]
    return values - means[subjects], int(len(values) - (counts > 0).sum())
