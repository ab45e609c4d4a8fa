"""An evaluation small enough to follow by hand: the metrics' own examples are computed on it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.metrics.protocol import Evaluation, Features, Result

Rows = list[list[float]] | NDArray[np.float64]
LOST = [float("nan")] * 2


def example() -> Evaluation:
    """Ann and Bob with a reference, an unseen target and two samples each; the last of Bob's samples shows no face.

    Embeddings have two numbers. Ann's second sample smiles (5 away from the first), turns (0.5 radians) and looks
    more like Bob than like Ann. Her reference and her second sample show a second face. Bob's first sample is found at
    another scale than the configured one, and the scales disagree about it.
    """
    people = pd.DataFrame({"item": ["ann", "bob"], "subject": ["Ann", "Bob"], "status": "ok", "gender": ["f", "m"]})
    samples = people.loc[[0, 0, 1, 1]].reset_index(drop=True).assign(index=[0, 1, 0, 1])
    samples.loc[3, "status"] = "no_face"
    samples = samples.assign(**_found([1, 2, 1, 0], [0.02, 0.05, 0.2, np.nan], [True, True, False, False]))
    people = people.assign(**_found([2, 1], [0.02, 0.04], [True, True]))
    embeddings = _features([[1, 0], [0.6, 0.8], [0, 1], LOST], [[1, 0], [0, 1]], [[0.8, 0.6], [0.6, 0.8]])
    return Evaluation(
        samples=samples,
        references=people,
        targets=people[["subject", "status"]].assign(image=["ann/1.jpg", "bob/1.jpg"]),
        features={
            "arcface": embeddings,
            "dinov2": embeddings,
            "flame": _features(_flame(), np.zeros((2, 56)), np.zeros((2, 56))),
            "inception": _features([[1], [3], [5], [np.nan]], [[0], [2]], [[1], [1]]),
        },
        pairs={"lpips": pd.DataFrame({"item": ["ann"], "i": [0], "j": [1], "value": [0.3]})},
        to_reference={"lpips": pd.DataFrame({"item": ["ann", "ann", "bob"], "i": [0, 1, 0], "value": [0.0, 0.4, 0.2]})},
        roles={"arcface": "recognition"} | {name: name for name in ("dinov2", "flame", "inception", "lpips")},
        recognisers={"arcface": "conditioned"},
        groups=("gender",),
    )


def numbers(result: Result, *statistics: str, member: str = "") -> list[float | None]:
    """Return the values of some statistics over all samples (or over those of a group), to four decimals."""
    found = {
        one.number.statistic: one.value
        for one in result.scores
        if not one.number.subset and one.number.member == member
    }
    return [None if (value := found[name]) is None else round(value, 4) for name in statistics]


def _features(samples: Rows, references: Rows, targets: Rows) -> Features:
    of_samples, of_references, of_targets = (np.asarray(rows, np.float32) for rows in (samples, references, targets))
    return Features(of_samples, of_references, of_targets)


def _found(n_faces: list[int], disagreement: list[float], configured: list[bool]) -> dict[str, Any]:
    """Return what the detector says of images that were read at three scales."""
    found = {"n_faces": n_faces, "roll": 3.0, "det_configured": configured, "scales_read": 3, "scales_agree": 2}
    return found | {"disagreement": disagreement}


def _flame() -> NDArray[np.float64]:
    """Of the four samples: the second has two expression coefficients and a rotation of the head; the last is lost."""
    rows = np.zeros((4, 56))
    rows[1, [0, 1, 50, 52]] = [3, 4, 0.3, 0.4]
    rows[3] = np.nan
    return rows
