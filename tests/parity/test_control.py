"""Errors of expression and pose against scipy's rotations and plain arithmetic in the golden set."""

import numpy as np
import pytest

from bench.metrics.functional.flame import EXPRESSION, geodesic_degrees, l2
from bench.studies.control import EXPRESSION_ERRORS, POSE_ERRORS, expression_l1, head_l1, shuffled, yaw_pitch_roll
from tests.parity.study_formula import STUDIES, study
from tests.shared import needs

pytestmark = needs(STUDIES / "control.npz")


@pytest.fixture(scope="module")
def golden():
    return study("control")


NAMES = {
    "exp_l2": EXPRESSION_ERRORS["expression_l2"], "exp_l1_mean": expression_l1, "jaw_l2": EXPRESSION_ERRORS["jaw_l2"],
    "geodesic_degrees": POSE_ERRORS["head_degrees"], "pose6_l2": POSE_ERRORS["pose6_l2"],
}  # fmt: skip


@pytest.mark.parametrize("name", list(NAMES))
def test_errors(golden, name):
    np.testing.assert_allclose(NAMES[name](golden["achieved"], golden["target"]), golden[name], atol=1e-9)


def test_scales_of_aed(golden):
    error = expression_l1(golden["achieved"], golden["target"])
    np.testing.assert_allclose(error * 50, golden["exp_l1_sum"], atol=1e-9)
    np.testing.assert_allclose(
        l2(EXPRESSION)(golden["achieved"], golden["target"]) / 50**0.5, golden["exp_rmse"], atol=1e-9
    )


def test_the_l2_of_rotation_vectors_is_wrong_near_180_degrees(golden):
    angle = geodesic_degrees(golden["achieved"], golden["target"])
    assert angle[1] < 0.12
    assert POSE_ERRORS["pose6_l2"](golden["achieved"], golden["target"])[1] > 6


def test_angles(golden):
    expected = golden["euler_YXZ_target_degrees"]
    found = yaw_pitch_roll(golden["target"])
    np.testing.assert_allclose((found - expected + 180) % 360 - 180, 0, atol=1e-9)
    assert head_l1(golden["target"], golden["target"]).max() == 0


def test_shuffled_level(golden):
    matched, chance = golden["exp_l2_mean_and_shuffled"]
    measure = EXPRESSION_ERRORS["expression_l2"]
    assert measure(golden["achieved"], golden["target"]).mean() == pytest.approx(matched, abs=1e-9)
    found = shuffled(measure, golden["achieved"], golden["target"], np.arange(len(golden["target"])), seed=0)
    assert found.mean() == pytest.approx(chance, abs=1e-9)
