"""Where the data that is not part of the project lies; tests that need it are skipped where it is missing."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("BENCH_SHARED", ROOT.parent / "shared"))
GOLDEN = Path(os.environ.get("BENCH_GOLDEN", SHARED / "golden"))


def needs(path: Path) -> pytest.MarkDecorator:
    """Skips a test where `path` is missing."""
    return pytest.mark.skipif(not path.exists(), reason=f"{path.name} is not here")
