"""Expression control: how far the expression of a sample is from the one that it was asked for."""

from __future__ import annotations

from bench.conditions.asked import ASKED
from bench.metrics.functional.flame import EXPRESSION, JAW
from bench.metrics.protocol import Evaluation, Metric, Result, Tolerance
from bench.metrics.shared.control_scores import control_scores, statistics_of
from bench.studies.control import EXPRESSION_ERRORS, EYELID_ERRORS, EYELIDS

NAME = "expression_control"
ERRORS = {**EXPRESSION_ERRORS, **EYELID_ERRORS}
PARTS = {"expression_l2": EXPRESSION, "expression_l1": EXPRESSION, "jaw_l2": JAW, "eyelids_l2": EYELIDS}
"""Name of an error -> the part of the FLAME parameters that it reads."""
TITLES = {
    "expression_l2": "expression, L2",
    "expression_l1": "expression, mean L1 (AED)",
    "jaw_l2": "jaw, L2",
    "eyelids_l2": "eyelids, L2",
}


def compute(evaluation: Evaluation) -> Result:
    """Return the errors of expression, jaw and eyelids (which SMIRK alone reads), at chance and as skill.

    Each FLAME extractor has its own.

    >>> import numpy as np, pandas as pd
    >>> from dataclasses import replace
    >>> from bench.metrics.shared.example import example, numbers
    >>> given = example()  # Ann's second sample has the coefficients 3 and 4; Bob's second shows no face
    >>> asked = np.zeros((4, 58)); asked[1, :2] = 3, 3
    >>> given = replace(given, samples=given.samples.assign(asked=pd.Series(list(asked), dtype=object)))
    >>> numbers(compute(given), "expression_l2", "expression_l2_shuffled")
    [0.3333, 4.4951]
    """
    return control_scores(evaluation, NAME, {name: (ERRORS[name], part) for name, part in PARTS.items()})


METRIC = Metric(
    name=NAME,
    version=2,
    title="expression control",
    unit="FLAME expression",
    higher_is_better=None,
    range=(0.0, None),
    source="AED of talking-head papers, by FLAME coefficients; skill = 1 - error / error against others' targets",
    needs=("flame",),
    statistics=statistics_of(TITLES, "expression_l2"),
    compute=compute,
    tolerance=Tolerance(relative=5e-2),
    columns=(ASKED,),
)
