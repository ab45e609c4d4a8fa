"""The package's parts keep what the benchmark relies on."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.testing import contracts
from bench.testing.images import write_photos

PHOTOS = tempfile.TemporaryDirectory()
write_photos(Path(PHOTOS.name), ["anna_day_1.png", "anna_night_2.png", "ben_day_1.png"])


@pytest.mark.parametrize("contract", contracts("idbench-example", {"flat": {"root": PHOTOS.name}}))
def test_contract(contract: Callable[[], None]) -> None:
    contract()
