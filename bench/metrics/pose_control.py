"""Pose control: how far the head of a sample is turned from where it was asked to be."""

from __future__ import annotations

from bench.conditions.asked import ASKED
from bench.metrics.functional.flame import GLOBAL, POSE
from bench.metrics.protocol import Evaluation, Metric, Result, Tolerance
from bench.metrics.shared.control_scores import control_scores, statistics_of
from bench.studies.control import POSE_ERRORS

NAME = "pose_control"
PARTS = {"head_degrees": GLOBAL, "head_l1_degrees": GLOBAL, "pose6_l2": POSE}
"""Name of an error -> the part of the FLAME parameters that it reads."""
TITLES = {
    "head_degrees": "angle of the head",
    "head_l1_degrees": "yaw, pitch and roll, mean L1 (APD)",
    "pose6_l2": "head and jaw, L2",
}


def compute(evaluation: Evaluation) -> Result:
    """Return the errors of the head's pose, with the level at chance and the skill, by each FLAME extractor.

    >>> import numpy as np, pandas as pd
    >>> from dataclasses import replace
    >>> from bench.metrics.shared.example import example, numbers
    >>> given = example()  # Ann's second sample is turned by 0.5 radians; Bob's second shows no face
    >>> asked = np.zeros((4, 58)); asked[1, [50, 52]] = 0.3, 0.4
    >>> given = replace(given, samples=given.samples.assign(asked=pd.Series(list(asked), dtype=object)))
    >>> numbers(compute(given), "head_degrees", "head_degrees_skill")
    [0.0, 1.0]
    """
    return control_scores(evaluation, NAME, {name: (POSE_ERRORS[name], part) for name, part in PARTS.items()})


METRIC = Metric(
    name=NAME,
    version=1,
    title="pose control",
    unit="degrees; L2 in radians",
    higher_is_better=None,
    range=(0.0, None),
    source="APD of talking-head papers, here the geodesic angle; skill = 1 - error / error against others' targets",
    needs=("flame",),
    statistics=statistics_of(TITLES, "head_degrees"),
    compute=compute,
    tolerance=Tolerance(relative=5e-2),
    columns=(ASKED,),
)
