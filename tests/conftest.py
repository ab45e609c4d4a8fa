"""For all tests: one thread of BLAS and OpenMP a process, as the verbs set it; two workers fill two cores.

Files with slow tests are handed out first: one that starts last leaves the other worker idle.
"""

from collections import Counter

import pytest

import bench.__main__  # noqa: F401  sets it where the caller has not

# A broken promise then shows the values that it compared.
pytest.register_assert_rewrite("bench.testing")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])
