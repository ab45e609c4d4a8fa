"""A short kill loop; the long one is `python -m tests.invariance.kill_loop`."""

import pytest

from tests.e2e.commands import PHOTOS
from tests.invariance.kill_loop import kill_loop
from tests.shared import needs


@needs(PHOTOS)
@pytest.mark.slow
def test_a_killed_and_resumed_run_is_bit_identical(tmp_path):
    assert kill_loop(tmp_path, kills=3, seed=1) >= 1
