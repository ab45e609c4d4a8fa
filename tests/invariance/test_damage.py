"""A part of `make damage`: files that no other test damages."""

import pytest

from tests.invariance.damage import STAGES, Case, finished, flip, judge, swap


@pytest.fixture(scope="module")
def made():
    with finished(STAGES[:-1]) as folders:
        yield folders


@pytest.mark.parametrize(
    ("kind", "damage", "found"),
    [
        ("record", flip, "named"),
        ("vectors of conditions", swap, "named"),
        ("images of conditions", flip, "named"),
    ],
)
def test_damage_is_found(made, tmp_path, kind, damage, found):
    assert judge(*made, tmp_path, Case(kind, damage), seed=0) == found
