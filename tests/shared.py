"""Where the data of the tests lies; tests that need what is not part of the project are skipped where it is missing."""

import importlib.util
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("BENCH_SHARED", ROOT.parent / "shared"))
GOLDEN = Path(os.environ.get("BENCH_GOLDEN", ROOT / "tests" / "golden"))
"""Numbers of the official implementations; other folders of the same form can be put in its place."""


def needs(path: Path) -> pytest.MarkDecorator:
    """Skips a test where `path` is missing."""
    return pytest.mark.skipif(not path.exists(), reason=f"{path.name} is not here")


def vocabulary() -> Path:
    """CLIP's byte pairs, as the package open_clip brings them; the package itself is not imported."""
    spec = importlib.util.find_spec("open_clip")
    folder = Path(spec.origin).parent if spec and spec.origin else ROOT
    return folder / "bpe_simple_vocab_16e6.txt.gz"
