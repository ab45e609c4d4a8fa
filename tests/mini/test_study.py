"""The metrics answer the truth: a small form of `tests/mini/study.py`, with fewer people and three levels."""

from dataclasses import replace
from functools import cache

import pytest
from scipy.stats import pearsonr, spearmanr

from tests.mini.study import FACTORS, study

pytestmark = pytest.mark.slow
PEOPLE = 5
# The size that the embedded world's own dataset uses: sixteen times less to warp than of photographs.
SMALL = "protocol.views.transform_size=1024"


@pytest.fixture(scope="module")
def table():
    """(name of a factor) -> its table, made once."""
    factors = {factor.name: factor for factor in FACTORS}
    return cache(lambda name: study(PEOPLE, [fewer(factors[name])]))


def fewer(factor):
    """The factor at three levels; backgrounds at both ends, which is all that is asked of them."""
    levels = factor.levels[:: len(factor.levels) // 2]
    levels = (levels[0], levels[-1]) if factor.name.startswith("background") else levels
    return replace(factor, levels=levels, overrides=(*factor.overrides, SMALL))


def of(table, factor, answer):
    rows = table(factor)[table(factor)["answer"].str.startswith(answer)]
    return rows["truth"].to_numpy(float), rows["value"].to_numpy(float)


@pytest.mark.exhaustive
@pytest.mark.parametrize("recogniser", ["arcface", "judge"])
def test_similarity_falls_with_the_distance_of_the_person(table, recogniser):
    truth, value = of(table, "identity", f"ID similarity ({recogniser})")
    assert spearmanr(truth, value).statistic <= -0.95
    assert value[0] - value[-1] > 0.4


@pytest.mark.exhaustive
def test_expression_diversity_grows_with_the_true_distance(table):
    truth, value = of(table, "expression", "Exp. diversity")
    assert spearmanr(truth, value).statistic > 0.95
    assert pearsonr(truth, value).statistic > 0.9
    assert value[0] < 0.3 * value[-1]


@pytest.mark.exhaustive
def test_pose_diversity_is_the_true_angle(table):
    truth, value = of(table, "yaw", "Pose diversity")
    assert pearsonr(truth, value).statistic > 0.97
    assert value[-1] == pytest.approx(truth[-1], rel=0.25)


@pytest.mark.exhaustive
def test_masked_lpips_hardly_sees_the_background(table):
    _, masked = of(table, "background", "LPIPS")
    _, kept = of(table, "background_kept", "LPIPS")
    assert masked[-1] - masked[0] < 0.25 * (kept[-1] - kept[0])


@pytest.mark.exhaustive
def test_fid_grows_with_the_share_of_another_world(table):
    truth, value = of(table, "elsewhere", "FID")
    assert spearmanr(truth, value).statistic > 0.95
