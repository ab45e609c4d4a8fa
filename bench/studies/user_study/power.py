"""Size a forced-choice study: simulated raters and items, judged as a real study is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bench.studies.user_study.analysis import share
from bench.studies.user_study.records import Plan, World


class Power(NamedTuple):
    """What studies of one size do.

    Attributes:
        significant: share of studies whose interval excludes 1/2.
        significant_independent: the same with Wilson's interval, as if votes were independent.
        coverage: share of studies whose interval holds the true share.
        width: mean width of the interval.
    """

    significant: float
    significant_independent: float
    coverage: float
    width: float


def power(plan: Plan, world: World) -> Power:
    """Return what studies of a size do when one method is preferred in a true share of all votes.

    Each vote is Bernoulli with logit m + r + i; r and i are normal, one for each rater and each item; m is set so that
    the mean over all raters and items is the true share. Raters see blocks of items as in `design.schedule`.
    """
    rng = np.random.Generator(np.random.PCG64(plan.seed))
    centre = _centre(world.share, float(np.hypot(world.rater_sd, world.item_sd)))
    rater = np.repeat(np.arange(plan.raters), plan.questions)
    item = np.arange(len(rater)) % plan.items
    outcomes = []
    for _ in range(world.studies):
        own, of_item = rng.standard_normal(plan.raters), rng.standard_normal(plan.items)
        logit = centre + world.rater_sd * own[rater] + world.item_sd * of_item[item]
        one = share((rng.random(len(logit)) < 1 / (1 + np.exp(-logit))).astype(np.float64), rater, item)
        excludes, excludes_naive = not one.low <= 0.5 <= one.high, not one.wilson_low <= 0.5 <= one.wilson_high
        outcomes.append((excludes, excludes_naive, one.low <= world.share <= one.high, one.high - one.low))
    return Power(*np.mean(outcomes, axis=0).tolist())


def _centre(true_share: float, sd: float) -> float:
    """The logit m for which the mean of expit(m + sd z) over a normal z is the true share."""
    from scipy.optimize import brentq
    from scipy.special import expit

    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    weights = weights / weights.sum()
    return float(brentq(lambda m: float(weights @ expit(m + sd * nodes)) - true_share, -20, 20))
