"""Frechet and kernel distances, geodesic angles and rates against the golden set."""

import json
import re

import numpy as np
import pytest

from bench.metrics.functional.flame import GLOBAL, JAW, POSE, geodesic, l2
from bench.metrics.functional.frechet import frechet_distance
from bench.metrics.functional.thresholds import threshold_at
from bench.metrics.kid import kid_terms
from tests.parity.formula import uniform
from tests.shared import GOLDEN, needs

SETTINGS = GOLDEN / "set.json"
pytestmark = needs(SETTINGS)


def golden(name):
    return np.load(GOLDEN / "metrics" / f"{name}.npz")


def salt():
    return json.loads(SETTINGS.read_text())["salt"]


def matrix(name, n, d, shift, tilt):
    base = sum(uniform(salt(), f"{name}/{k}", n * d) for k in range(3)).reshape(n, d)
    scaled = base * (1.0 + np.arange(d)) ** -0.5
    return scaled + tilt * np.roll(scaled, 1, axis=1) + shift / (1.0 + np.arange(d))


def frechet_cases():
    if not SETTINGS.exists():
        return []
    found = [re.fullmatch(r"n(\d+)_m(\d+)_d(\d+)_official", key) for key in golden("fid_distance_kid").files]
    return [tuple(map(int, match.groups())) for match in found if match]


def test_formula():
    expected = golden("weights_and_images_probe")["unit_example"]
    np.testing.assert_array_equal(uniform(salt(), "example", 8), expected)


@pytest.mark.parametrize(("n", "m", "d"), frechet_cases())
def test_frechet(n, m, d):
    data, tag = golden("fid_distance_kid"), f"n{n}_m{m}_d{d}"
    x = matrix(f"fid/{n}/{m}/{d}/x", n, d, 0.0, 0.2)
    y = matrix(f"fid/{n}/{m}/{d}/y", m, d, 0.4, -0.1)
    np.testing.assert_allclose(x[0], data[f"{tag}_X_row0"], rtol=0, atol=1e-14)
    np.testing.assert_allclose(y[0], data[f"{tag}_Y_row0"], rtol=0, atol=1e-14)
    value = frechet_distance(x, y)
    assert value == pytest.approx(float(data[f"{tag}_reference_highprec"]), rel=1e-9)
    assert value == pytest.approx(float(data[f"{tag}_official"]), rel=1e-6)
    assert abs(value - float(data[f"{tag}_eps1e-6_value"])) > 1e-5  # nothing is added to a diagonal


def test_frechet_of_constant_columns():
    data = golden("fid_distance_kid")
    n, m, d = data["const_shape"]
    x, y = data["const_X"].reshape(n, d), data["const_Y"].reshape(m, d)
    value = frechet_distance(x, y)
    assert value == pytest.approx(float(data["const_reference_nuclear"]), rel=1e-9)
    assert value == pytest.approx(float(data["const_official"]), rel=1e-6)


def test_kid():
    data = golden("fid_distance_kid")
    sums = kid_terms(data["kid_X"], data["kid_Y"], data["kid_id_x"], data["kid_id_y"])
    plain = [sums.xx.plain(), sums.yy.plain(), sums.xy.plain()]
    excluded = [sums.xx.excluded(), sums.yy.excluded(), sums.xy.excluded()]
    np.testing.assert_allclose(plain, data["kid_terms_plain"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(excluded, data["kid_terms_excluded"], rtol=0, atol=1e-12)
    assert sums.plain() == pytest.approx(float(data["kid_plain"]), abs=1e-12)
    assert sums.excluded() == pytest.approx(float(data["kid_excluded"]), abs=1e-12)


def test_geodesic():
    data = golden("deca_encoders")
    turns, pairs = data["geodesic_axis_angle"].astype(np.float64), data["geodesic_pairs"]
    np.testing.assert_allclose(geodesic(turns[pairs[:, 0]], turns[pairs[:, 1]]), data["geodesic_radians"], atol=1e-12)


def test_flame_distances():
    """Our 56-d feature holds the official expression and pose: same L2 distances of the crop pairs."""
    data = golden("deca_encoders")
    pose = data["E_flame_out_crops"][:, 200:206]
    features = np.concatenate([data["E_expression_out_crops"], pose], axis=1).astype(np.float64)
    first, second = features[[0, 0, 1]], features[[1, 2, 2]]
    np.testing.assert_allclose(l2(slice(0, 50))(first, second), data["expression_pair_l2_crops"], atol=1e-12)
    for part, name in ((POSE, "pose6"), (GLOBAL, "global3"), (JAW, "jaw3")):
        np.testing.assert_allclose(l2(part)(first, second), data[f"{name}_pair_l2_crops"], atol=1e-6)


def test_rates():
    """Our threshold is the next float above the golden one, so both accept the same genuine and impostor pairs."""
    data = golden("verification")
    views = data["view0"].astype(np.float64) + data["view1"]
    unit = views / np.linalg.norm(views, axis=1, keepdims=True)
    scores, genuine = (unit[::2] * unit[1::2]).sum(axis=1), data["issame"]
    np.testing.assert_allclose(scores, data["cosine"], atol=1e-6)
    for level, tar, cut, far in zip(
        data["tar_far_targets"], data["tar"], data["tar_threshold"], data["tar_actual_far"], strict=True
    ):
        threshold = threshold_at(scores[~genuine], float(level))
        assert threshold == pytest.approx(cut, abs=1e-6)
        assert (scores[genuine] >= threshold).mean() == pytest.approx(float(tar), abs=1e-12)
        assert (scores[~genuine] >= threshold).mean() == pytest.approx(float(far), abs=1e-12)


def test_fold_accuracy():
    """The ten-fold accuracy that recognition work reports, by a routine of the tests alone: the data is read right."""
    data = golden("verification")
    views = data["view0"].astype(np.float64) + data["view1"]
    unit = views / np.linalg.norm(views, axis=1, keepdims=True)
    distance, same = np.square(unit[::2] - unit[1::2]).sum(axis=1), data["issame"]
    right = (distance < np.arange(0, 4, 0.01)[:, None]) == same
    folds = np.array_split(np.arange(len(same)), 10)
    best = [right[:, np.setdiff1d(np.arange(len(same)), fold)].mean(axis=1).argmax() for fold in folds]
    accuracy = [right[b][fold].mean() for b, fold in zip(best, folds, strict=True)]
    np.testing.assert_allclose(accuracy, data["fold_accuracy"], atol=1e-12)
