"""Measure how well a controlled generator hits the expression and pose that were asked for.

An error alone says little: its scale depends on the regressor. So each comes with the shuffled level (the same samples
against the targets of other samples: chance) and the skill, 1 - error / shuffled: 1 is perfect, 0 is chance.

Papers call several things AED: the sum, the mean or the root mean square of differences of expression coefficients, of
different regressors. Here `expression_l1` is the mean over the 50 dimensions; times 50 it is the sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from bench.metrics.functional.cosine import Floats
from bench.metrics.functional.flame import DIMENSION, EXPRESSION, GLOBAL, JAW, POSE, geodesic_degrees, l2
from bench.statistics import FEW_CLUSTERS, cluster_totals

Measure = Callable[[Floats, Floats], Floats]
"""(n, d) achieved and (n, d) asked FLAME features -> (n,) errors."""
EYELIDS = slice(DIMENSION, DIMENSION + 2)
"""Where a regressor that reads eyelids (SMIRK) puts them: behind expression, head and jaw."""
EYELID_COLUMNS = ("eyelid_left", "eyelid_right")
"""Columns that such a regressor gives next to its feature, in that order."""
ANGLES = "YXZ"
"""Order of yaw, pitch and roll: about the y axis, then the turned x axis, then the turned z axis."""
SHIFTS = 200
"""Other samples whose targets a sample is held against; with fewer samples, all."""


def expression_l1(achieved: Floats, asked: Floats) -> Floats:
    """Return (n,) mean absolute differences of the 50 expression coefficients.

    >>> expression_l1(np.zeros((1, 56)), np.ones((1, 56)))
    array([1.])
    """
    return np.asarray(np.abs(achieved[:, EXPRESSION] - asked[:, EXPRESSION]).mean(axis=1))


def yaw_pitch_roll(features: Floats) -> Floats:
    """Return (n, 3) angles of the head in degrees, in the order `ANGLES`; yaw and roll -180 to 180, pitch -90 to 90.

    >>> turned = np.zeros((1, 56)); turned[0, 51] = np.pi / 6
    >>> yaw_pitch_roll(turned).round(6) + 0
    array([[30.,  0.,  0.]])
    """
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_rotvec(features[:, GLOBAL]).as_euler(ANGLES, degrees=True))


def head_l1(achieved: Floats, asked: Floats) -> Floats:
    """Return (n,) mean absolute differences of yaw, pitch and roll in degrees, each the shorter way round.

    >>> a, b = np.zeros((2, 1, 56)); a[0, 51], b[0, 51] = np.radians(179), np.radians(-179)
    >>> head_l1(a, b).round(6)
    array([0.666667])
    """
    apart = yaw_pitch_roll(achieved) - yaw_pitch_roll(asked)
    return np.asarray(np.abs((apart + 180) % 360 - 180).mean(axis=1))


EXPRESSION_ERRORS: Mapping[str, Measure] = {
    "expression_l2": l2(EXPRESSION),
    "expression_l1": expression_l1,
    "jaw_l2": l2(JAW),
}
"""Name -> error; the jaw opens the mouth, so it belongs to the expression that people see."""
EYELID_ERRORS: Mapping[str, Measure] = {"eyelids_l2": l2(EYELIDS)}
"""Errors that only a regressor with eyelids has."""
POSE_ERRORS: Mapping[str, Measure] = {
    "head_degrees": geodesic_degrees,
    "head_l1_degrees": head_l1,
    "pose6_l2": l2(POSE),
}
"""Name -> error. `head_degrees` is the angle of the rotation between the two. The L2 of axis-angle vectors in
`pose6_l2` is wrong near 180 degrees, and is here because papers report it."""


def shuffled(measure: Measure, achieved: Floats, asked: Floats, targets: NDArray[Any], *, seed: int) -> Floats:
    """Return (n,) mean errors of each sample against the targets of other samples.

    Args:
        measure: the error.
        achieved: (n, d) what was read from the samples.
        asked: (n, d) what was asked.
        targets: (n,) which target each was asked for; a sample is never held against its own target.
        seed: of the choice of other samples where there are more than `SHIFTS`.

    Returns:
        Errors at chance; NaN for a sample without another target.

    >>> values = np.zeros((3, 56)); values[:, 0] = [0, 1, 3]
    >>> shuffled(l2(EXPRESSION), values, values, np.arange(3), seed=0)
    array([2. , 1.5, 2.5])
    """
    n = len(achieved)
    shifts = np.arange(1, n)
    if len(shifts) > SHIFTS:
        shifts = np.sort(np.random.Generator(np.random.PCG64(seed)).permutation(shifts)[:SHIFTS])
    total, count = np.zeros(n), np.zeros(n)
    for shift in shifts:
        other = (np.arange(n) + shift) % n
        apart = targets[other] != targets
        total[apart] += measure(achieved[apart], asked[other[apart]])
        count += apart
    with np.errstate(invalid="ignore"):
        return np.asarray(total / count)


@dataclass(frozen=True)
class Control:
    """How well one quantity was controlled.

    Attributes:
        error: mean error of the samples in which it could be read; None where there is none.
        shuffled: mean error at chance.
        skill: 1 - error / shuffled.
        low: lower end of the 95 % interval of the skill, clustered by subject; None below 2 subjects.
        high: upper end.
        skill_failures_at_chance: the skill with every failed sample at the shuffled level.
        n: samples that count.
        n_failed: samples in which it could not be read.
        note: what the reader must know.
    """

    error: float | None
    shuffled: float | None
    skill: float | None
    low: float | None
    high: float | None
    skill_failures_at_chance: float | None
    n: int
    n_failed: int
    note: str = ""


def control(errors: Floats, chance: Floats, subjects: NDArray[Any]) -> Control:
    """Return the skill of a controlled generator from the errors of its samples.

    The interval is the normal one of a ratio of sums over subjects.

    Args:
        errors: (n,) errors; NaN for a sample in which nothing could be read.
        chance: (n,) errors of the same samples at chance (`shuffled`).
        subjects: (n,) the cluster of each.

    >>> control(np.array([1.0, 1.0, np.nan]), np.array([4.0, 4.0, np.nan]), np.array(["a", "b", "c"])).skill
    0.75
    """
    known = np.isfinite(errors) & np.isfinite(chance)
    n, failed = int(known.sum()), int((~np.isfinite(errors)).sum())
    level = float(chance[known].mean()) if n else 0.0
    if not level:
        note = "no other target to compare with" if n == 0 and failed < len(errors) else "nothing was read"
        return Control(None, None, None, None, None, None, n, failed, note)
    error = float(errors[known].mean())
    skill = 1 - error / level
    residuals = errors[known] - (1 - skill) * chance[known]
    low, high, note = _interval(skill, residuals, n * level, subjects[known])
    return Control(error, level, skill, low, high, skill * n / (n + failed), n, failed, note)


def _interval(
    skill: float, residuals: Floats, total: float, subjects: NDArray[Any]
) -> tuple[float | None, float | None, str]:
    sums, _ = cluster_totals(residuals, subjects)
    clusters = len(sums)
    note = f"only {clusters} subjects" if clusters < FEW_CLUSTERS else ""
    if clusters < 2:
        return None, None, note
    half = float(ndtri(0.975)) * float(np.sqrt(np.square(sums).sum() * clusters / (clusters - 1))) / total
    return skill - half, skill + half, note
