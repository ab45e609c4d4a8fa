"""What a method promises (`bench.testing`): the controls, and Arc2Face of the embedded world."""

import pytest

from bench import registry
from bench.testing import method_contract
from tests.baselines.test_configurations import composed

CONTROLS = ("copy", "real", "shuffle")
PROMISES = [*method_contract(registry.get("methods", "copy"), {})]


@pytest.mark.parametrize("promise", PROMISES)
@pytest.mark.parametrize("name", CONTROLS)
def test_a_control(name, promise):
    method_contract(registry.get("methods", name), {})[promise]()


@pytest.fixture(scope="module")
def of_arc2face():
    plain = composed("++method.steps=2")
    options = {name: value for name, value in plain.items() if name not in ("name", "card")}
    return method_contract(registry.get("methods", "arc2face"), options)


@pytest.mark.slow
@pytest.mark.parametrize("promise", PROMISES)
def test_arc2face(of_arc2face, promise):
    of_arc2face[promise]()
