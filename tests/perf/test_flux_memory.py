"""The memory table of the FLUX methods says what the sizes say."""

from tests.perf import flux_memory
from tests.shared import ROOT


def test_the_page_shows_the_estimates():
    page = (ROOT / "docs" / "methods" / "flux.md").read_text("utf-8")
    for row in flux_memory.table():
        assert row in page
