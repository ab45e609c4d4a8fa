"""The formula itself, against the golden probe of every network's parameters."""

import hashlib

import numpy as np
import pytest

from tests.parity.formula import parameter, simg, timg, uniform
from tests.parity.official import PROBE, salt, shape_of
from tests.shared import needs

pytestmark = needs(PROBE)


@pytest.fixture(scope="module")
def probe():
    return np.load(PROBE)


def test_uniform(probe):
    np.testing.assert_array_equal(uniform(salt(), "example", 8), probe["unit_example"])


def test_images(probe):
    q = int(probe["q"])
    np.testing.assert_array_equal(timg(48, 40, 2, q), probe["timg_example"])
    digest = hashlib.sha256(simg(240, 200, 1, q).tobytes()).digest()
    assert digest == probe["simg_example_sha256"].tobytes()


@pytest.mark.parametrize("net", ["alexnet", "bisenet", "smirk", "ir_50"])
def test_parameters(probe, net):
    keys, shapes, prelu = (probe[f"{net}_{part}"] for part in ("keys", "shapes", "is_prelu"))
    for i in range(0, len(keys), 7):
        value = parameter(salt(), str(keys[i]), shape_of(shapes[i]), bool(prelu[i]))
        assert value.flat[0] == probe[f"{net}_first"][i]
        assert value.flat[-1] == probe[f"{net}_last"][i]
        assert np.abs(value, dtype=np.float64).sum() == pytest.approx(probe[f"{net}_abs_sum"][i], rel=1e-12)
