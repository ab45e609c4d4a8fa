"""For all tests: one thread of BLAS and OpenMP a process, as the verbs set it.

Three workers fill two cores, because some tests wait for a browser or for a second process.

Files with slow tests are handed out first, then those with many: a long one that starts last leaves workers idle.
"""

import gc
import os
from collections import Counter
from pathlib import Path

import pytest

import bench.__main__  # noqa: F401  sets it where the caller has not
from bench.memory import keep_freed


def _not_flushed(handle: int) -> None:
    """Leave bytes to the system: the files of a test outlive no power cut."""


os.fsync = _not_flushed
keep_freed()
# Looking for garbage among millions of objects took an eighth of the time of the tests of reports.
gc.set_threshold(50_000, 20, 50)
os.environ["MATPLOTLIBRC"] = str(Path(__file__).with_name("matplotlibrc"))

# Imports what takes seconds, for a process of its own; as all modules here, it would be imported for its doctests.
collect_ignore = ["invariance/imports.py"]

# A broken promise then shows the values that it compared.
pytest.register_assert_rewrite("bench.testing")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    every = Counter(item.path for item in items)
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: (-slow[item.path], -every[item.path], item.path))


def pytest_collection_finish() -> None:
    gc.freeze()
