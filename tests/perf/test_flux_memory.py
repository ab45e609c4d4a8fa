"""The memory table of the FLUX methods is what the script counts, and the counter counts what lives together."""

import doctest

import pytest
import torch

from tests.perf import flux_memory
from tests.shared import ROOT


def test_examples():
    assert doctest.testmod(flux_memory).failed == 0


@pytest.mark.slow
def test_the_page_shows_what_is_counted():
    page = (ROOT / "docs" / "methods" / "flux.md").read_text("utf-8")
    assert [row for row in flux_memory.table() if row not in page] == []


def test_what_lives_together_is_counted_and_what_is_gone_is_not():
    given = torch.empty(1000, device="meta")

    def call():
        # 4,000 bytes, then 4,000 more.
        first = given + 1
        second = first * 2
        del first
        # 4 and 2,000 next to the second.
        return second.view(10, 100).sum(), second.half()

    assert flux_memory.peak(call) == 8000
    assert flux_memory.peak(lambda: (given + 1).add_(1)) == 4000
