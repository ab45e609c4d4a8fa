"""A short kill loop; the long one is `make kills`."""

import pytest

from tests.invariance.kill_loop import kill_loop


@pytest.mark.slow
def test_a_killed_and_resumed_run_is_bit_identical(tmp_path):
    assert kill_loop(tmp_path, kills=3, seed=1) >= 1
